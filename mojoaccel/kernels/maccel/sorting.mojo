"""Stable sorting of rows with positions."""

from maccel.loops import share_active
from maccel.team import Team
from maccel.types import Ptr

comptime SORT_GRAIN = 512
"""Elements per thread below which fewer threads work."""

comptime RUN = 16
"""Length of the runs that insertion sort makes before merging begins."""


@always_inline
def before[dt: DType, descending: Bool](x: Scalar[dt], y: Scalar[dt]) -> Bool:
    """Whether x comes strictly before y; NaN counts as the largest value."""
    comptime if dt.is_floating_point():
        var x_nan = not x.eq(x)
        var y_nan = not y.eq(y)
        comptime if descending:
            return x.gt(y) or (x_nan and not y_nan)
        else:
            return x.lt(y) or (y_nan and not x_nan)
    elif descending:
        return x.gt(y)
    else:
        return x.lt(y)


def merge_sort[
    dt: DType, descending: Bool
](
    values: Ptr[dt],
    indices: Ptr[DType.int64],
    spare_values: Ptr[dt],
    spare_indices: Ptr[DType.int64],
    count: Int,
):
    """Sorts `count` values with their indices in place, stably (bottom-up merge sort).
    """
    var start = 0
    while start < count:
        var end = min(count, start + RUN)
        for i in range(start + 1, end):
            var v = values[unsafe_offset=i]
            var index = indices[unsafe_offset=i]
            var j = i
            while j > start and before[dt, descending](
                v, values[unsafe_offset=j - 1]
            ):
                values[unsafe_offset=j] = values[unsafe_offset=j - 1]
                indices[unsafe_offset=j] = indices[unsafe_offset=j - 1]
                j -= 1
            values[unsafe_offset=j] = v
            indices[unsafe_offset=j] = index
        start = end
    var a = values
    var ai = indices
    var b = spare_values
    var bi = spare_indices
    var width = RUN
    var swapped = False
    while width < count:
        start = 0
        while start < count:
            var middle = min(count, start + width)
            var end = min(count, start + 2 * width)
            var i = start
            var j = middle
            for k in range(start, end):
                # The right one goes first only if strictly before: stable.
                var right = i >= middle or (
                    j < end
                    and before[dt, descending](
                        a[unsafe_offset=j], a[unsafe_offset=i]
                    )
                )
                var source = j if right else i
                b[unsafe_offset=k] = a[unsafe_offset=source]
                bi[unsafe_offset=k] = ai[unsafe_offset=source]
                if right:
                    j += 1
                else:
                    i += 1
            start = end
        var t = a
        a = b
        b = t
        var ti = ai
        ai = bi
        bi = ti
        swapped = not swapped
        width *= 2
    if swapped:
        for i in range(count):
            values[unsafe_offset=i] = a[unsafe_offset=i]
            indices[unsafe_offset=i] = ai[unsafe_offset=i]


@always_inline
def sort_rows[
    dt: DType,
    descending: Bool,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[dt, w]) -> None,
    StoreIndex: def[w: Int](Int, Int, SIMD[DType.int64, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    load: Load,
    store: Store,
    store_index: StoreIndex,
):
    """Sorts this thread's share of rows stably, with the positions the values came from.

    NaN is the largest value: last ascending, first descending, as in torch.sort.
    Scratch per thread: cols * (16 + 2 * size of dt) + 64 bytes.

    Parameters:
        dt: Type of the values.
        descending: Largest first.
        Load: `load[1](row, col)`.
        Store: `store[1](row, rank, value)`.
        StoreIndex: `store_index[1](row, rank, position)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        load: The values.
        store: Takes the sorted values.
        store_index: Takes their positions.
    """
    var mine = share_active(team, rows, rows * cols, SORT_GRAIN)
    var indices = team.scratch[DType.int64]()
    var spare_indices = indices.unsafe_offset(cols)
    var values = spare_indices.unsafe_offset(cols).unsafe_bitcast[Scalar[dt]]()
    var spare_values = values.unsafe_offset(cols)
    for row in range(mine.begin, mine.end):
        for i in range(cols):
            values[unsafe_offset=i] = load[1](row, i)[0]
            indices[unsafe_offset=i] = Int64(i)
        merge_sort[dt, descending](
            values, indices, spare_values, spare_indices, cols
        )
        for i in range(cols):
            store[1](row, i, SIMD[dt, 1](values[unsafe_offset=i]))
            store_index[1](
                row, i, SIMD[DType.int64, 1](indices[unsafe_offset=i])
            )
