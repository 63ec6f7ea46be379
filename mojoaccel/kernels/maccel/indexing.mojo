"""Gathering and scattering by index tensors.

An index outside its tensor never reads or writes outside memory: it counts as 0 and leaves a
code in the status word.
"""

from maccel.loops import lanes, share_active
from maccel.math_basic import add, maximum, minimum, mul
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
def scatter[
    dt: DType,
    op: Int,
    Index: def[w: Int](Int, Int, Int) -> SIMD[DType.int64, w],
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
](
    team: Team,
    outer: Int,
    count: Int,
    inner: Int,
    target: Ptr[dt],
    size: Int,
    outer_stride: Int,
    size_stride: Int,
    inner_stride: Int,
    index: Index,
    load: Load,
    status: Ptr[DType.int64],
):
    """Writes this thread's share of values at indices along one dim of the target.

    For every (o, k, i): target[o, index(o, k, i), i] = load(o, k, i), or += it. Threads split
    (o, i); for each the k run in order, so the result does not depend on the threads.

    Parameters:
        dt: Type of the values.
        op: One of SCATTER_SET, SCATTER_ADD, SCATTER_MUL, SCATTER_MIN, SCATTER_MAX.
        Index: `index[1](outer, k, inner)`.
        Load: `load[1](outer, k, inner)`.

    Args:
        team: The threads.
        outer: Size of the index's dims before the scattered one.
        count: Size of the index along the scattered dim.
        inner: Size of the index's dims after it.
        target: First element written to; holds the initial values.
        size: Size of the target along the scattered dim.
        outer_stride: Target stride of the outer dims.
        size_stride: Target stride of the scattered dim.
        inner_stride: Target stride of the inner dims.
        index: Where to.
        load: The values.
        status: Receives a code if an index is out of range.
    """
    if size == 0:
        return
    var mine = share_active(
        team, outer * inner, outer * count * inner, INDEX_GRAIN, 16
    )
    for item in range(mine.begin, mine.end):
        var o = item // inner
        var i = item - o * inner
        var base = target.unsafe_offset(o * outer_stride + i * inner_stride)
        for k in range(count):
            var place = wrap_index[1](index[1](o, k, i), size, status)
            var p = base.unsafe_offset(Int(place[0]) * size_stride)
            var old = p[]
            p[] = scattered[dt, op, 1](old, load[1](o, k, i))[0]


comptime SCATTER_SET = 0
comptime SCATTER_ADD = 1
comptime SCATTER_MUL = 2
comptime SCATTER_MIN = 3
comptime SCATTER_MAX = 4
"""What happens to the value that a scattered one meets."""


@always_inline
def scattered[
    dt: DType, op: Int, w: SIMDLength
](old: SIMD[dt, w], new: SIMD[dt, w]) -> SIMD[dt, w]:
    """Combines the value in memory with the scattered one."""
    comptime if op == SCATTER_SET:
        return new
    elif op == SCATTER_ADD:
        return add(old, new)
    elif op == SCATTER_MUL:
        return mul(old, new)
    elif op == SCATTER_MIN:
        return minimum(old, new)
    else:
        return maximum(old, new)


@always_inline
def scatter_rows[
    W: Int,
    dt: DType,
    op: Int,
    Index: def[w: Int](Int) -> SIMD[DType.int64, w],
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
](
    team: Team,
    outer: Int,
    count: Int,
    inner: Int,
    target: Ptr[dt],
    size: Int,
    outer_stride: Int,
    size_stride: Int,
    index: Index,
    load: Load,
    status: Ptr[DType.int64],
):
    """Writes this thread's share of whole rows: index_copy, index_add, a cache's new entries.

    For every (o, k): target[o, index(k), :] = load(o, k, :), or combined with it. Threads split
    outer and inner; for each the k run in order.

    Parameters:
        W: SIMD width.
        dt: Type of the values.
        op: As in `scatter`.
        Index: `index[1](k)`.
        Load: `load[w](outer, k, inner)`.

    Args:
        team: The threads.
        outer: Size of the dims before the scattered one.
        count: Number of indices.
        inner: Size of the dims after it, consecutive in the target.
        target: First element written to; holds the initial values.
        size: Size of the target along the scattered dim.
        outer_stride: Target stride of the outer dims.
        size_stride: Target stride of the scattered dim.
        index: Where to.
        load: The values.
        status: Receives a code if an index is out of range.
    """
    if size == 0:
        return
    var blocks = (inner + 4 * W - 1) // (4 * W)
    var mine = share_active(
        team, outer * blocks, outer * count * inner, INDEX_GRAIN
    )
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * (4 * W)
        var end = min(inner, begin + 4 * W)
        for k in range(count):
            var place = wrap_index[1](index[1](k), size, status)
            var base = target.unsafe_offset(
                o * outer_stride + Int(place[0]) * size_stride
            )

            @always_inline
            def write[w: Int](i: Int) {imm} -> None:
                var old = SIMD[dt, w](0)
                comptime if op != SCATTER_SET:
                    old = base.unsafe_load[width=w](i)
                base.unsafe_store(
                    i, scattered[dt, op, w](old, load[w](o, k, i))
                )

            lanes[W](begin, end, write)


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
