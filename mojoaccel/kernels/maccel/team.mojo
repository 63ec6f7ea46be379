"""What a kernel knows about the threads that run it.

A fused group runs as one task on every thread of the session's pool. Each thread builds a
`Team` from the pool's control block and its own index and takes its share of the work:

    def linear_gelu_3(args: Args, pool: Args, tid: Int) abi("C"):
        var team = Team(pool, tid)
        ...

Layout of the pool's control block (64-bit words; `pool.mojo` owns it):
    0 generation, 8 threads still running, 16 team size of the current task, 17 task, 18 args,
    19 stop, 56 barrier arrivals, 64 barrier phase, 72 scratch address, 73 scratch bytes per
    thread, 74 pauses that a wait may spin, 80 threads, 81 process, 128 one line per thread.
    Words that several threads write sit on cache lines of their own; what describes a task lies
    on one line.
"""

from std.atomic import Atomic, Ordering
from std.sys.intrinsics import llvm_intrinsic
from std.sys import CompilationTarget

from maccel.libc import yield_thread
from maccel.types import Args, Ptr

comptime TaskFn = def(Args, Args, Int) thin abi("C") -> None
"""A fused group: (argument block, pool control block, thread index)."""

comptime POOL_TEAM_SIZE = 16
comptime POOL_BARRIER_COUNT = 56
comptime POOL_BARRIER_PHASE = 64
comptime POOL_SCRATCH = 72
comptime POOL_SCRATCH_BYTES = 73
comptime POOL_SPIN = 74


@always_inline
def spin_pause():
    """Tells the core that this thread waits in a loop (PAUSE on x86, ISB on Arm).

    Arm's YIELD does nothing on most cores; ISB drains the pipeline and takes about as long as
    PAUSE.
    """
    comptime if CompilationTarget.is_x86():
        llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
    else:
        llvm_intrinsic["llvm.aarch64.isb", NoneType](Int32(15))


@fieldwise_init
struct Share(Copyable, Movable, TrivialRegisterPassable):
    """The half-open range [begin, end) of work items that one thread takes."""

    var begin: Int
    var end: Int


struct Team(Copyable, Movable, TrivialRegisterPassable):
    """One thread's view of the threads that run the current task."""

    var pool: Args
    var id: Int
    var size: Int

    @always_inline
    def __init__(out self, pool: Args, tid: Int):
        self.pool = pool
        self.id = tid
        self.size = Int(pool[unsafe_offset=POOL_TEAM_SIZE])

    @always_inline
    def share(self, count: Int, multiple: Int = 1) -> Share:
        """Splits `count` items evenly; inner bounds are multiples of `multiple`.
        """
        var blocks = (count + multiple - 1) // multiple
        var begin = blocks * self.id // self.size * multiple
        var end = blocks * (self.id + 1) // self.size * multiple
        return Share(min(begin, count), min(end, count))

    @always_inline
    def scratch[dt: DType](self) -> Ptr[dt]:
        """Returns this thread's scratch memory (64-byte aligned, uninitialised).
        """
        var base = Int(self.pool[unsafe_offset=POOL_SCRATCH])
        var bytes = Int(self.pool[unsafe_offset=POOL_SCRATCH_BYTES])
        return Ptr[dt](unsafe_from_address=base + self.id * bytes)

    def barrier(self):
        """Waits until every thread of the team has arrived (phase-counting spin barrier).
        """
        if self.size == 1:
            return
        var phase_word = self.pool.unsafe_offset(POOL_BARRIER_PHASE)
        var count_word = self.pool.unsafe_offset(POOL_BARRIER_COUNT)
        var phase = Atomic[Int64].load[ordering=Ordering.ACQUIRE](phase_word)
        var arrived = Atomic[Int64].fetch_add(count_word, 1) + 1
        if arrived == Int64(self.size):
            count_word[unsafe_offset=0] = 0
            _ = Atomic[Int64].fetch_add[ordering=Ordering.RELEASE](
                phase_word, 1
            )
        else:
            var spins = Int64(0)
            var limit = self.pool[unsafe_offset=POOL_SPIN]
            while (
                Atomic[Int64].load[ordering=Ordering.ACQUIRE](phase_word)
                == phase
            ):
                if spins < limit:
                    spins += 1
                    spin_pause()
                else:  # other programs have the processors
                    yield_thread()
