"""Model Concatenated, compiled ahead of time by mojoaccel (50fa4ef4cf1e).

Signature:
    x: f32[2, 5]
    y: f32[2, 3]
    -> output: f32[2, 8]
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
from maccel.math import exp, relu
from maccel.memory import load, store
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, arg_ptr


def relu_cat_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Relu, cat."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def body[w: Int](row: Int, col: Int) {imm}:
        var v0 = load[w](x0, row * 5 + col)
        var v1 = relu(v0)
        store(y0, row * 8 + col, v1)

    pointwise[W=16](team, 2, 5, body)


def exp_cat_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Exp, cat."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def body[w: Int](row: Int, col: Int) {imm}:
        var v0 = load[w](x0, row * 3 + col)
        var v1 = exp(v0)
        store(y0, row * 8 + col, v1)

    pointwise[W=16](team, 2, 3, body)


def forward(s: Session):
    """Runs every fused group in order."""
    # small.py:33 in forward: return torch.cat([x.relu(), y.exp()], -1)
    s.launch[relu_cat_1](5, s.output(0), s.input(0))
    s.launch[exp_cat_1](3, s.output(0) + 20, s.input(1))


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 2)
    s.expect_input(1, 1, 2)
    s.expect_size(0, 0, 2)
    s.expect_size(0, 1, 5)
    s.expect_size(1, 0, 2)
    s.expect_size(1, 1, 3)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 1, 64, 2, 8)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(0, 0)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":[2,5]},{"name":'
    '"y","dtype":"float32","shape":[2,3]}],"outputs":[{"name":"output'
    '","dtype":"float32","shape":[2,8]}],"dims":{}}'
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
