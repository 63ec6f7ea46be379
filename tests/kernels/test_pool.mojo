"""The thread pool: every thread of a team runs each task once, whatever the others do."""

from std.atomic import Atomic
from std.testing import TestSuite, assert_equal, assert_true
from std.time import perf_counter_ns, sleep

from maccel.pool import (
    pool_create,
    pool_destroy,
    pool_refresh,
    pool_run,
    pool_set_scratch,
)
from maccel.team import Team
from maccel.types import Args, Ptr

from team_fixture import buffer

comptime THREADS = 4


def count(args: Args, pool: Args, tid: Int) abi("C"):
    """Counts the runs of each thread in words 0.. and checks the team's size.
    """
    var team = Team(pool, tid)
    _ = Atomic[Int64].fetch_add(args.unsafe_offset(tid), 1)
    if team.size != Int(args[unsafe_offset=15]):
        args[unsafe_offset=14] = 1


def phases(args: Args, pool: Args, tid: Int) abi("C"):
    """Each thread writes, waits, and reads what its neighbour wrote before the barrier.
    """
    var team = Team(pool, tid)
    for phase in range(200):
        args[unsafe_offset=8 * tid] = Int64(phase)
        team.barrier()
        var neighbour = (tid + 1) % team.size
        if args[unsafe_offset=8 * neighbour] != Int64(phase):
            args[unsafe_offset=1] = 1
        team.barrier()


def touch_scratch(args: Args, pool: Args, tid: Int) abi("C"):
    """Fills the thread's scratch memory with its index."""
    var team = Team(pool, tid)
    var scratch = team.scratch[DType.int64]()
    for i in range(8):
        scratch[unsafe_offset=i] = Int64(tid)


def words(count: Int) -> Args:
    """Allocates zeroed words."""
    var block = buffer[DType.int64](count)
    for i in range(count):
        block[unsafe_offset=i] = 0
    return block


def check_counts(pool: Args, size: Int, repeats: Int) raises:
    """Runs `count` and checks that exactly the first `size` threads took part.
    """
    var args = words(16)
    args[unsafe_offset=15] = Int64(size)
    for _ in range(repeats):
        pool_run(pool, count, args, size)
    for tid in range(THREADS):
        var expected = repeats if tid < size else 0
        assert_equal(Int(args[unsafe_offset=tid]), expected)
    assert_equal(Int(args[unsafe_offset=14]), 0)


def test_teams_of_every_size_run_once() raises:
    var pool = pool_create(THREADS)
    for turn in range(3):
        for size in range(1, THREADS + 1):
            check_counts(pool, size, 50 + turn)
    pool_destroy(pool)


def test_threads_wake_from_sleep() raises:
    var pool = pool_create(THREADS)
    for size in [4, 2, 3, 4]:
        sleep(0.01)
        check_counts(pool, size, 1)
    pool_destroy(pool)


def test_team_is_limited_to_the_pool() raises:
    var pool = pool_create(2)
    var args = words(16)
    args[unsafe_offset=15] = 2
    pool_run(pool, count, args, 100)
    assert_equal(Int(args[unsafe_offset=0] + args[unsafe_offset=1]), 2)
    assert_equal(Int(args[unsafe_offset=14]), 0)
    pool_destroy(pool)


def test_barrier_separates_phases() raises:
    for threads in [1, 2, 4, 16]:  # 16: more threads than processors
        var pool = pool_create(threads)
        var args = words(8 * 16)
        pool_run(pool, phases, args, threads)
        assert_equal(Int(args[unsafe_offset=1]), 0)
        pool_destroy(pool)


def test_more_threads_than_processors_still_finish() raises:
    var pool = pool_create(64)
    var args = words(80)
    args[unsafe_offset=15] = 64
    var start = perf_counter_ns()
    for _ in range(20):
        pool_run(pool, touch_nothing, args, 64)
    assert_true(perf_counter_ns() - start < 10_000_000_000)
    pool_destroy(pool)


def touch_nothing(args: Args, pool: Args, tid: Int) abi("C"):
    """Does nothing."""
    pass


def test_scratch_belongs_to_one_thread() raises:
    var pool = pool_create(THREADS)
    var scratch = buffer[DType.int64](THREADS * 8)
    pool_set_scratch(pool, Int(scratch), 64)
    pool_run(pool, touch_scratch, words(8), THREADS)
    for i in range(THREADS * 8):
        assert_equal(Int(scratch[unsafe_offset=i]), i // 8)
    pool_destroy(pool)


def test_refresh_keeps_threads_in_the_same_process() raises:
    var pool = pool_create(THREADS)
    check_counts(pool, THREADS, 2)
    pool_refresh(pool)
    check_counts(pool, THREADS, 2)
    pool_destroy(pool)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
