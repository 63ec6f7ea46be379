"""What the functions of an emitted module see of a run: addresses, dims, checks, memory, launch.

Everything lives in one block of words that the caller owns through a handle: there are no
globals, so any number of sessions can run side by side.

Words of the block: 0 weights, 1 weight bytes, 2 arena, 3 arena bytes, 4 scratch, 5 scratch bytes
in all, 6 pool, 7 threads, 8 data status, 9 lock, 11 input tensors, 12 output
tensors, 13 whether outputs get memory, 14 whether a state lacks memory, 16-20 error (code, index,
axis, expected, got), 24-25 times of the groups (see `profile`), 32+ dims,
128+ output addresses, 1152+ states (address, bytes), 5248+ output memory owned by the session
(address, bytes). `emit/entry.py` refuses plans that need more dims, outputs or states.
"""

from std.memory import stack_allocation
from std.time import perf_counter_ns

from maccel.libc import advise, allocate, copy_memory, release
from maccel.lock import acquire_lock, release_lock
from maccel.pool import pool_run, pool_set_scratch
from maccel.profile import PROFILING, Profile
from maccel.team import TaskFn
from maccel.types import Args

comptime WEIGHTS = 0
comptime WEIGHT_BYTES = 1
comptime ARENA = 2
comptime ARENA_BYTES = 3
comptime SCRATCH = 4
comptime SCRATCH_BYTES = 5
comptime POOL = 6
comptime THREADS = 7
comptime STATUS = 8
comptime LOCK = 9
comptime INPUTS = 11
comptime OUTPUTS = 12
comptime WITH_MEMORY = 13
comptime STATE_LOST = 14
comptime ERROR = 16
comptime PROFILE = 24
comptime DIMS = 32
comptime OUTPUT_ADDRESS = 128
comptime MAX_OUTPUTS = 1024
comptime STATES = 1152
comptime MAX_STATES = 2048
comptime OWNED = 5248
comptime SESSION_BYTES = 65536

comptime TENSOR_WORDS = 10
"""A `maccel_tensor`: data, shape[8], then rank and dtype as 32-bit halves of one word."""

comptime OK = Int32(0)
comptime NO_MEMORY = Int32(4)
comptime NO_TILES = Int32(5)
comptime BAD_DTYPE = 10
comptime BAD_RANK = 11
comptime BAD_SIZE = 12
comptime OUT_OF_RANGE = 13
comptime NO_DATA = 14
comptime BAD_INDEX = Int32(20)

comptime MAX_ARGUMENTS = 256
"""Addresses and sizes that one fused group may take; `emit/module.py` checks it."""

comptime CYCLES_PER_THREAD = 4000
"""Estimated cycles of work that pay for one more thread (a fork-join costs about 1 us)."""

comptime HUGE_PAGE = 2 << 20
"""Regions at least this large ask for huge pages: fewer TLB misses while weights stream."""


struct Session(Copyable, Movable, TrivialRegisterPassable):
    """A handle on a session's block."""

    var words: Args

    @always_inline
    def __init__(out self, words: Args):
        self.words = words

    # -- addresses ----------------------------------------------------------

    @always_inline
    def weight(self, offset: Int) -> Int:
        """Returns the address of a byte of the mapped weights."""
        return Int(self.words[unsafe_offset=WEIGHTS]) + offset

    @always_inline
    def arena(self, offset: Int) -> Int:
        """Returns the address of a byte of the arena."""
        return Int(self.words[unsafe_offset=ARENA]) + offset

    @always_inline
    def input(self, index: Int) -> Int:
        """Returns the address of an input's first element."""
        return Int(self.tensor(INPUTS, index)[unsafe_offset=0])

    @always_inline
    def output(self, index: Int) -> Int:
        """Returns the address of an output's first element."""
        return Int(self.words[unsafe_offset=OUTPUT_ADDRESS + index])

    @always_inline
    def state(self, index: Int) -> Int:
        """Returns the address of a state."""
        return Int(self.words[unsafe_offset=STATES + 2 * index])

    @always_inline
    def status(self) -> Int:
        """Returns the address of the word that kernels set on bad data."""
        return Int(self.words.unsafe_offset(STATUS))

    @always_inline
    def dim(self, index: Int) -> Int:
        """Returns the size of a dynamic dim in this run."""
        return Int(self.words[unsafe_offset=DIMS + index])

    @always_inline
    def tensor(self, word: Int, index: Int) -> Args:
        """Returns the `maccel_tensor` of an input or output."""
        var first = Args(
            unsafe_from_address=Int(self.words[unsafe_offset=word])
        )
        return first.unsafe_offset(index * TENSOR_WORDS)

    # -- running ------------------------------------------------------------

    @always_inline
    def launch[task: TaskFn](self, cycles: Int, *arguments: Int):
        """Runs a fused group on as many threads as its work pays for.

        Parameters:
            task: The group.

        Args:
            cycles: Estimated cycles of work on one thread.
            arguments: Addresses and sizes, in the order the group reads them.
        """
        var block = stack_allocation[MAX_ARGUMENTS, Int64]()
        for i in range(len(arguments)):
            block[unsafe_offset=i] = Int64(arguments[i])
        self.run_task(task, Int(block), cycles)

    @no_inline
    def run_task(self, task: TaskFn, block: Int, cycles: Int):
        """Chooses the team and runs a task."""
        var wanted = 1 + cycles // CYCLES_PER_THREAD
        var began = Int(perf_counter_ns()) if PROFILING else 0
        pool_run(
            Args(unsafe_from_address=Int(self.words[unsafe_offset=POOL])),
            task,
            Args(unsafe_from_address=block),
            wanted,
        )
        comptime if PROFILING:
            self.profile().record(Int(perf_counter_ns()) - began)

    @always_inline
    def profile(self) -> Profile:
        """Returns the times of the groups."""
        return Profile(self.words.unsafe_offset(PROFILE))

    # -- checks -------------------------------------------------------------

    @no_inline
    def fail(self, code: Int, index: Int, axis: Int, expected: Int, got: Int):
        """Records the first error of a run."""
        if self.words[unsafe_offset=ERROR] != 0:
            return
        self.words[unsafe_offset=ERROR] = Int64(code)
        self.words[unsafe_offset=ERROR + 1] = Int64(index)
        self.words[unsafe_offset=ERROR + 2] = Int64(axis)
        self.words[unsafe_offset=ERROR + 3] = Int64(expected)
        self.words[unsafe_offset=ERROR + 4] = Int64(got)

    @no_inline
    def expect_input(self, index: Int, dtype: Int, rank: Int):
        """Checks an input's element type and rank, and that it has data unless it is empty.
        """
        var tensor = self.tensor(INPUTS, index)
        var tail = tensor[unsafe_offset=9]
        var got_rank = Int(tail & 0xFFFFFFFF)
        var got_dtype = Int(tail >> 32)
        if got_dtype != dtype:
            self.fail(BAD_DTYPE, index, -1, dtype, got_dtype)
        if got_rank != rank:
            self.fail(BAD_RANK, index, -1, rank, got_rank)
        if tensor[unsafe_offset=0] == 0:
            var count = 1
            for axis in range(rank):
                count *= Int(tensor[unsafe_offset=1 + axis])
            if count != 0:
                self.fail(NO_DATA, index, -1, count, 0)

    @no_inline
    def expect_size(self, index: Int, axis: Int, size: Int):
        """Checks one dimension of an input."""
        var got = Int(self.tensor(INPUTS, index)[unsafe_offset=1 + axis])
        if got != size:
            self.fail(BAD_SIZE, index, axis, size, got)

    @no_inline
    def bind_dim(self, dim: Int, index: Int, axis: Int, low: Int, high: Int):
        """Reads a dynamic dim from an input and checks its range (high < 0: unbounded).
        """
        self.bind_multiple(dim, index, axis, low, high, 1, 0)

    @no_inline
    def bind_multiple(
        self,
        dim: Int,
        index: Int,
        axis: Int,
        low: Int,
        high: Int,
        times: Int,
        plus: Int,
    ):
        """Reads a dim from an axis of size times * dim + plus, and checks its range.
        """
        var got = Int(self.tensor(INPUTS, index)[unsafe_offset=1 + axis])
        var value = (got - plus) // times
        if value < low:
            self.fail(OUT_OF_RANGE, index, axis, low * times + plus, got)
        if high >= 0 and value > high:
            self.fail(OUT_OF_RANGE, index, axis, high * times + plus, got)
        if value * times + plus != got:
            self.fail(BAD_SIZE, index, axis, value * times + plus, got)
        self.words[unsafe_offset=DIMS + dim] = Int64(value)

    # -- memory -------------------------------------------------------------

    @no_inline
    def describe_output(self, index: Int, dtype: Int, bytes: Int, *shape: Int):
        """Fills in an output's shape and finds memory for it.

        A caller may pass the tensors of its last run again: memory that the session gave out then
        may have become too small, so it counts as none.
        """
        var tensor = self.tensor(OUTPUTS, index)
        for axis in range(len(shape)):
            tensor[unsafe_offset=1 + axis] = Int64(shape[axis])
        tensor[unsafe_offset=9] = Int64(len(shape)) | (Int64(dtype) << 32)
        var given = tensor[unsafe_offset=0]
        var ours = (
            given == 0 or given == self.words[unsafe_offset=OWNED + 2 * index]
        )
        if ours and self.words[unsafe_offset=WITH_MEMORY] != 0:
            tensor[unsafe_offset=0] = Int64(self.grow(OWNED + 2 * index, bytes))
        self.words[unsafe_offset=OUTPUT_ADDRESS + index] = tensor[
            unsafe_offset=0
        ]

    @no_inline
    def grow(self, word: Int, bytes: Int) -> Int:
        """Makes the region at words (word, word + 1) at least `bytes` long; contents are lost.
        """
        var have = Int(self.words[unsafe_offset=word + 1])
        if bytes > have or self.words[unsafe_offset=word] == 0:
            release(Int(self.words[unsafe_offset=word]), have)
            var wanted = (max(bytes, 64) + 4095) // 4096 * 4096
            var address = allocate(wanted)
            if address == 0:
                self.fail(Int(NO_MEMORY), -1, -1, bytes, 0)
                wanted = 0
            elif wanted >= HUGE_PAGE:
                advise(address, wanted, 14)
            self.words[unsafe_offset=word] = Int64(address)
            self.words[unsafe_offset=word + 1] = Int64(wanted)
        return Int(self.words[unsafe_offset=word])

    @no_inline
    def reserve(self, arena_bytes: Int, scratch_bytes: Int):
        """Makes the arena and every thread's scratch large enough."""
        _ = self.grow(ARENA, arena_bytes)
        var each = (scratch_bytes + 4095) // 4096 * 4096 + 4096
        var threads = Int(self.words[unsafe_offset=THREADS])
        var address = self.grow(SCRATCH, each * threads)
        pool_set_scratch(
            Args(unsafe_from_address=Int(self.words[unsafe_offset=POOL])),
            address,
            each,
        )

    @no_inline
    def init_state(self, index: Int, bytes: Int, weight_offset: Int):
        """Gives a state its initial value."""
        var address = self.grow(STATES + 2 * index, bytes)
        if address == 0:
            self.words[unsafe_offset=STATE_LOST] = 1
            return
        copy_memory(address, self.weight(weight_offset), bytes)

    # -- exclusion ----------------------------------------------------------

    @no_inline
    def acquire(self):
        """Waits until no other thread runs this session."""
        acquire_lock(self.words.unsafe_offset(LOCK))

    @no_inline
    def give_back(self):
        """Lets the next thread run this session."""
        release_lock(self.words.unsafe_offset(LOCK))
