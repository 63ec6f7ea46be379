"""Products of activations with weights that were packed ahead of time."""

from std.memory import stack_allocation
from std.sys import simd_width_of, size_of

from maccel.gemm import Part, gemm_rows, partition, store_tile, tile_rows
from maccel.team import Team
from maccel.types import Ptr

comptime DEPTH = 1024
"""Longest reduction in one pass: a block of a panel (DEPTH x NR elements) stays in L2 beside
the block of A that it meets."""

comptime BLOCK_ROWS = 128
"""Rows that meet a block of a panel before the next one is read."""

comptime BLOCK_PANELS = 8
"""Panels whose partial sums wait in scratch memory."""


@always_inline
def depth_blocks[K: Int]() -> Int:
    """Returns the number of blocks that a reduction of length `K` is cut into.
    """
    return max(1, (K + DEPTH - 1) // DEPTH)


@always_inline
def linear_scratch[K: Int, NR: Int, acc: DType]() -> Int:
    """Returns the scratch bytes per thread of `linear`."""
    comptime if depth_blocks[K]() == 1:
        return 0
    else:
        return BLOCK_ROWS * BLOCK_PANELS * NR * size_of[acc]()


@always_inline
def linear[
    a_dt: DType,
    b_dt: DType,
    acc: DType,
    //,
    N: Int,
    K: Int,
    NR: Int,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    rows: Int,
    a: Ptr[a_dt],
    a_row: Int,
    b: Ptr[b_dt],
    store: Store,
):
    pass
