"""Variance of rows and columns, and log-sum-exp of rows."""

from maccel.fold import fold_row, together, together_slots
from maccel.loops import lanes, share_active
from maccel.math_basic import isfinite
from maccel.math_exp import exp, log
from maccel.moments import merge_together, moments_of_row, moments_together
from maccel.reductions import Max, Sum
from maccel.team import Team

comptime VARIANCE_GRAIN = 4096
"""Elements per thread below which fewer threads work."""


@always_inline
def variance_rows[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, SIMD[acc, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    correction: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of sum((x - mean)^2) / max(cols - correction, 0) per row.

    With few long rows all threads share each row; scratch per thread is then
    3 * rows * together_slots[W](cols) elements.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](row, col)`.
        Store: `store[1](row, variance)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        correction: 1 for the unbiased estimate.
        load: The values.
        store: Takes the results.
    """
    if together(team, rows, cols):
        var slots = together_slots[W](cols)
        for row in range(rows):

            @always_inline
            def part[w: Int](i: Int) {imm} -> SIMD[acc, w]:
                return load[w](row, i)

            moments_together[W, acc](team, row * slots, cols, part)
        team.barrier()
        var some = team.share(rows)
        for row in range(some.begin, some.end):
            var m = merge_together[W, acc](team, row * slots, cols)
            store[1](row, SIMD[acc, 1](m.variance(correction)))
        return
    var mine = share_active(team, rows, rows * cols, VARIANCE_GRAIN)
    for row in range(mine.begin, mine.end):

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return load[w](row, i)

        var m = moments_of_row[W, acc](0, cols, value)
        store[1](row, SIMD[acc, 1](m.variance(correction)))


@always_inline
def variance_columns[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    outer: Int,
    reduced: Int,
    inner: Int,
    correction: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of the variance along the middle dim of
    [outer, reduced, inner].

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](outer, reduced, inner)`.
        Store: `store[w](outer, inner, variance)`.

    Args:
        team: The threads.
        outer: Size of the dims before the reduced one.
        reduced: Size of the reduced dim.
        inner: Size of the consecutive dims after it.
        correction: 1 for the unbiased estimate.
        load: The values.
        store: Takes the results.
    """
    var blocks = (inner + 4 * W - 1) // (4 * W)
    var mine = share_active(
        team, outer * blocks, outer * reduced * inner, VARIANCE_GRAIN
    )
    var count = Scalar[acc](reduced)
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * (4 * W)

        @always_inline
        def column[w: Int](i: Int) {imm} -> None:
            comptime V = SIMD[acc, w]
            # Blocks of 64 keep the rounding error of the sums small.
            var mean = V(0)
            var r = 0
            while r < reduced:
                var part = V(0)
                for k in range(r, min(reduced, r + 64)):
                    part += load[w](o, k, i)
                mean += part
                r += 64
            mean = mean / V(count)
            var total = V(0)
            r = 0
            while r < reduced:
                var part = V(0)
                for k in range(r, min(reduced, r + 64)):
                    var d = load[w](o, k, i) - mean
                    part += d * d
                total += part
                r += 64
            store[w](o, i, total / V(max(count - correction, 0)))

        lanes[W](begin, min(inner, begin + 4 * W), column)


@always_inline
def logsumexp_rows[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, SIMD[acc, w]) -> None,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Computes this thread's share of log(sum(e^x)) per row: max + log(sum e^(x - max)).

    An infinite maximum is taken as 0, so rows of -inf give -inf, as torch.logsumexp does.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](row, col)`.
        Store: `store[1](row, result)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        load: The values.
        store: Takes the results.
    """
    var mine = share_active(team, rows, rows * cols, VARIANCE_GRAIN)
    for row in range(mine.begin, mine.end):

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return load[w](row, i)

        var top = SIMD[acc, 1](fold_row[Max, W, acc](cols, value))
        var shift = isfinite(top).select(top, SIMD[acc, 1](0))

        @always_inline
        def power[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return exp(load[w](row, i) - SIMD[acc, w](shift[0]))

        var total = fold_row[Sum, W, acc](cols, power)
        store[1](row, shift + log(SIMD[acc, 1](total)))
