"""Model Convolved, compiled ahead of time by mojoaccel (62cdce99399d).

Signature:
    x: f32[1, 3, 8, 8]
    -> output: f32[1, 8, 4, 4]
Target: cpu:x86_64-unknown-linux-gnu+sapphirerapids-amx-tile-amx-bf16-amx-int8
"""

from maccel.conv import conv2d
from maccel.entry import (
    session_close,
    session_error,
    session_open,
    session_profile,
    session_run,
    session_shapes,
    session_state,
)
from maccel.image import ImageView
from maccel.libc import Bytes
from maccel.loops import pointwise
from maccel.math import relu
from maccel.memory import load, load_strided, store, store_strided
from maccel.pooling import max_pool2d
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_ptr


def copy_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Copy."""
    var team = Team(pool, tid)
    var y0 = arg_ptr[DType.float32](args, 0)
    var x0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def body[w: Int](row: Int, col: Int) {imm}:
        var v0 = load_strided[w](x0, row + col * 64, 64)
        store(y0, row * 3 + col, v0)

    pointwise[W=16](team, 64, 3, body)


def conv2d_mul_add_relu_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Conv2d, mul, add, relu."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var x2 = arg_ptr[DType.float32](args, 3)
    var x3 = arg_ptr[DType.float32](args, 4)
    var x4 = arg_ptr[DType.float32](args, 5)

    @always_inline
    def epilogue[w: Int](outer: Int, row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = value
        var v1 = load[w](x2, col)
        var v2 = v0 + v1
        var v3 = load[w](x3, col)
        var v4 = v2 * v3
        var v5 = load[w](x4, col)
        var v6 = v4 + v5
        var v7 = relu(v6)
        store(y0, row * 8 + col, v7)

    @always_inline
    def ahead[w: Int](outer: Int, row: Int, col: Int) {imm}:
        pass

    conv2d[
        acc=DType.float32,
        in_channels=3,
        out_channels=8,
        kernel_h=3,
        kernel_w=3,
        stride_h=1,
        stride_w=1,
        pad_h=1,
        pad_w=1,
        dilation_h=1,
        dilation_w=1,
        groups=1,
        panel=16,
    ](team, ImageView(x0, 1, 8, 8, 192, 24, 3), x1, 8, 8, epilogue, ahead)


def max_pool2d_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Max_pool2d."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var y0 = arg_ptr[DType.float32](args, 1)

    @always_inline
    def epilogue[w: Int](outer: Int, row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = value
        store_strided(y0, row + col * 16, 16, v0)

    max_pool2d[
        acc=DType.float32,
        channels=8,
        kernel_h=2,
        kernel_w=2,
        stride_h=2,
        stride_w=2,
        pad_h=0,
        pad_w=0,
        dilation_h=1,
        dilation_w=1,
    ](team, ImageView(x0, 1, 8, 8, 512, 64, 8), 4, 4, epilogue)


def forward(s: Session):
    """Runs every fused group in order."""
    s.launch[copy_1](48, s.arena(2048), s.input(0))
    # small.py:42 in forward: return F.max_pool2d(self.n(self.c(x)).relu(), 2)
    s.launch[conv2d_mul_add_relu_1](
        864,
        s.arena(2048),
        s.weight(0),
        s.arena(0),
        s.weight(1728),
        s.weight(1792),
        s.weight(1856),
    )
    s.launch[max_pool2d_1](512, s.arena(0), s.output(0))


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 4)
    s.expect_size(0, 0, 1)
    s.expect_size(0, 1, 3)
    s.expect_size(0, 2, 8)
    s.expect_size(0, 3, 8)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 1, 512, 1, 8, 4, 4)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(2816, 3584)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":[1,3,8,8]}],"ou'
    'tputs":[{"name":"output","dtype":"float32","shape":[1,8,4,4]}],"'
    'dims":{}}'
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
    return session_open(folder, threads, result, 1920, 0, 1728)


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
