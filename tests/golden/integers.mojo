"""Model Integers, compiled ahead of time by mojoaccel (b14ca42ef006).

Signature:
    x: i64[12]
    y: i64[12]
    -> output_0: i64[12]
    -> output_1: b8[12]
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
from maccel.loops import pointwise_1d
from maccel.math import floor_divide
from maccel.memory import load, store
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, I64, arg_ptr


def floor_divide_add_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Floor_divide, add."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.int64](args, 0)
    var x0 = arg_ptr[DType.int64](args, 1)
    var x1 = arg_ptr[DType.int64](args, 2)

    @always_inline
    def body[w: Int](i: Int) {imm}:
        var v0 = load[w](x0, i)
        var v1 = I64[w](3)
        var v2 = floor_divide(v0, v1)
        var v3 = load[w](x1, i)
        var v4 = v2 + v3
        store(y0, i, v4)

    pointwise_1d[W=8](team, 12, body)


def gt_ne_bitwise_and_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Gt, ne, bitwise_and."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.uint8](args, 0)
    var x0 = arg_ptr[DType.int64](args, 1)
    var x1 = arg_ptr[DType.int64](args, 2)

    @always_inline
    def body[w: Int](i: Int) {imm}:
        var v0 = load[w](x0, i)
        var v1 = load[w](x1, i)
        var v2 = v0.gt(v1)
        var v3 = I64[w](0)
        var v4 = v0.ne(v3)
        var v5 = v2 & v4
        store(y0, i, v5.cast[DType.uint8]())

    pointwise_1d[W=8](team, 12, body)


def forward(s: Session):
    """Runs every fused group in order."""
    # small.py:97 in forward: return x // 3 + y, (x > y) & (x != 0)
    s.launch[floor_divide_add_1](15, s.output(0), s.input(0), s.input(1))
    s.launch[gt_ne_bitwise_and_1](18, s.output(1), s.input(0), s.input(1))


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 5, 1)
    s.expect_input(1, 5, 1)
    s.expect_size(0, 0, 12)
    s.expect_size(1, 0, 12)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 5, 96, 12)
    s.describe_output(1, 10, 12, 12)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(0, 0)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"int64","shape":[12]},{"name":"y"'
    ',"dtype":"int64","shape":[12]}],"outputs":[{"name":"output_0","d'
    'type":"int64","shape":[12]},{"name":"output_1","dtype":"bool","s'
    'hape":[12]}],"dims":{}}'
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
    return session_open(folder, threads, result, 0, 0, 0)


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
    return 0


@export("maccel_state")
def maccel_state(session: Args, index: Int32, result: Args) abi("C") -> Int32:
    """Gives address and bytes of a state, which hold until the session closes."""
    return session_state(session, Int(index), 0, result)


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
