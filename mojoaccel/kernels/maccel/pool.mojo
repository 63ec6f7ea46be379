"""A thread pool for fork-join tasks: threads spin for a moment, then sleep.

One pool belongs to one session. The caller is thread 0, so a pool of n threads starts n - 1. A
task runs on a team of the first `size` threads; the others see the new generation and go on
waiting. Spinning costs at most `SPIN` pauses (about 50 us): a stream of short tasks never sleeps,
an idle session uses no processor time. `team.mojo` documents the control block.

Fork-join costs 0.5-1 us while threads spin; waking a sleeping thread costs 5-50 us.
"""

from std.atomic import Atomic, Ordering
from std.ffi import external_call

from maccel.libc import (
    FUTEX_WAIT_PRIVATE,
    FUTEX_WAKE_PRIVATE,
    allocate,
    futex,
    process_id,
    release,
    yield_thread,
)
from maccel.team import (
    POOL_BARRIER_COUNT,
    POOL_SCRATCH,
    POOL_SCRATCH_BYTES,
    POOL_TEAM_SIZE,
    TaskFn,
    spin_pause,
)
from maccel.types import Args

comptime GENERATION = 0
comptime RUNNING = 8
comptime TASK = 24
comptime TASK_ARGS = 32
comptime STOP = 40
comptime SLEEPERS = 48
comptime CAPACITY = 80
comptime PROCESS = 81
comptime THREADS = 128
comptime MAX_THREADS = 256
comptime POOL_BYTES = 8192
comptime SPIN = 4000
comptime SPIN_BEFORE_YIELD = 2000


def worker(start: Args) abi("C") -> Int64:
    """Runs tasks until the pool stops. `start` is this thread's slot in the control block."""
    var pool = Args(unsafe_from_address=Int(start[unsafe_offset=0]))
    var tid = Int(start[unsafe_offset=1])
    var seen = Int64(0)
    while True:
        var now = wait_for_generation(pool, seen)
        seen = now
        if pool[unsafe_offset=STOP] != 0:
            return 0
        # The team's size is published with the generation; a thread outside the team must not
        # touch `RUNNING`, and may find a later task's size here: then it takes part in that one.
        if tid >= Int(now & 0xFFFF):
            continue
        var task = pool.unsafe_offset(TASK).unsafe_bitcast[TaskFn]()[]
        task(
            Args(unsafe_from_address=Int(pool[unsafe_offset=TASK_ARGS])),
            pool,
            tid,
        )
        _ = Atomic[Int64].fetch_add[ordering=Ordering.RELEASE](
            pool.unsafe_offset(RUNNING), -1
        )


@always_inline
def wait_for_generation(pool: Args, seen: Int64) -> Int64:
    """Waits until the generation word differs from `seen` and returns it."""
    while True:
        for _ in range(SPIN):
            var now = Atomic[Int64].load[ordering=Ordering.ACQUIRE](pool)
            if now != seen:
                return now
            spin_pause()
        _ = Atomic[Int64].fetch_add(pool.unsafe_offset(SLEEPERS), 1)
        # The futex compares the low half, which changes with every generation.
        if Atomic[Int64].load(pool) == seen:
            futex(pool, FUTEX_WAIT_PRIVATE, Int(seen & 0xFFFFFFFF))
        _ = Atomic[Int64].fetch_add(pool.unsafe_offset(SLEEPERS), -1)


def pool_create(threads: Int) -> Args:
    """Makes a pool of `threads` threads, the caller being one of them."""
    var pool = Args(unsafe_from_address=allocate(POOL_BYTES))
    pool[unsafe_offset=CAPACITY] = Int64(max(1, min(threads, MAX_THREADS)))
    start_workers(pool)
    return pool


def start_workers(pool: Args):
    """Starts the threads of a pool that has none (new, or in a forked child)."""
    pool[unsafe_offset=GENERATION] = 0
    pool[unsafe_offset=RUNNING] = 0
    pool[unsafe_offset=STOP] = 0
    pool[unsafe_offset=SLEEPERS] = 0
    pool[unsafe_offset=POOL_BARRIER_COUNT] = 0
    pool[unsafe_offset=PROCESS] = Int64(process_id())
    var wanted = Int(pool[unsafe_offset=CAPACITY])
    for tid in range(1, wanted):
        var slot = pool.unsafe_offset(THREADS + 3 * tid)
        slot[unsafe_offset=0] = Int64(Int(pool))
        slot[unsafe_offset=1] = Int64(tid)
        var failed = external_call["pthread_create", Int32](
            slot.unsafe_offset(2), Int(0), worker, slot
        )
        if failed != 0:  # out of threads: the pool works with those it has
            pool[unsafe_offset=CAPACITY] = Int64(tid)
            return


def pool_run(pool: Args, task: TaskFn, args: Args, threads: Int):
    """Runs `task` on the first `threads` threads of the pool and waits for all of them.

    Args:
        pool: The pool; only one caller at a time.
        task: The task.
        args: Its argument block.
        threads: Team size, limited to the pool's size.
    """
    # A forked child has the memory but not the threads of its parent.
    if pool[unsafe_offset=PROCESS] != Int64(process_id()):
        start_workers(pool)
    var size = max(1, min(threads, Int(pool[unsafe_offset=CAPACITY])))
    pool[unsafe_offset=POOL_TEAM_SIZE] = Int64(size)
    if size == 1:
        task(args, pool, 0)
        return
    pool.unsafe_offset(TASK).unsafe_bitcast[TaskFn]()[] = task
    pool[unsafe_offset=TASK_ARGS] = Int64(Int(args))
    pool[unsafe_offset=RUNNING] = Int64(size - 1)
    publish(pool, size)
    task(args, pool, 0)
    var spins = 0
    while (
        Atomic[Int64].load[ordering=Ordering.ACQUIRE](
            pool.unsafe_offset(RUNNING)
        )
        != 0
    ):
        spins += 1
        if spins < SPIN_BEFORE_YIELD:
            spin_pause()
        else:  # more threads than cores: let the others finish
            yield_thread()


@always_inline
def publish(pool: Args, size: Int):
    """Starts a new generation whose low 16 bits are the team size, and wakes sleepers."""
    var count = (pool[unsafe_offset=GENERATION] >> 16) + 1
    Atomic[Int64].store(pool, (count << 16) | Int64(size))
    if Atomic[Int64].load(pool.unsafe_offset(SLEEPERS)) != 0:
        futex(pool, FUTEX_WAKE_PRIVATE, 1 << 30)


def pool_set_scratch(pool: Args, address: Int, bytes_per_thread: Int):
    """Sets the scratch memory that `Team.scratch` hands out."""
    pool[unsafe_offset=POOL_SCRATCH] = Int64(address)
    pool[unsafe_offset=POOL_SCRATCH_BYTES] = Int64(bytes_per_thread)


def pool_destroy(pool: Args):
    """Stops the threads and frees the pool."""
    if pool[unsafe_offset=PROCESS] == Int64(process_id()):
        pool[unsafe_offset=STOP] = 1
        publish(pool, MAX_THREADS)
        for tid in range(1, Int(pool[unsafe_offset=CAPACITY])):
            _ = external_call["pthread_join", Int32](
                pool[unsafe_offset = THREADS + 3 * tid + 2], Int(0)
            )
    release(Int(pool), POOL_BYTES)
