"""Runs a task on real threads: one call per team size, arguments as 64-bit words."""

from maccel.pool import pool_create, pool_destroy, pool_run, pool_set_scratch
from maccel.team import TaskFn
from maccel.types import Args, Ptr

from team_fixture import buffer

comptime SCRATCH = 1 << 20


def address[dt: DType](p: Ptr[dt]) -> Int:
    """Returns a pointer as an argument word."""
    return Int(p)


def run_task(
    task: TaskFn,
    threads: Int,
    a: Int,
    b: Int = 0,
    c: Int = 0,
    d: Int = 0,
    e: Int = 0,
    f: Int = 0,
):
    """Runs `task` on a new pool with the argument words a, b, c, d, e, f."""
    var args = buffer[DType.int64](8)
    args[unsafe_offset=0] = Int64(a)
    args[unsafe_offset=1] = Int64(b)
    args[unsafe_offset=2] = Int64(c)
    args[unsafe_offset=3] = Int64(d)
    args[unsafe_offset=4] = Int64(e)
    args[unsafe_offset=5] = Int64(f)
    var pool = pool_create(threads)
    pool_set_scratch(
        pool, Int(buffer[DType.int64](threads * SCRATCH // 8)), SCRATCH
    )
    pool_run(pool, task, args, threads)
    pool_destroy(pool)
