"""A thread pool for fork-join tasks: threads spin for a moment, then sleep.

One pool belongs to one session. The caller is thread 0, so a pool of n threads starts n - 1. A
task runs on a team of the first `size` threads; the others go on spinning or sleeping.

A thread that has no task spins for as long as its patience lasts, because waking it costs far more
than a task of a small model; then it sleeps, so an idle session uses no processor time. A thread
that was taken off its processor while it spun knows that others want the processor: its patience
drops to a quarter, and grows slowly. A pool with more threads than processors does not spin at
all, because whoever spins keeps the thread that it waits for off the processor. `team.mojo`
documents the control block. Threads are not bound to processors: two sessions would be bound to
the same ones.

Measured on 4 cores of a Sapphire Rapids virtual machine without other load: fork-join 0.35 us with
2 threads and 0.55 us with 4; from sleep 15 us with 2 and 40 us with 4; nothing for a team of one.
A perceptron of 3 layers took 12 us called every 100 us, 75 us when its threads slept. On busy
processors the drop of patience halved the time of a run.
"""

from std.atomic import Atomic, Ordering
from std.ffi import external_call
from std.time import perf_counter_ns

from maccel.libc import (
    FUTEX_WAIT_PRIVATE,
    FUTEX_WAKE_PRIVATE,
    allocate,
    futex,
    process_id,
    processor_count,
    release,
    set_signal_mask,
    yield_thread,
)
from maccel.team import (
    POOL_BARRIER_COUNT,
    POOL_SCRATCH,
    POOL_SCRATCH_BYTES,
    POOL_SPIN,
    POOL_TEAM_SIZE,
    TaskFn,
    spin_pause,
)
from maccel.types import Args

comptime GENERATION = 0
comptime RUNNING = 8
comptime TASK = 17
comptime TASK_ARGS = 18
comptime STOP = 19
comptime CAPACITY = 80
comptime PROCESS = 81
comptime SLOTS = 128
comptime MAX_THREADS = 256
comptime POOL_BYTES = 20480
comptime SPIN = 4000
"""Pauses that a member of a team waits for the others before it yields (about 50 us)."""

comptime PAUSES = 16
"""Pauses between two looks at the clock."""
comptime INTERRUPTION = 20_000
"""Nanoseconds between two looks that show that something else ran."""
comptime LEAST_PATIENCE = 10_000
comptime MOST_PATIENCE = 500_000
comptime PATIENCE_GAIN = 500
"""Nanoseconds that a thread may spin, and what each task that it waited for adds."""

comptime SLOT_WORDS = 8
"""A thread's slot is a cache line: pool, thread index, pthread handle, asleep, patience."""
comptime ASLEEP = 3
comptime PATIENCE = 4

comptime WORKER_SIGNALS = -1 ^ 0x18000_04F8
"""Signals blocked in workers: all but faults, which a debugger wants at their place, and the two
that glibc sends to every thread (cancellation, set-user-id)."""


def worker(slot: Args) abi("C") -> Int64:
    """Runs tasks until the pool stops. `slot` is this thread's part of the control block.
    """
    var pool = Args(unsafe_from_address=Int(slot[unsafe_offset=0]))
    var tid = Int(slot[unsafe_offset=1])
    var seen = Int64(0)
    while True:
        seen = wait_for_task(pool, slot, tid, seen)
        if pool[unsafe_offset=STOP] != 0:
            return 0
        # The caller publishes no other task before this thread has finished its share.
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
def wait_for_task(pool: Args, slot: Args, tid: Int, last: Int64) -> Int64:
    """Waits for a generation after `last` whose team includes `tid`, and returns it.

    Tasks of smaller teams do not renew the patience of the others.
    """
    var seen = last
    var asleep = slot.unsafe_offset(ASLEEP)
    var patience = slot[unsafe_offset=PATIENCE]
    var start = Int64(perf_counter_ns()) if patience > 0 else 0
    var before = start
    while True:
        for _ in range(PAUSES):
            var now = Atomic[Int64].load[ordering=Ordering.ACQUIRE](pool)
            if now != seen:
                seen = now
                if tid < Int(now & 0xFFFF):
                    if patience > 0:
                        slot[unsafe_offset=PATIENCE] = min(
                            patience + PATIENCE_GAIN, Int64(MOST_PATIENCE)
                        )
                    return now
            if patience > 0:
                spin_pause()
        if patience > 0:
            var time = Int64(perf_counter_ns())
            if time - before > INTERRUPTION:
                patience = max(patience // 4, Int64(LEAST_PATIENCE))
            elif time - start < patience:
                before = time
                continue
        # Either this thread sees the new generation, or the caller sees `asleep` (both orders
        # are sequentially consistent) and wakes it.
        Atomic[Int64].store(asleep, 1)
        if Atomic[Int64].load(pool) == seen:
            futex(asleep, FUTEX_WAIT_PRIVATE, 1)
        Atomic[Int64].store(asleep, 0)
        if patience > 0:  # sleeping is no interruption
            before = Int64(perf_counter_ns())


def pool_create(threads: Int) -> Args:
    """Makes a pool of `threads` threads, the caller being one of them.

    Returns:
        The control block; its address is 0 when there is no memory.
    """
    var pool = Args(unsafe_from_address=allocate(POOL_BYTES))
    if Int(pool) != 0:
        pool[unsafe_offset=CAPACITY] = Int64(max(1, min(threads, MAX_THREADS)))
        start_workers(pool)
    return pool


def start_workers(pool: Args):
    """Starts the threads of a pool that has none (new, or in a forked child).
    """
    var wanted = Int(pool[unsafe_offset=CAPACITY])
    pool[unsafe_offset=GENERATION] = 0
    pool[unsafe_offset=RUNNING] = 0
    pool[unsafe_offset=STOP] = 0
    pool[unsafe_offset=POOL_BARRIER_COUNT] = 0
    pool[unsafe_offset=PROCESS] = Int64(process_id())
    var roomy = wanted > 1 and wanted <= processor_count()
    pool[unsafe_offset=POOL_SPIN] = SPIN if roomy else 0
    # Threads inherit the mask: signals go to the threads of the program, not to workers.
    var before = set_signal_mask(WORKER_SIGNALS) if wanted > 1 else 0
    for tid in range(1, wanted):
        var slot = pool.unsafe_offset(SLOTS + SLOT_WORDS * tid)
        slot[unsafe_offset=0] = Int64(Int(pool))
        slot[unsafe_offset=1] = Int64(tid)
        slot[unsafe_offset=ASLEEP] = 0
        slot[unsafe_offset=PATIENCE] = MOST_PATIENCE if roomy else 0
        var failed = external_call["pthread_create", Int32](
            slot.unsafe_offset(2), Int(0), worker, slot
        )
        if failed != 0:  # out of threads: the pool works with those it has
            pool[unsafe_offset=CAPACITY] = Int64(tid)
            break
    if wanted > 1:
        _ = set_signal_mask(before)


def pool_refresh(pool: Args):
    """Starts new threads in a forked child, which has its parent's memory but not its threads.

    Called before the tasks of a run, not before each: asking for the process costs 60 ns.
    """
    if pool[unsafe_offset=PROCESS] != Int64(process_id()):
        start_workers(pool)


def pool_run(pool: Args, task: TaskFn, args: Args, threads: Int):
    """Runs `task` on the first `threads` threads of the pool and waits for all of them.

    Args:
        pool: The pool; only one caller at a time.
        task: The task.
        args: Its argument block.
        threads: Team size, limited to the pool's size.
    """
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
    var running = pool.unsafe_offset(RUNNING)
    var spins = Int64(0)
    var limit = pool[unsafe_offset=POOL_SPIN]
    while Atomic[Int64].load[ordering=Ordering.ACQUIRE](running) != 0:
        if spins < limit:
            spins += 1
            spin_pause()
        else:  # other programs have the processors: let this one's threads have this one
            yield_thread()


@always_inline
def publish(pool: Args, size: Int):
    """Starts a new generation whose low 16 bits are the team size; wakes its sleepers.
    """
    var count = (pool[unsafe_offset=GENERATION] >> 16) + 1
    Atomic[Int64].store(pool, (count << 16) | Int64(size))
    var threads = min(size, Int(pool[unsafe_offset=CAPACITY]))
    for tid in range(1, threads):
        var asleep = pool.unsafe_offset(SLOTS + SLOT_WORDS * tid + ASLEEP)
        if Atomic[Int64].load(asleep) != 0:
            Atomic[Int64].store(asleep, 0)
            futex(asleep, FUTEX_WAKE_PRIVATE, 1)


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
                pool[unsafe_offset=SLOTS + SLOT_WORDS * tid + 2], Int(0)
            )
    release(Int(pool), POOL_BYTES)
