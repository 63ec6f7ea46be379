"""Normalisations along rows: layer norm, RMS norm, F.normalize.

The store closure receives the normalised value and applies weight, bias and whatever follows.
"""

from maccel.fold import (
    cascade_together,
    fold_blocks_together,
    fold_row,
    together,
    together_slots,
)
from maccel.group_norm import group_norm_first, group_norm_last
from maccel.loops import lanes, share_active
from maccel.math_basic import abs, maximum, rsqrt, sqrt
from maccel.moments import merge_together, moments_of_row, moments_together
from maccel.reductions import Sum
from maccel.team import Team

comptime NORM_GRAIN = 2048
"""Elements per thread below which fewer threads work."""


@always_inline
def layer_norm[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    buffered: Bool = False,
](
    team: Team,
    rows: Int,
    cols: Int,
    eps: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of layer normalisation: (x - mean) / sqrt(variance + eps).

    With few long rows all threads share each row.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](row, col)`.
        Store: `store[w](row, col, normalised)`; applies weight and bias.
        buffered: Keep the row in scratch (cols elements of `acc` per thread), because `load` is
            costly; otherwise it runs three times per element.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        eps: Added to the (biased) variance.
        load: The values.
        store: Takes the results.
    """
    if together(team, rows, cols):
        layer_norm_together[W, acc](team, rows, cols, eps, load, store)
        return
    var mine = share_active(team, rows, rows * cols, NORM_GRAIN)
    var buffer = team.scratch[acc]()
    for row in range(mine.begin, mine.end):
        comptime if buffered:

            @always_inline
            def keep[w: Int](i: Int) {imm} -> None:
                buffer.unsafe_store(i, load[w](row, i))

            lanes[W](0, cols, keep)

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            comptime if buffered:
                return buffer.unsafe_load[width=w](i)
            else:
                return load[w](row, i)

        var moments = moments_of_row[W, acc](0, cols, value)
        var mean = moments.mean
        var scale = rsqrt(moments.variance() + eps)

        @always_inline
        def last[w: Int](i: Int) {imm} -> None:
            var d = value[w](i) - SIMD[acc, w](mean)
            store[w](row, i, d * SIMD[acc, w](scale))

        lanes[W](0, cols, last)


@always_inline
def layer_norm_together[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    rows: Int,
    cols: Int,
    eps: Scalar[acc],
    load: Load,
    store: Store,
):
    """Layer normalisation of few long rows, each shared by all threads; the same bits as
    `layer_norm`.

    Scratch per thread: 3 * rows * together_slots[W](cols) elements.
    """
    var slots = together_slots[W](cols)
    for row in range(rows):

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return load[w](row, i)

        moments_together[W, acc](team, row * slots, cols, value)
    team.barrier()
    var mine = team.share(cols, 4 * W)
    for row in range(rows):
        var moments = merge_together[W, acc](team, row * slots, cols)
        var mean = moments.mean
        var scale = rsqrt(moments.variance() + eps)

        @always_inline
        def last[w: Int](i: Int) {imm} -> None:
            var d = load[w](row, i) - SIMD[acc, w](mean)
            store[w](row, i, d * SIMD[acc, w](scale))

        lanes[W](mine.begin, mine.end, last)


@always_inline
def rms_norm[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    buffered: Bool = False,
](
    team: Team,
    rows: Int,
    cols: Int,
    eps: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of x / sqrt(mean(x^2) + eps) along each row.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](row, col)`.
        Store: `store[w](row, col, normalised)`; applies the weight.
        buffered: Keep the row in scratch (cols elements of `acc` per thread), because `load` is
            costly; otherwise it runs twice per element.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        eps: Added to the mean of squares.
        load: The values.
        store: Takes the results.
    """
    var count = Scalar[acc](cols)

    @always_inline
    def scale(squares: Scalar[acc]) {imm} -> Scalar[acc]:
        return rsqrt(squares / count + eps)

    scale_rows[W, acc, 2, buffered=buffered](
        team, rows, cols, load, store, scale
    )


@always_inline
def normalize_rows[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    p: Int = 2,
    buffered: Bool = False,
](
    team: Team,
    rows: Int,
    cols: Int,
    eps: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of x / max(||x||_p, eps) along each row (F.normalize).

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](row, col)`.
        Store: `store[w](row, col, normalised)`.
        p: 1 or 2.
        buffered: As in `rms_norm`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        eps: Smallest divisor.
        load: The values.
        store: Takes the results.
    """

    @always_inline
    def scale(total: Scalar[acc]) {imm} -> Scalar[acc]:
        comptime if p == 2:
            return 1 / maximum(eps, sqrt(total))
        else:
            return 1 / maximum(eps, total)

    scale_rows[W, acc, p, buffered=buffered](
        team, rows, cols, load, store, scale
    )


@always_inline
def scale_rows[
    W: Int,
    acc: DType,
    p: Int,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    Scale: def(Scalar[acc]) -> Scalar[acc],
    *,
    buffered: Bool,
](team: Team, rows: Int, cols: Int, load: Load, store: Store, scale: Scale,):
    """Multiplies each row by scale(sum |x|^p).

    Scratch per thread: cols elements if buffered; with few long rows
    rows * together_slots[W](cols) elements.
    """
    if together(team, rows, cols):
        var slots = together_slots[W](cols)
        for row in range(rows):

            @always_inline
            def part[w: Int](i: Int) {imm} -> SIMD[acc, w]:
                var v = load[w](row, i)
                return v * v if p == 2 else abs(v)

            fold_blocks_together[Sum, W, acc](team, row * slots, cols, part)
        team.barrier()
        var mine = team.share(cols, 4 * W)
        for row in range(rows):
            var factor = scale(
                cascade_together[Sum, W, acc](team, row * slots, cols)
            )

            @always_inline
            def shared[w: Int](i: Int) {imm} -> None:
                store[w](row, i, load[w](row, i) * SIMD[acc, w](factor))

            lanes[W](mine.begin, mine.end, shared)
        return
    var mine = share_active(team, rows, rows * cols, NORM_GRAIN)
    var buffer = team.scratch[acc]()
    for row in range(mine.begin, mine.end):

        @always_inline
        def first[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            var v = load[w](row, i)
            comptime if buffered:
                buffer.unsafe_store(i, v)
            return v * v if p == 2 else abs(v)

        var factor = scale(fold_row[Sum, W, acc](cols, first))

        @always_inline
        def last[w: Int](i: Int) {imm} -> None:
            comptime if buffered:
                var v = buffer.unsafe_load[width=w](i)
                store[w](row, i, v * SIMD[acc, w](factor))
            else:
                store[w](row, i, load[w](row, i) * SIMD[acc, w](factor))

        lanes[W](0, cols, last)
