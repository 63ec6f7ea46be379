"""Model Linear, compiled ahead of time by mojoaccel (3eba94f50e30).

Signature:
    x: f32[batch, 16]
    -> output: f32[batch, 8]
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
from maccel.math import gelu
from maccel.memory import load, store
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_int, arg_ptr


def linear_gelu_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Linear, gelu."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var x2 = arg_ptr[DType.float32](args, 3)
    var n_batch = arg_int(args, 4)

    @always_inline
    def epilogue[w: Int](row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = value
        var v1 = load[w](x2, col)
        var v2 = v0 + v1
        var v3 = gelu(v2)
        store(y0, row * 32 + col, v3)

    linear[N=32, K=16, NR=32](team, n_batch, x0, 16, x1, epilogue)


def linear_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Linear."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var x2 = arg_ptr[DType.float32](args, 3)
    var n_batch = arg_int(args, 4)

    @always_inline
    def epilogue[w: Int](row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = value
        var v1 = load[w](x2, col)
        var v2 = v0 + v1
        store(y0, row * 8 + col, v2)

    linear[N=8, K=32, NR=32](team, n_batch, x0, 32, x1, epilogue)


def forward(s: Session):
    """Runs every fused group in order."""
    var n_batch = s.dim(0)
    # small.py:18 in forward: return self.b(F.gelu(self.a(x)))
    s.launch[linear_gelu_1](
        32 * n_batch,
        s.input(0),
        s.weight(0),
        s.arena(0),
        s.weight(2048),
        n_batch,
    )
    s.launch[linear_1](
        16 * n_batch,
        s.arena(0),
        s.weight(2176),
        s.output(0),
        s.weight(6272),
        n_batch,
    )


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 2)
    s.bind_dim(0, 0, 0, 1, -1)
    s.expect_size(0, 1, 16)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    var n_batch = s.dim(0)
    s.describe_output(0, 1, 32 * n_batch, n_batch, 8)


def reserve(s: Session):
    """Makes room for temporaries."""
    var n_batch = s.dim(0)
    s.reserve(128 * n_batch, 0)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":["batch",16]}],'
    '"outputs":[{"name":"output","dtype":"float32","shape":["batch",8'
    ']}],"dims":{"batch":[1,null]}}'
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
    return session_open(folder, threads, result, 6336, 0, 6272)


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
