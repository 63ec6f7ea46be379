"""Gathering rows by index tensors, and positions beyond an edge.

An index outside its tensor never reads or writes outside memory: it counts as 0 and leaves a
code in the status word.
"""

from maccel.loops import lanes, share_active
from maccel.memory import wrap_index
from maccel.team import Team
from maccel.types import Ptr

comptime INDEX_GRAIN = 4096
"""Elements per thread below which fewer threads work."""


@always_inline
def gather_rows[
    W: Int,
    dt: DType,
    Index: def[w: Int](Int) -> SIMD[DType.int64, w],
    Store: def[w: Int](Int, Int, SIMD[dt, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    table: Ptr[dt],
    table_rows: Int,
    table_stride: Int,
    index: Index,
    store: Store,
    status: Ptr[DType.int64],
):
    """Copies this thread's share of rows of a table: embedding, index_select along dim 0.

    store(row, col) receives table[index(row) * table_stride + col].

    Parameters:
        W: SIMD width.
        dt: Element type of the table.
        Index: `index[1](row)`.
        Store: `store[w](row, col, value)`.

    Args:
        team: The threads.
        rows: Number of rows to gather.
        cols: Length of a row, consecutive in the table.
        table: The table's first element.
        table_rows: Number of rows of the table; negative indices count from its end.
        table_stride: Elements between the table's rows.
        index: Which rows.
        store: Takes the values.
        status: Receives a code if an index is out of range.
    """
    if table_rows == 0:
        return
    var mine = share_active(team, rows, rows * cols, INDEX_GRAIN)
    for row in range(mine.begin, mine.end):
        var place = wrap_index[1](index[1](row), table_rows, status)
        var source = table.unsafe_offset(Int(place[0]) * table_stride)

        @always_inline
        def copy[w: Int](col: Int) {imm} -> None:
            store[w](row, col, source.unsafe_load[width=w](col))

        lanes[W](0, cols, copy)


@always_inline
def reflect_index[
    w: SIMDLength
](i: SIMD[DType.int64, w], size: Int) -> SIMD[DType.int64, w]:
    """Maps positions outside [0, size) by reflection without repeating the edge.
    """
    var n = SIMD[DType.int64, w](Int64(size - 1))
    var a = i.lt(0).select(-i, i)
    return a.gt(n).select(n + n - a, a)


@always_inline
def replicate_index[
    w: SIMDLength
](i: SIMD[DType.int64, w], size: Int) -> SIMD[DType.int64, w]:
    """Maps positions outside [0, size) to the nearest edge."""
    var n = SIMD[DType.int64, w](Int64(size - 1))
    var a = i.lt(0).select(SIMD[DType.int64, w](0), i)
    return a.gt(n).select(n, a)


@always_inline
def circular_index[
    w: SIMDLength
](i: SIMD[DType.int64, w], size: Int) -> SIMD[DType.int64, w]:
    """Maps positions in [-size, 2 size) periodically to [0, size)."""
    var n = SIMD[DType.int64, w](Int64(size))
    var a = i.lt(0).select(i + n, i)
    return a.ge(n).select(a - n, a)
