"""Model Attended, compiled ahead of time by mojoaccel (4dbfa84ccbae).

Signature:
    q: f32[2, 3, 5, 4]
    k: f32[2, 3, 5, 4]
    v: f32[2, 3, 5, 4]
    mask: b8[2, 1, 5, 5]
    -> output: f32[2, 5, 12]
Target: cpu:x86_64-unknown-linux-gnu+sapphirerapids-amx-tile-amx-bf16-amx-int8
"""

from std.utils.numerics import neg_inf
from maccel.attention import attention
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
from maccel.memory import load, load_mask, store
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_ptr


def scaled_dot_product_atten_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Scaled_dot_product_attention."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var x2 = arg_ptr[DType.float32](args, 2)
    var x3 = arg_ptr[DType.uint8](args, 3)
    var y0 = arg_ptr[DType.float32](args, 4)

    @always_inline
    def operand[w: Int](b: Int, h: Int, i: Int, j: Int) {imm} -> F32[w]:
        var v0 = load_mask[w](x3, b * 25 + i * 5 + j)
        var v1 = F32[w](0.0)
        var v2 = F32[w](neg_inf[DType.float32]())
        var v3 = v0.select(v1, v2)
        return v3

    @always_inline
    def epilogue[w: Int](b: Int, h: Int, i: Int, j: Int, value: F32[w]) {imm}:
        var v0 = value
        store(y0, b * 60 + h * 4 + i * 12 + j, v0)

    attention[acc=DType.float32, D=4, DV=4, causal=False, has_mask=True](
        team,
        2,
        3,
        5,
        5,
        1,
        x0,
        60,
        20,
        4,
        x1,
        60,
        20,
        4,
        x2,
        60,
        20,
        4,
        0.5,
        operand,
        epilogue,
    )


def copy_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Copy."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def body[w: Int](i: Int) {imm}:
        var v0 = load[w](x0, i)
        store(y0, i, v0)

    pointwise_1d[W=16](team, 120, body)


def forward(s: Session):
    """Runs every fused group in order."""
    # small.py:47 in forward: y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    s.launch[scaled_dot_product_atten_1](
        150, s.input(0), s.input(1), s.input(2), s.input(3), s.arena(0)
    )
    s.launch[copy_1](30, s.output(0), s.arena(0))


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 4)
    s.expect_input(1, 1, 4)
    s.expect_input(2, 1, 4)
    s.expect_input(3, 10, 4)
    s.expect_size(0, 0, 2)
    s.expect_size(0, 1, 3)
    s.expect_size(0, 2, 5)
    s.expect_size(0, 3, 4)
    s.expect_size(1, 0, 2)
    s.expect_size(1, 1, 3)
    s.expect_size(1, 2, 5)
    s.expect_size(1, 3, 4)
    s.expect_size(2, 0, 2)
    s.expect_size(2, 1, 3)
    s.expect_size(2, 2, 5)
    s.expect_size(2, 3, 4)
    s.expect_size(3, 0, 2)
    s.expect_size(3, 1, 1)
    s.expect_size(3, 2, 5)
    s.expect_size(3, 3, 5)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 1, 480, 2, 5, 12)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(512, 88064)


comptime SIGNATURE = (
    '{"inputs":[{"name":"q","dtype":"float32","shape":[2,3,5,4]},{"na'
    'me":"k","dtype":"float32","shape":[2,3,5,4]},{"name":"v","dtype"'
    ':"float32","shape":[2,3,5,4]},{"name":"mask","dtype":"bool","sha'
    'pe":[2,1,5,5]}],"outputs":[{"name":"output","dtype":"float32","s'
    'hape":[2,5,12]}],"dims":{}}'
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
