"""Times of the fused groups of a run, kept by libraries that are built with `-D MACCEL_PROFILE`.

The clock is read before and after each fork-join: about 50 ns a group, so that times of groups
below a microsecond are too long by as much.
"""

from std.sys import is_defined

from maccel.libc import allocate, release
from maccel.types import Args

comptime PROFILING = is_defined["MACCEL_PROFILE"]()
"""Whether this library keeps times."""

comptime MAX_LAUNCHES = 65536
"""Launches of one run that are kept; later ones are not."""


struct Profile(Copyable, Movable, TrivialRegisterPassable):
    """Two words of a session's block: address of the times, number of launches.
    """

    var words: Args

    @always_inline
    def __init__(out self, words: Args):
        self.words = words

    def open(self):
        """Makes room for the times; without memory none are kept."""
        comptime if PROFILING:
            self.words[unsafe_offset=0] = Int64(allocate(MAX_LAUNCHES * 8))

    def clear(self):
        """Begins a run."""
        self.words[unsafe_offset=1] = 0

    def record(self, nanoseconds: Int):
        """Keeps the time of one launch."""
        var count = Int(self.words[unsafe_offset=1])
        if self.words[unsafe_offset=0] == 0 or count >= MAX_LAUNCHES:
            return
        var times = Args(unsafe_from_address=Int(self.words[unsafe_offset=0]))
        times[unsafe_offset=count] = Int64(nanoseconds)
        self.words[unsafe_offset=1] = Int64(count + 1)

    def close(self):
        """Frees the times."""
        comptime if PROFILING:
            release(Int(self.words[unsafe_offset=0]), MAX_LAUNCHES * 8)
