"""Model Embedded, compiled ahead of time by mojoaccel (74f50400c4ac).

Signature:
    ids: i64[2, length]
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
from maccel.memory import check_index, load, splat, store
from maccel.reduce import reduce_columns
from maccel.reductions import Sum
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, I64, arg_int, arg_ptr


def mean_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Mean."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.int64](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var n_length = arg_int(args, 3)
    var status = arg_ptr[DType.int64](args, 4)

    @always_inline
    def operand[w: Int](outer: Int, row: Int, col: Int) {imm} -> F32[w]:
        var v0 = splat[w](x0, outer * n_length + row)
        var v1 = check_index[w](v0, 50, status)
        var v2 = load[w](x1, col + Int(v1[0]) * 16)
        return v2

    @always_inline
    def epilogue[w: Int](row: Int, col: Int, value: F32[w]) {imm}:
        var v0 = value
        var v1 = I64[w](n_length)
        var v2 = v1.cast[DType.float32]()
        var v3 = v0 / v2
        store(y0, row * 16 + col, v3)

    reduce_columns[op=Sum, W=16, dt=DType.float32, out=DType.float32](
        team, 2, n_length, 16, operand, epilogue
    )


def forward(s: Session):
    """Runs every fused group in order."""
    var n_length = s.dim(0)
    # small.py:66 in forward: return self.table(ids).mean(1)
    s.launch[mean_1](
        64 * n_length,
        s.input(0),
        s.weight(0),
        s.output(0),
        n_length,
        s.status(),
    )


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 5, 2)
    s.bind_dim(0, 0, 1, 1, -1)
    s.expect_size(0, 0, 2)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    s.describe_output(0, 1, 128, 2, 16)


def reserve(s: Session):
    """Makes room for temporaries."""
    s.reserve(0, 262144)


comptime SIGNATURE = (
    '{"inputs":[{"name":"ids","dtype":"int64","shape":[2,"length"]}],'
    '"outputs":[{"name":"output","dtype":"float32","shape":[2,16]}],"'
    'dims":{"length":[1,null]}}'
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
    return session_open(folder, threads, result, 3200, 0, 0)


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
