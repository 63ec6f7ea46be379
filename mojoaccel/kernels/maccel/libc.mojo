"""The C library functions that artifacts use, each wrapped once.

A C symbol may have one signature per program (Mojo 1.2.0), so nobody else calls
`external_call`. Nothing here raises or allocates through Mojo's runtime.
"""

from std.ffi import external_call
from std.memory import stack_allocation
from std.sys import CompilationTarget

from maccel.types import Args, Ptr

comptime Bytes = Ptr[DType.uint8]
comptime FUTEX_WAIT_PRIVATE = 128
comptime FUTEX_WAKE_PRIVATE = 129


@always_inline
def syscall(number: Int, a: Int, b: Int, c: Int, d: Int) -> Int:
    """Calls the kernel directly."""
    return external_call["syscall", Int](number, a, b, c, d)


@always_inline
def futex(word: Args, operation: Int, value: Int):
    """Waits while the low half of `word` equals `value`, or wakes waiters."""
    comptime number = 202 if CompilationTarget.is_x86() else 98
    _ = syscall(number, Int(word), operation, value, 0)


def set_signal_mask(mask: Int) -> Int:
    """Blocks the signals of `mask` (bit n - 1 is signal n) in this thread; returns the old mask.
    """
    comptime number = 14 if CompilationTarget.is_x86() else 135
    var sets = stack_allocation[2, Int64]()
    sets[unsafe_offset=0] = Int64(mask)
    sets[unsafe_offset=1] = 0
    # rt_sigprocmask(SIG_SETMASK, new, old, 8)
    _ = syscall(number, 2, Int(sets), Int(sets.unsafe_offset(1)), 8)
    return Int(sets[unsafe_offset=1])


@always_inline
def request_amx() -> Bool:
    """Asks the kernel to let this process use AMX tiles (Linux 5.16); false when it refuses.
    """
    # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    return syscall(158, 0x1023, 18, 0, 0) == 0


@always_inline
def process_id() -> Int:
    """Returns the calling process's id."""
    return Int(external_call["getpid", Int32]())


@always_inline
def yield_thread():
    """Lets another thread run on this core."""
    _ = external_call["sched_yield", Int32]()


@always_inline
def allocate(bytes: Int) -> Int:
    """Returns zeroed memory aligned to 4096 bytes, or 0.

    Anonymous mappings are zeroed by the kernel when first touched, so an arena costs nothing
    until it is used.
    """
    # PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
    var address = external_call["mmap", Int](
        Int(0), bytes, Int32(3), Int32(34), Int32(-1), Int(0)
    )
    return 0 if address == -1 else address


@always_inline
def map_file(descriptor: Int32, bytes: Int) -> Int:
    """Maps a file for reading; pages are shared with every process that maps it.
    """
    # PROT_READ, MAP_SHARED
    var address = external_call["mmap", Int](
        Int(0), bytes, Int32(1), Int32(1), descriptor, Int(0)
    )
    return 0 if address == -1 else address


@always_inline
def release(address: Int, bytes: Int):
    """Unmaps memory from `allocate` or `map_file`."""
    if address != 0:
        _ = external_call["munmap", Int32](address, bytes)


@always_inline
def advise(address: Int, bytes: Int, advice: Int):
    """Tells the kernel how memory will be used (14: huge pages, 3: will need).
    """
    _ = external_call["madvise", Int32](address, bytes, Int32(advice))


@always_inline
def open_file(path: Bytes) -> Int32:
    """Opens a file for reading; negative on failure."""
    # O_RDONLY | O_CLOEXEC
    return external_call["open", Int32](path, Int32(0o2000000))


@always_inline
def file_size(descriptor: Int32) -> Int:
    """Returns a file's size in bytes (lseek to its end)."""
    return external_call["lseek", Int](descriptor, Int(0), Int32(2))


@always_inline
def close_file(descriptor: Int32):
    """Closes a file."""
    _ = external_call["close", Int32](descriptor)


@always_inline
def copy_memory(target: Int, source: Int, bytes: Int):
    """Copies bytes between regions that do not overlap."""
    _ = external_call["memcpy", Int](target, source, bytes)


@always_inline
def processor_count() -> Int:
    """Returns how many processors this process may run on (at least 1)."""
    var mask = allocate(4096)
    if mask == 0:
        return 1
    var bytes = external_call["sched_getaffinity", Int32](
        Int32(0), Int(1024), mask
    )
    var count = 0
    if bytes >= 0:
        var words = Ptr[DType.uint8](unsafe_from_address=mask)
        for i in range(1024):
            var byte = Int(words[unsafe_offset=i])
            while byte != 0:
                count += byte & 1
                byte >>= 1
    release(mask, 4096)
    return max(count, 1)
