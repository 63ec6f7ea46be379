"""Looking values up: binary search in sorted rows, and bags of table rows."""

from maccel.loops import lanes, share_active
from maccel.math_basic import maximum
from maccel.memory import check_index
from maccel.team import Team
from maccel.types import Ptr

comptime LOOKUP_GRAIN = 1024
"""Elements per thread below which fewer threads work."""

comptime BAG_SUM = 0
comptime BAG_MEAN = 1
comptime BAG_MAX = 2
"""How a bag is folded, in embedding_bag's numbers."""


@always_inline
def search_rows[
    dt: DType,
    right: Bool,
    Bound: def[w: Int](Int, Int) -> SIMD[dt, w],
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[DType.int64, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    count: Int,
    bound: Bound,
    load: Load,
    store: Store,
):
    """Finds where this thread's share of values would be inserted (searchsorted, bucketize).

    The result is the first i with bound(row, i) >= value, or > value from the right; a NaN goes
    to the end, as in PyTorch.

    Parameters:
        dt: Type of the values.
        right: Whether equal bounds come before the value.
        Bound: `bound[1](row, i)`, ascending in i.
        Load: `load[1](row, col)`.
        Store: `store[1](row, col, position)`.

    Args:
        team: The threads.
        rows: Number of sorted rows.
        cols: Values to look up in each.
        count: Length of a sorted row.
        bound: The sorted rows.
        load: The values.
        store: Takes the positions.
    """
    var mine = share_active(team, rows * cols, rows * cols, LOOKUP_GRAIN)
    for item in range(mine.begin, mine.end):
        var row = item // cols
        var col = item - row * cols
        var x = load[1](row, col)[0]
        var low = 0
        var high = count
        while low < high:
            var middle = low + (high - low) // 2
            var b = bound[1](row, middle)[0]
            var reached = b.gt(x) if right else b.ge(x)
            if reached:
                high = middle
            else:
                low = middle + 1
        store[1](row, col, SIMD[DType.int64, 1](Int64(low)))


@always_inline
def embedding_bags[
    W: Int,
    dt: DType,
    mode: Int,
    Index: def[w: Int](Int) -> SIMD[DType.int64, w],
    Start: def[w: Int](Int) -> SIMD[DType.int64, w],
    Weight: def[w: Int](Int) -> SIMD[dt, w],
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[dt, w]) -> None,
](
    team: Team,
    bags: Int,
    cols: Int,
    count: Int,
    starts: Int,
    table_rows: Int,
    padding: Int,
    index: Index,
    start: Start,
    weight: Weight,
    load: Load,
    store: Store,
    status: Ptr[DType.int64],
):
    """Folds this thread's share of bags of table rows (embedding_bag).

    Bag b holds indices start(b) .. start(b + 1) - 1, the last one all that remain. Rows are
    added in order; the mean divides by the number of rows that are not padding; an empty bag
    gives 0.

    Parameters:
        W: SIMD width.
        dt: Computing type of the values.
        mode: BAG_SUM, BAG_MEAN or BAG_MAX.
        Index: `index[1](k)`.
        Start: `start[1](bag)`.
        Weight: `weight[1](k)`, what the row of index k is multiplied by (sums only).
        Load: `load[w](row, col)` of the table.
        Store: `store[w](bag, col, value)`.

    Args:
        team: The threads.
        bags: Number of bags.
        cols: Length of a row.
        count: Number of indices.
        starts: Number of starts; one more than the bags if the last end is given.
        table_rows: Rows of the table.
        padding: Index that does not count; -1 for none.
        index: The indices of all bags.
        start: Where each bag begins.
        weight: Factors.
        load: The table.
        store: Takes the results.
        status: Receives a code if an index is out of range.
    """
    comptime block = 4 * W
    var blocks = (cols + block - 1) // block
    var mine = share_active(team, bags * blocks, count * cols, LOOKUP_GRAIN)
    for item in range(mine.begin, mine.end):
        var bag = item // blocks
        var begin = (item - bag * blocks) * block
        var first = Int(start[1](bag)[0])
        var last = count
        if bag + 1 < starts:
            last = Int(start[1](bag + 1)[0])
        first = max(0, min(first, count))
        last = max(first, min(last, count))

        @always_inline
        def fold[w: Int](col: Int) {imm} -> None:
            comptime V = SIMD[dt, w]
            var total = V(0)
            var seen = 0
            for k in range(first, last):
                var row = Int(
                    check_index[1](index[1](k), table_rows, status)[0]
                )
                if row == padding or table_rows == 0:
                    continue
                var v = load[w](row, col)
                comptime if mode == BAG_MAX:
                    total = v if seen == 0 else maximum(total, v)
                elif mode == BAG_SUM:
                    total += v * V(weight[1](k)[0])
                else:
                    total += v
                seen += 1
            comptime if mode == BAG_MEAN:
                if seen > 0:
                    total = total / V(Scalar[dt](seen))
            store[w](bag, col, total)

        lanes[W](begin, min(cols, begin + block), fold)
