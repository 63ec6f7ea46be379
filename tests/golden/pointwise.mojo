"""Model Pointwise, compiled ahead of time by mojoaccel (7fc480e7ad8b).

Signature:
    x: f32[n, 9]
    y: f32[1, 9]
    -> output: f32[n, 9]
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
from maccel.loops import pointwise
from maccel.math import abs, sigmoid
from maccel.memory import load, store
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_int, arg_ptr


def mul_add_sigmoid_abs_sub_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Mul, add, sigmoid, abs, sub."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)
    var x1 = arg_ptr[DType.float32](args, 2)
    var n_n = arg_int(args, 3)

    @always_inline
    def body[w: Int](row: Int, col: Int) {imm}:
        var v0 = load[w](x0, row * 9 + col)
        var v1 = F32[w](2.0)
        var v2 = v0 * v1
        var v3 = load[w](x1, col)
        var v4 = v2 + v3
        var v5 = sigmoid(v4)
        var v6 = abs(v3)
        var v7 = v5 - v6
        store(y0, row * 9 + col, v7)

    pointwise[W=16](team, n_n, 9, body)


def forward(s: Session):
    """Runs every fused group in order."""
    var n_n = s.dim(0)
    # small.py:23 in forward: return (x * 2 + y).sigmoid() - y.abs()
    s.launch[mul_add_sigmoid_abs_sub_1](
        18 * n_n, s.output(0), s.input(0), s.input(1), n_n
    )


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 2)
    s.bind_dim(0, 0, 0, 1, -1)
    s.expect_input(1, 1, 2)
    s.expect_size(0, 1, 9)
    s.expect_size(1, 0, 1)
    s.expect_size(1, 1, 9)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    var n_n = s.dim(0)
    s.describe_output(0, 1, 36 * n_n, n_n, 9)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(0, 0)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":["n",9]},{"name'
    '":"y","dtype":"float32","shape":[1,9]}],"outputs":[{"name":"outp'
    'ut","dtype":"float32","shape":["n",9]}],"dims":{"n":[1,null]}}'
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
