"""Maps an artifact's weights."""

from std.memory import stack_allocation

from maccel.libc import (
    Bytes,
    close_file,
    file_size,
    map_file,
    open_file,
)
from maccel.types import Args

comptime NO_WEIGHTS = Int32(2)
comptime WRONG_WEIGHTS = Int32(3)
comptime NOT_MAPPED = Int32(4)
"""The session's code for lack of memory."""

comptime MAX_PATH = 4096


def map_weights(folder: Bytes, bytes: Int, result: Args) -> Int32:
    """Maps `<folder>/weights.bin` for reading; all processes share the pages.

    No advice is given to the kernel: from the page cache, 400 MB streamed as fast as from huge
    pages (15 GB/s on one core), and reading ahead made a cold first run no faster.

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
