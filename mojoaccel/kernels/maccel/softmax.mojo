"""Softmax and log-softmax along rows and along columns."""

from maccel.fold import (
    cascade_together,
    fold_blocks_together,
    fold_row,
    together,
    together_slots,
)
from maccel.loops import lanes, share_active
from maccel.math_exp import exp_negative, log
from maccel.reductions import Max, Sum, lowest
from maccel.team import Team

comptime SOFTMAX_GRAIN = 1024
"""Elements per thread below which fewer threads work."""


@always_inline
def softmax[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    buffered: Bool = True,
    logarithm: Bool = False,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Computes this thread's share of softmax (or log-softmax) along each row.

    y = e^(x - max x) / sum e^(x - max x); log-softmax is x - max x - log(sum). A row of -inf, or
    one with NaN or +inf, gives NaN as torch.softmax does. With few long rows all threads share
    each row (one barrier per phase).

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](row, col)`.
        Store: `store[w](row, col, value)`.
        buffered: Keep the row in scratch (cols elements of `acc` per thread): each element is
            loaded and exponentiated once. Otherwise `load` runs three times per element, and exp
            twice.
        logarithm: Compute log-softmax.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row.
        load: The values.
        store: Takes the results.
    """
    if together(team, rows, cols):
        softmax_together[W, acc, logarithm=logarithm](
            team, rows, cols, load, store
        )
        return
    var mine = share_active(team, rows, rows * cols, SOFTMAX_GRAIN)
    var buffer = team.scratch[acc]()
    for row in range(mine.begin, mine.end):

        @always_inline
        def first[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            var v = load[w](row, i)
            comptime if buffered:
                buffer.unsafe_store(i, v)
            return v

        # A NaN may be lost here; it comes back through the sum.
        var top = fold_row[Max, W, acc](cols, first)

        @always_inline
        def again[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            comptime if buffered:
                return buffer.unsafe_load[width=w](i)
            else:
                return load[w](row, i)

        @always_inline
        def power[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            var e = exp_negative(again[w](i) - SIMD[acc, w](top))
            comptime if buffered and not logarithm:
                buffer.unsafe_store(i, e)
            return e

        var total = fold_row[Sum, W, acc](cols, power)
        var inverse = 1 / total
        var shift = log(total)

        @always_inline
        def last[w: Int](i: Int) {imm} -> None:
            comptime if logarithm:
                store[w](
                    row,
                    i,
                    (again[w](i) - SIMD[acc, w](top)) - SIMD[acc, w](shift),
                )
            elif buffered:
                store[w](row, i, again[w](i) * SIMD[acc, w](inverse))
            else:
                store[w](row, i, power[w](i) * SIMD[acc, w](inverse))

        lanes[W](0, cols, last)


@always_inline
def log_softmax[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    buffered: Bool = True,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Computes this thread's share of log-softmax along each row; see `softmax`.
    """
    softmax[W, acc, buffered=buffered, logarithm=True](
        team, rows, cols, load, store
    )


@always_inline
def softmax_together[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    logarithm: Bool,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Softmax of few long rows, each shared by all threads; gives the same bits as `softmax`.

    Scratch per thread: 2 * rows * together_slots[W](cols) elements.
    """
    var slots = together_slots[W](cols)
    for row in range(rows):

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return load[w](row, i)

        fold_blocks_together[Max, W, acc](team, row * slots, cols, value)
    team.barrier()
    for row in range(rows):
        var top = cascade_together[Max, W, acc](team, row * slots, cols)

        @always_inline
        def power[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return exp_negative(load[w](row, i) - SIMD[acc, w](top))

        fold_blocks_together[Sum, W, acc](
            team, (rows + row) * slots, cols, power
        )
    team.barrier()
    for row in range(rows):
        var top = cascade_together[Max, W, acc](team, row * slots, cols)
        var total = cascade_together[Sum, W, acc](
            team, (rows + row) * slots, cols
        )
        var inverse = 1 / total
        var shift = log(total)

        @always_inline
        def last[w: Int](i: Int) {imm} -> None:
            var v = load[w](row, i)
            comptime if logarithm:
                store[w](row, i, (v - SIMD[acc, w](top)) - SIMD[acc, w](shift))
            else:
                var e = exp_negative(v - SIMD[acc, w](top))
                store[w](row, i, e * SIMD[acc, w](inverse))

        var mine = team.share(cols, 4 * W)
        lanes[W](mine.begin, mine.end, last)


@always_inline
def softmax_columns[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
    *,
    logarithm: Bool = False,
](team: Team, outer: Int, reduced: Int, inner: Int, load: Load, store: Store,):
    """Computes this thread's share of softmax along the middle dim of [outer, reduced, inner].

    A vector holds neighbouring columns; each element is loaded three times.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](outer, reduced, inner)`.
        Store: `store[w](outer, reduced, inner, value)`.
        logarithm: Compute log-softmax.

    Args:
        team: The threads.
        outer: Size of the dims before the reduced one.
        reduced: Size of the dim along which values sum to 1.
        inner: Size of the consecutive dims after it.
        load: The values.
        store: Takes the results.
    """
    comptime block = 4 * W
    var blocks = (inner + block - 1) // block
    var mine = share_active(
        team, outer * blocks, outer * reduced * inner, SOFTMAX_GRAIN
    )
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * block

        @always_inline
        def column[w: Int](i: Int) {imm} -> None:
            var top = SIMD[acc, w](lowest[acc]())
            for r in range(reduced):
                top = Max.combine(top, load[w](o, r, i))
            var total = SIMD[acc, w](0)
            for r in range(reduced):
                total += exp_negative(load[w](o, r, i) - top)
            var inverse = 1 / total
            var shift = log(total)
            for r in range(reduced):
                var v = load[w](o, r, i)
                comptime if logarithm:
                    store[w](o, r, i, (v - top) - shift)
                else:
                    store[w](o, r, i, exp_negative(v - top) * inverse)

        lanes[W](begin, min(inner, begin + block), column)
