"""Model Recurrent, compiled ahead of time by mojoaccel (db94e1cc621b).

Signature:
    x: f32[2, 5, 8]
    -> output: f32[2, 16]
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
from maccel.linear import linear
from maccel.loops import pointwise, pointwise_1d
from maccel.memory import load, store
from maccel.recurrent import Sequence, lstm_layer
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_ptr


def zeros_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Zeros."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)

    @always_inline
    def body[w: Int](i: Int) {imm}:
        var v0 = F32[w](0.0)
        store(y0, i, v0)

    pointwise_1d[W=16](team, 32, body)


def lstm_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Lstm."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var x2 = arg_ptr[DType.float32](args, 3)
    var x3 = arg_ptr[DType.float32](args, 4)

    @always_inline
    def epilogue[w: Int](row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = value
        var v1 = load[w](x2, col)
        var v2 = v0 + v1
        var v3 = load[w](x3, col)
        var v4 = v2 + v3
        store(y0, row * 64 + col, v4)

    linear[N=64, K=8, NR=64](team, 10, x0, 8, x1, epilogue)


def lstm_2(args: Args, pool: Args, tid: Int) abi("C"):
    """Lstm."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var y0 = arg_ptr[DType.float32](args, 1)
    var x1 = arg_ptr[DType.float32](args, 2)
    var x2 = arg_ptr[DType.float32](args, 3)
    var y1 = arg_ptr[DType.float32](args, 4)
    var y2 = arg_ptr[DType.float32](args, 5)
    lstm_layer[acc=DType.float32, hidden=16, reverse=False, has_initial=True](
        team, Sequence(5, 2, x0, 64, 320, y0, 16, 80), x1, x2, x2, y1, y2
    )


def copy_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Copy."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def body[w: Int](row: Int, col: Int) {imm}:
        var v0 = load[w](x0, row * 80 + col)
        store(y0, row * 16 + col, v0)

    pointwise[W=16](team, 2, 16, body)


def forward(s: Session):
    """Runs every fused group in order."""
    # small.py:82 in forward: return self.r(x)[0][:, -1]
    s.launch[zeros_1](8, s.arena(3200))
    s.launch[lstm_1](
        320, s.input(0), s.weight(512), s.arena(0), s.weight(0), s.weight(256)
    )
    s.launch[lstm_2](
        640,
        s.arena(0),
        s.arena(2560),
        s.weight(2560),
        s.arena(3200),
        s.arena(3328),
        s.arena(3456),
    )
    s.launch[copy_1](8, s.output(0), s.arena(2816))


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 3)
    s.expect_size(0, 0, 2)
    s.expect_size(0, 1, 5)
    s.expect_size(0, 2, 8)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 1, 128, 2, 16)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(3584, 384)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":[2,5,8]}],"outp'
    'uts":[{"name":"output","dtype":"float32","shape":[2,16]}],"dims"'
    ":{}}"
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
    return session_open(folder, threads, result, 6656, 512, 6656)


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
