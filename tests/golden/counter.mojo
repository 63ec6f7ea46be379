"""Model Counter, compiled ahead of time by mojoaccel (3bb3d84b0f73).

Signature:
    x: f32[3, 4]
    -> output: f32[3, 4]
Target: cpu:x86_64-unknown-linux-gnu+sapphirerapids-amx-tile-amx-bf16-amx-int8
"""

from maccel.entry import (
    session_close,
    session_error,
    session_open,
    session_profile,
    session_run,
    session_shapes,
    session_state,
)
from maccel.libc import Bytes
from maccel.loops import pointwise, pointwise_1d
from maccel.memory import load, store
from maccel.reduce import reduce_columns
from maccel.reductions import Sum
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_ptr


def sum_add_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Sum, add."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var y0 = arg_ptr[DType.float32](args, 1)
    var x1 = arg_ptr[DType.float32](args, 2)

    @always_inline
    def operand[w: Int](outer: Int, row: Int, col: Int) {imm} -> F32[w]:
        var v0 = load[w](x0, row * 4 + col)
        return v0

    @always_inline
    def epilogue[w: Int](row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = load[w](x1, col)
        var v1 = value
        var v2 = v0 + v1
        store(y0, col, v2)

    reduce_columns[op=Sum, W=16, dt=DType.float32, out=DType.float32](
        team, 1, 3, 4, operand, epilogue
    )


def add_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Add."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)
    var x1 = arg_ptr[DType.float32](args, 2)

    @always_inline
    def body[w: Int](row: Int, col: Int) {imm}:
        var v0 = load[w](x0, row * 4 + col)
        var v1 = load[w](x1, col)
        var v2 = v0 + v1
        store(y0, row * 4 + col, v2)

    pointwise[W=16](team, 3, 4, body)


def copy_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Copy."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def body[w: Int](i: Int) {imm}:
        var v0 = load[w](x0, i)
        store(y0, i, v0)

    pointwise_1d[W=16](team, 4, body)


def forward(s: Session):
    """Runs every fused group in order."""
    # small.py:91 in forward: self.seen.add_(x.sum(0))
    s.launch[sum_add_1](24, s.input(0), s.arena(0), s.state(0))
    # small.py:92 in forward: return x + self.seen
    s.launch[add_1](9, s.output(0), s.input(0), s.arena(0))
    s.launch[copy_1](1, s.state(0), s.arena(0))


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 2)
    s.expect_size(0, 0, 3)
    s.expect_size(0, 1, 4)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 1, 48, 3, 4)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(64, 262144)


def reset(s: Session):
    """Gives every state its initial value."""
    s.init_state(0, 16, 0)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":[3,4]}],"output'
    's":[{"name":"output","dtype":"float32","shape":[3,4]}],"dims":{}'
    "}"
)


@export("maccel_abi_version")
def maccel_abi_version() abi("C") -> Int32:
    """Returns the version of this C interface."""
    return 1


@export("maccel_signature")
def maccel_signature() abi("C") -> Bytes:
    """Returns the signature as JSON text."""
    return Bytes(unsafe_from_address=Int(SIGNATURE.ptr()))


@export("maccel_open")
def maccel_open(folder: Bytes, threads: Int32, result: Args) abi("C") -> Int32:
    """Opens a session on the artifact in `folder`."""
    var status = session_open(folder, threads, result, 64, 0, 0)
    if status == 0:
        reset(Session(Args(unsafe_from_address=Int(result[unsafe_offset=0]))))
    return status


@export("maccel_output_shapes")
def maccel_output_shapes(
    session: Args, inputs: Args, outputs: Args
) abi("C") -> Int32:
    """Fills in the shapes of the outputs for the given inputs."""
    return session_shapes[bind, describe](session, inputs, outputs)


@export("maccel_run")
def maccel_run(session: Args, inputs: Args, outputs: Args) abi("C") -> Int32:
    """Runs the model once."""
    return session_run[bind, describe, reserve, forward](
        session, inputs, outputs
    )


@export("maccel_reset")
def maccel_reset(session: Args) abi("C") -> Int32:
    """Gives every state its initial value again."""
    var s = Session(session)
    s.acquire()
    reset(s)
    s.give_back()
    return 0


@export("maccel_state")
def maccel_state(session: Args, index: Int32, result: Args) abi("C") -> Int32:
    """Gives address and bytes of a state, which hold until the session closes."""
    return session_state(session, Int(index), 1, result)


@export("maccel_last_error")
def maccel_last_error(session: Args, result: Args) abi("C") -> Int32:
    """Copies code, index, axis, expected and got of the last error."""
    return session_error(session, result)


@export("maccel_profile")
def maccel_profile(session: Args, times: Args) abi("C") -> Int32:
    """Tells how long each fused group took in the last run, if this was built to know."""
    return session_profile(session, times)


@export("maccel_close")
def maccel_close(session: Args) abi("C"):
    """Frees a session."""
    session_close(session)
