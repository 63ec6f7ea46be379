"""A model written by hand in the form that `emit` prints.

It has what the run-time half (`maccel.entry`, `maccel.session`) must serve: a dynamic dim, an
index that may be out of range, a temporary in the arena, scratch memory, and a state.

Signature:
    x: f32[batch, 16]
    ids: i64[batch]
    -> y: f32[batch, 4]
    -> total: f32[16]
    state total: f32[16], the sum of the rows of every x so far

Weights (bytes): 0 table f32[8, 16], 512 first f32[16, 32], 2560 second f32[32, 4], 3072 the
initial total.
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
from maccel.memory import load, splat, store, wrap_index
from maccel.session import Session
from maccel.team import Team
from maccel.types import Args, F32, arg_int, arg_ptr


def embed_matmul_relu_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Computes relu((x + table[ids]) @ first), a share of the rows on each thread.
    """
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.int64](args, 1)
    var x2 = arg_ptr[DType.float32](args, 2)
    var x3 = arg_ptr[DType.float32](args, 3)
    var y0 = arg_ptr[DType.float32](args, 4)
    var batch = arg_int(args, 5)
    var status = arg_ptr[DType.int64](args, 6)
    var row = team.scratch[DType.float32]()
    var rows = team.share(batch)
    for i in range(rows.begin, rows.end):
        var id = Int(wrap_index[1](x1[unsafe_offset=i], 8, status))
        store[16](row, 0, load[16](x0, i * 16) + load[16](x2, id * 16))
        for j in range(0, 32, 16):
            var sum = F32[16](0)
            for k in range(16):
                sum += splat[16](row, k) * load[16](x3, k * 32 + j)
            store[16](y0, i * 32 + j, max(sum, F32[16](0)))


def matmul_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Computes hidden @ second, a share of the rows on each thread."""
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var batch = arg_int(args, 3)
    var rows = team.share(batch)
    for i in range(rows.begin, rows.end):
        var sum = F32[4](0)
        for k in range(32):
            sum += splat[4](x0, i * 32 + k) * load[4](x1, k * 4)
        store[4](y0, i * 4, sum)


def sum_rows_1(args: Args, pool: Args, tid: Int) abi("C"):
    """Adds the rows of x to the total; thread 0 adds, every thread copies its columns.
    """
    var team = Team(pool, tid)
    var x0 = arg_ptr[DType.float32](args, 0)
    var x1 = arg_ptr[DType.float32](args, 1)
    var y0 = arg_ptr[DType.float32](args, 2)
    var batch = arg_int(args, 3)
    if team.id == 0:
        var sum = load[16](x1, 0)
        for i in range(batch):
            sum += load[16](x0, i * 16)
        store[16](x1, 0, sum)
    team.barrier()
    var columns = team.share(16)
    for j in range(columns.begin, columns.end):
        store[1](y0, j, load[1](x1, j))


def forward(s: Session):
    """Runs every group in order."""
    var batch = s.dim(0)
    s.launch[embed_matmul_relu_1](
        1000 * batch,
        s.input(0),
        s.input(1),
        s.weight(0),
        s.weight(512),
        s.arena(0),
        batch,
        s.status(),
    )
    s.launch[matmul_1](
        1000 * batch, s.arena(0), s.weight(2560), s.output(0), batch
    )
    s.launch[sum_rows_1](
        1000 * batch, s.input(0), s.state(0), s.output(1), batch
    )


def bind(s: Session):
    """Checks the inputs and reads the dynamic dims."""
    s.expect_input(0, 1, 2)
    s.bind_dim(0, 0, 0, 0, 4096)
    s.expect_size(0, 1, 16)
    s.expect_input(1, 5, 1)
    var batch = s.dim(0)
    s.expect_size(1, 0, batch)


def describe(s: Session):
    """Gives the shapes of the outputs."""
    var batch = s.dim(0)
    s.describe_output(0, 1, 16 * batch, batch, 4)
    s.describe_output(1, 1, 64, 16)


def reserve(s: Session):
    """Makes room for temporaries."""
    var batch = s.dim(0)
    s.reserve(128 * batch, 64)


def reset(s: Session):
    """Gives every state its initial value."""
    s.init_state(0, 64, 3072)


comptime SIGNATURE = (
    '{"inputs":[{"name":"x","dtype":"float32","shape":["batch",16]},'
    '{"name":"ids","dtype":"int64","shape":["batch"]}],'
    '"outputs":[{"name":"y","dtype":"float32","shape":["batch",4]},'
    '{"name":"total","dtype":"float32","shape":[16]}],'
    '"dims":{"batch":[0,4096]}}'
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
    var status = session_open(folder, threads, result, 3136, 0, 3136)
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
    """Gives address and bytes of a state, which hold until the session closes.
    """
    return session_state(session, Int(index), 1, result)


@export("maccel_last_error")
def maccel_last_error(session: Args, result: Args) abi("C") -> Int32:
    """Copies code, index, axis, expected and got of the last error."""
    return session_error(session, result)


@export("maccel_profile")
def maccel_profile(session: Args, times: Args) abi("C") -> Int32:
    """Tells how long each fused group took in the last run, if this was built to know.
    """
    return session_profile(session, times)


@export("maccel_close")
def maccel_close(session: Args) abi("C"):
    """Frees a session."""
    session_close(session)
