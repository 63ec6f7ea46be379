"""Running sums, products and extremes along rows and columns.

Running values have a type of their own: PyTorch carries those of float32 in float64 on the CPU.
"""

from maccel.loops import lanes, share_active
from maccel.math_basic import isfinite, isnan, maximum, minimum
from maccel.math_exp import exp, log1p
from maccel.math_poly import INF
from maccel.reductions import Reduction
from maccel.team import Team

comptime SCAN_GRAIN = 4096
"""Elements per thread below which fewer threads work."""


struct LogAddExp(Reduction):
    """The logarithm of e^x + e^y, computed as torch.logcumsumexp does."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return (-INF).cast[dt]()

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        var low = minimum(x, y)
        var high = maximum(x, y)
        # Equal infinities would give inf - inf.
        var same = low.eq(high) & ~isfinite(low)
        return same.select(x, log1p(exp(low - high)) + high)


@always_inline
def scan_rows[
    op: Reduction,
    dt: DType,
    carried: DType,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[dt, w]) -> None,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Computes this thread's share of the inclusive scan of each row (cumsum, cumprod,
    logcumsumexp).

    Parameters:
        op: `Sum`, `Prod` or `LogAddExp`.
        dt: Type of the values.
        carried: Type of the running value.
        Load: `load[1](row, col)`.
        Store: `store[1](row, col, value)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        load: The values.
        store: Takes the results.
    """
    var mine = share_active(team, rows, rows * cols, SCAN_GRAIN)
    for row in range(mine.begin, mine.end):
        var total = op.identity[carried]()
        for col in range(cols):
            total = op.combine(
                SIMD[carried, 1](total), load[1](row, col).cast[carried]()
            )
            store[1](row, col, SIMD[carried, 1](total).cast[dt]())


@always_inline
def scan_columns[
    op: Reduction,
    W: Int,
    dt: DType,
    carried: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, Int, SIMD[dt, w]) -> None,
](team: Team, outer: Int, scanned: Int, inner: Int, load: Load, store: Store,):
    """Computes this thread's share of the inclusive scan along the middle dim.

    Parameters:
        op: `Sum`, `Prod` or `LogAddExp`.
        W: SIMD width.
        dt: Type of the values.
        carried: Type of the running values.
        Load: `load[w](outer, scanned, inner)`.
        Store: `store[w](outer, scanned, inner, value)`.

    Args:
        team: The threads.
        outer: Size of the dims before the scanned one.
        scanned: Size of the scanned dim.
        inner: Size of the consecutive dims after it.
        load: The values.
        store: Takes the results.
    """
    var blocks = (inner + 4 * W - 1) // (4 * W)
    var mine = share_active(
        team, outer * blocks, outer * scanned * inner, SCAN_GRAIN
    )
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * (4 * W)

        @always_inline
        def column[w: Int](i: Int) {imm} -> None:
            var total = SIMD[carried, w](op.identity[carried]())
            for k in range(scanned):
                total = op.combine(total, load[w](o, k, i).cast[carried]())
                store[w](o, k, i, total.cast[dt]())

        lanes[W](begin, min(inner, begin + 4 * W), column)


@always_inline
def scan_extremes[
    largest: Bool,
    W: Int,
    dt: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, Int, SIMD[dt, w]) -> None,
    StoreIndex: def[w: Int](Int, Int, Int, SIMD[DType.int64, w]) -> None,
](
    team: Team,
    outer: Int,
    scanned: Int,
    inner: Int,
    load: Load,
    store: Store,
    store_index: StoreIndex,
):
    """Computes this thread's share of cummax or cummin along the middle dim, with positions.

    The last of equal values wins and NaN wins over all, as in torch.cummax.

    Parameters:
        largest: cummax if true, else cummin.
        W: SIMD width.
        dt: Type of the values.
        Load: `load[w](outer, scanned, inner)`.
        Store: `store[w](outer, scanned, inner, value)`.
        StoreIndex: `store_index[w](outer, scanned, inner, position)`.

    Args:
        team: The threads.
        outer: Size of the dims before the scanned one.
        scanned: Size of the scanned dim.
        inner: Size of the consecutive dims after it (1 for rows).
        load: The values.
        store: Takes the extremes.
        store_index: Takes their positions.
    """
    if scanned == 0:
        return
    var blocks = (inner + 4 * W - 1) // (4 * W)
    var mine = share_active(
        team, outer * blocks, outer * scanned * inner, SCAN_GRAIN
    )
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * (4 * W)

        @always_inline
        def column[w: Int](i: Int) {imm} -> None:
            comptime I = SIMD[DType.int64, w]
            var best = load[w](o, 0, i)
            var place = I(0)
            for k in range(scanned):
                var v = load[w](o, k, i)
                var reaches = v.ge(best) if largest else v.le(best)
                var next = isnan(v) | (reaches & ~isnan(best))
                best = next.select(v, best)
                place = next.select(I(Int64(k)), place)
                store[w](o, k, i, best)
                store_index[w](o, k, i, place)

        lanes[W](begin, min(inner, begin + 4 * W), column)
