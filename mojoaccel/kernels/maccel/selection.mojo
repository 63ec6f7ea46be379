"""The k-th, middle, most frequent and k first values of rows, with their positions."""

from maccel.introselect import (
    Pairs,
    introsort,
    make_heap,
    nth_element,
    quickselect,
    sift,
    sort_heap,
)
from maccel.loops import share_active
from maccel.math_basic import isnan
from maccel.sorting import SORT_GRAIN, before
from maccel.team import Team


@always_inline
def pairs_in_scratch[
    dt: DType, descending: Bool
](team: Team, count: Int) -> Pairs[dt, descending]:
    """Returns room for `count` pairs: count * (8 + size of dt) bytes of scratch.
    """
    var places = team.scratch[DType.int64]()
    return Pairs[dt, descending](
        places.unsafe_offset(count).unsafe_bitcast[Scalar[dt]](), places
    )


@always_inline
def take_row[
    dt: DType,
    descending: Bool,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
](pairs: Pairs[dt, descending], row: Int, count: Int, load: Load):
    """Reads the first `count` values of a row."""
    for i in range(count):
        pairs.put(i, load[1](row, i)[0], Int64(i))


@always_inline
def introsort_rows[
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
    """Sorts this thread's share of rows, equal values as torch.sort leaves them by default.

    NaN is the largest value. Scratch per thread: cols * (8 + size of dt) bytes.

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
    var pairs = pairs_in_scratch[dt, descending](team, cols)
    for row in range(mine.begin, mine.end):
        take_row(pairs, row, cols, load)
        introsort(pairs, cols)
        for i in range(cols):
            store[1](row, i, SIMD[dt, 1](pairs.value(i)))
            store_index[1](row, i, SIMD[DType.int64, 1](pairs.place(i)))


@always_inline
def topk_rows[
    W: Int,
    dt: DType,
    largest: Bool,
    sorted: Bool,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[dt, w]) -> None,
    StoreIndex: def[w: Int](Int, Int, SIMD[DType.int64, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    k: Int,
    load: Load,
    store: Store,
    store_index: StoreIndex,
):
    """Finds this thread's share of the k largest (or smallest) values of each row (torch.topk).

    Up to 1/64 of a row is kept in a heap that whole vectors are compared with first, as most hold
    nothing better than its top; more is selected, then sorted. NaN is the largest value.
    Scratch per thread: cols * (8 + size of dt) bytes.

    Parameters:
        W: SIMD width.
        dt: Type of the values.
        largest: The largest if true, else the smallest.
        sorted: Whether they come in order.
        Load: `load[w](row, col)`.
        Store: `store[1](row, rank, value)`.
        StoreIndex: `store_index[1](row, rank, position)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        k: How many; at most cols.
        load: The values.
        store: Takes the values.
        store_index: Takes their positions.
    """
    if k == 0:
        return
    var mine = share_active(team, rows, rows * cols, SORT_GRAIN)
    var heap = k * 64 <= cols
    var pairs = pairs_in_scratch[dt, largest](team, k if heap else cols)
    for row in range(mine.begin, mine.end):
        take_row(pairs, row, k if heap else cols, load)
        if heap:
            heap_rest[W](pairs, row, cols, k, load)
            sort_heap(pairs, k)
        else:
            nth_element(pairs, k - 1, cols)
            comptime if sorted:
                introsort(pairs, k - 1)
        for j in range(k):
            store[1](row, j, SIMD[dt, 1](pairs.value(j)))
            store_index[1](row, j, SIMD[DType.int64, 1](pairs.place(j)))


@always_inline
def heap_rest[
    W: Int,
    dt: DType,
    descending: Bool,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
](pairs: Pairs[dt, descending], row: Int, cols: Int, k: Int, load: Load):
    """Keeps the first k of a whole row in a heap that holds the row's first k values.
    """
    make_heap(pairs, k)
    var i = k
    while i < cols:
        var stop = min(cols, i + W)
        if i + W <= cols:
            var v = load[W](row, i)
            var top = SIMD[dt, W](pairs.value(0))
            var hit = v.gt(top) if descending else v.lt(top)
            if not (hit | isnan(v) | isnan(top)).reduce_or():
                i = stop
                continue
        while i < stop:
            var x = load[1](row, i)[0]
            if before[dt, descending](x, pairs.value(0)):
                sift(pairs, 0, k, x, Int64(i))
            i += 1


@always_inline
def median_rows[
    dt: DType,
    ignore_nan: Bool,
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
    """Finds the lower median of this thread's share of rows (torch.median, torch.nanmedian).

    A row with a NaN gives its first NaN unless NaNs are ignored.
    Scratch per thread: cols * (8 + size of dt) bytes.

    Parameters:
        dt: Type of the values.
        ignore_nan: Whether NaNs do not count.
        Load: `load[1](row, col)`.
        Store: `store[1](row, 0, value)`.
        StoreIndex: `store_index[1](row, 0, position)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row, at least 1.
        load: The values.
        store: Takes the medians.
        store_index: Takes their positions.
    """
    var mine = share_active(team, rows, rows * cols, SORT_GRAIN)
    var pairs = pairs_in_scratch[dt, False](team, cols)
    for row in range(mine.begin, mine.end):
        take_row(pairs, row, cols, load)
        var missing = 0
        var first = cols
        for i in range(cols):
            if isnan(SIMD[dt, 1](pairs.value(i)))[0]:
                missing += 1
                first = min(first, i)
        var found = first
        if ignore_nan or missing == 0:
            found = max(0, cols - (missing if ignore_nan else 0) - 1) // 2
            nth_element(pairs, found, cols)
        var value = pairs.value(found)
        var place = Int(pairs.place(found))
        if value.eq(value):
            # Of equal values, the one that a stable sort would put there.
            var smaller = 0
            for i in range(cols):
                smaller += Int(pairs.value(i).lt(value))
            place = nth_equal(row, value, found - smaller, load)
        elif ignore_nan:
            place = first
        store[1](row, 0, SIMD[dt, 1](value))
        store_index[1](row, 0, SIMD[DType.int64, 1](Int64(place)))


@always_inline
def nth_equal[
    dt: DType, Load: def[w: Int](Int, Int) -> SIMD[dt, w]
](row: Int, value: Scalar[dt], count: Int, load: Load) -> Int:
    """Returns the position of the value that `count` equal ones precede."""
    var left = count
    var i = 0
    while True:
        if load[1](row, i)[0].eq(value):
            if left == 0:
                return i
            left -= 1
        i += 1


@always_inline
def kth_rows[
    dt: DType,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[dt, w]) -> None,
    StoreIndex: def[w: Int](Int, Int, SIMD[DType.int64, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    k: Int,
    load: Load,
    store: Store,
    store_index: StoreIndex,
):
    """Finds the k-th smallest value of this thread's share of rows (torch.kthvalue).

    Scratch per thread: cols * (8 + size of dt) bytes.

    Parameters:
        dt: Type of the values.
        Load: `load[1](row, col)`.
        Store: `store[1](row, 0, value)`.
        StoreIndex: `store_index[1](row, 0, position)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        k: Which, from 1.
        load: The values.
        store: Takes the values.
        store_index: Takes their positions.
    """
    var mine = share_active(team, rows, rows * cols, SORT_GRAIN)
    var pairs = pairs_in_scratch[dt, True](team, cols)
    for row in range(mine.begin, mine.end):
        take_row(pairs, row, cols, load)
        quickselect(pairs, k - 1, cols)
        store[1](row, 0, SIMD[dt, 1](pairs.value(k - 1)))
        store_index[1](row, 0, SIMD[DType.int64, 1](pairs.place(k - 1)))


@always_inline
def mode_rows[
    dt: DType,
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
    """Finds the most frequent value of this thread's share of rows, the smallest of several
    (torch.mode). NaNs differ from each other and come last.

    Scratch per thread: cols * (8 + size of dt) bytes.

    Parameters:
        dt: Type of the values.
        Load: `load[1](row, col)`.
        Store: `store[1](row, 0, value)`.
        StoreIndex: `store_index[1](row, 0, position)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row, at least 1.
        load: The values.
        store: Takes the values.
        store_index: Takes the position of one of its occurrences.
    """
    var mine = share_active(team, rows, rows * cols, SORT_GRAIN)
    var pairs = pairs_in_scratch[dt, False](team, cols)
    for row in range(mine.begin, mine.end):
        take_row(pairs, row, cols, load)
        introsort(pairs, cols)
        var best = 0
        var most = 0
        var run = 0
        for i in range(cols):
            run += 1
            if i == cols - 1 or not pairs.value(i).eq(pairs.value(i + 1)):
                if run > most:
                    most = run
                    best = i
                run = 0
        store[1](row, 0, SIMD[dt, 1](pairs.value(best)))
        store_index[1](row, 0, SIMD[DType.int64, 1](pairs.place(best)))
