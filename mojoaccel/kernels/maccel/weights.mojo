"""Maps an artifact's weights."""

from std.memory import stack_allocation

from maccel.libc import (
    Bytes,
    advise,
    close_file,
    file_size,
    map_file,
    open_file,
)
from maccel.pool import pool_run
from maccel.team import Team
from maccel.types import Args

comptime NO_WEIGHTS = Int32(2)
comptime WRONG_WEIGHTS = Int32(3)
comptime NOT_MAPPED = Int32(4)
"""The session's code for lack of memory."""

comptime MAX_PATH = 4096


def map_weights(folder: Bytes, bytes: Int, result: Args) -> Int32:
    """Maps `<folder>/weights.bin` for reading; all processes share the pages.

    Args:
        folder: Path of the artifact, zero-terminated.
        bytes: Size that the file must have.
        result: Receives the address.

    Returns:
        0, NO_WEIGHTS when the file cannot be read, WRONG_WEIGHTS when its size differs, or
        NOT_MAPPED.
    """
    var path = stack_allocation[MAX_PATH + 16, UInt8]()
    var n = 0
    while folder[unsafe_offset=n] != 0:
        if n == MAX_PATH:
            return NO_WEIGHTS
        path[unsafe_offset=n] = folder[unsafe_offset=n]
        n += 1
    var name = "/weights.bin".ptr()
    for i in range(12):
        path[unsafe_offset=n + i] = name[unsafe_offset=i]
    path[unsafe_offset=n + 12] = 0
    var file = open_file(Bytes(unsafe_from_address=Int(path)))
    if file < 0:
        return NO_WEIGHTS
    var same = file_size(file) == bytes
    var address = map_file(file, bytes) if same else 0
    close_file(file)
    if not same:
        return WRONG_WEIGHTS
    result[unsafe_offset=0] = Int64(address)
    return 0 if address != 0 else NOT_MAPPED


comptime PAGE = 4096
comptime HUGE_PAGES = 14
"""MADV_HUGEPAGE: map large pages, and read the file in pieces that fill them."""
comptime POPULATE_READ = 22
"""MADV_POPULATE_READ, of Linux 5.14; earlier ones refuse it and pages come when they are read."""


def populate(args: Args, pool: Args, tid: Int) abi("C"):
    """Maps this thread's share of the pages at `args[0]`, `args[1]` bytes."""
    var share = Team(pool, tid).share(Int(args[unsafe_offset=1]), PAGE)
    if share.begin < share.end:
        advise(
            Int(args[unsafe_offset=0]) + share.begin,
            share.end - share.begin,
            POPULATE_READ,
        )


def populate_weights(pool: Args, address: Int, begin: Int, end: Int):
    """Maps the pages of the weights that every run reads, on all threads.

    A page that is mapped when it is first read costs three times as much: 10 ms of MiniLM's first
    run, 24 ms. Large pages are mapped 512 at once: 2 GB in 1.3 ms instead of 90. The system has
    them in its cache where the file was written so, or reads them from the disk so when advised:
    in 0.9 s instead of 1.5 with a read-ahead of 128 KB.

    Args:
        pool: The threads.
        address: Address of the weights.
        begin: First byte that every run reads.
        end: One past the last.
    """
    var block = stack_allocation[2, Int64]()
    var first = begin // PAGE * PAGE
    block[unsafe_offset=0] = Int64(address + first)
    block[unsafe_offset=1] = Int64(end - first)
    if end > first:
        advise(address + first, end - first, HUGE_PAGES)
        pool_run(
            pool,
            populate,
            Args(unsafe_from_address=Int(block)),
            1 + (end - first) // (4 << 20),
        )
