"""Reductions of rows and of columns, with their operand and their result fused in.

A nest reduced along its innermost dim is `reduce_rows` (vectors along the row); one whose
innermost dim is kept is `reduce_columns` over [outer, reduced, inner] (vectors across it). The
order of additions depends on the sizes alone, never on the team.
"""

from maccel.fold import (
    cascade_together,
    fold_blocks_together,
    fold_row,
    member,
    together,
    together_slots,
)
from maccel.loops import lanes, share_active
from maccel.math_basic import isnan
from maccel.math_logic import cast
from maccel.reductions import (
    All,
    Any,
    ArgMax,
    ArgMin,
    CountNonzero,
    Max,
    MaxOfMagnitudes,
    Min,
    Prod,
    Reduction,
    Sum,
    SumOfMagnitudes,
    SumOfSquares,
)
from maccel.team import Team

comptime REDUCE_GRAIN = 4096
"""Elements per thread below which fewer threads work."""

comptime STORED[dt: DType] = DType.uint8 if dt == DType.bool else dt
"""Type that truth values are reduced in."""

comptime CHUNKS = 16
"""Parts that a long reduced dim with few kept columns is cut into."""


@always_inline
def reduce_rows[
    op: Reduction,
    W: Int,
    dt: DType,
    out: DType,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, SIMD[out, w]) -> None,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Reduces this thread's share of rows; with few long rows all threads share each row.

    Parameters:
        op: The operation (`reductions.mojo`).
        W: SIMD width of `dt`.
        dt: Type of the values.
        out: Type of the results (int64 for positions).
        Load: `load[w](row, col)`.
        Store: `store[1](row, result)`.

    Args:
        team: The threads.
        rows: Number of rows.
        cols: Length of a row; a row of none gives the identity.
        load: The values.
        store: Takes the results.
    """
    comptime held = STORED[dt]
    if together(team, rows, cols) and not op.indexed:
        reduce_rows_together[op, W, dt, out](team, rows, cols, load, store)
        return
    var mine = share_active(team, rows, rows * cols, REDUCE_GRAIN)
    for row in range(mine.begin, mine.end):

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[held, w]:
            return cast[held](load[w](row, i))

        var result = fold_row[op, W, held](cols, value)
        comptime if op.indexed:
            var found = position[W, held](cols, result, value)
            store[1](row, SIMD[out, 1](found))
        else:
            store[1](row, cast[out](SIMD[held, 1](result)))


@always_inline
def position[
    W: Int, dt: DType, Load: def[w: Int](Int) -> SIMD[dt, w]
](count: Int, value: Scalar[dt], load: Load) -> Int:
    """Returns the first i with load(i) = value (NaN equals NaN); 0 if there is none.
    """
    var i = 0
    var any_nan = isnan(SIMD[dt, 1](value))[0]
    while i + W <= count:
        var v = load[W](i)
        var hit = isnan(v) if any_nan else v.eq(SIMD[dt, W](value))
        if hit.reduce_or():
            break
        i += W
    while i < count:
        var v = load[1](i)
        if (isnan(v) if any_nan else v.eq(SIMD[dt, 1](value)))[0]:
            return i
        i += 1
    return 0


@always_inline
def reduce_rows_together[
    op: Reduction,
    W: Int,
    dt: DType,
    out: DType,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, SIMD[out, w]) -> None,
](team: Team, rows: Int, cols: Int, load: Load, store: Store):
    """Reduces few long rows, each shared by all threads; the same bits as `reduce_rows`.

    Scratch per thread: rows * together_slots[W](cols) elements.
    """
    comptime held = STORED[dt]
    var slots = together_slots[W](cols)
    for row in range(rows):

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[held, w]:
            return cast[held](load[w](row, i))

        fold_blocks_together[op, W, held](team, row * slots, cols, value)
    team.barrier()
    var mine = team.share(rows)
    for row in range(mine.begin, mine.end):
        var result = cascade_together[op, W, held](team, row * slots, cols)
        store[1](row, cast[out](SIMD[held, 1](result)))


@always_inline
def reduce_columns[
    op: Reduction,
    W: Int,
    dt: DType,
    out: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[out, w]) -> None,
](team: Team, outer: Int, reduced: Int, inner: Int, load: Load, store: Store,):
    """Reduces this thread's share of the middle dim of [outer, reduced, inner].

    Work is cut into blocks of 4*W columns; a long reduced dim over few columns also into 16
    parts whose partial results meet after a barrier.
    Scratch per thread: at most 16384 elements.

    Parameters:
        op: The operation (`reductions.mojo`).
        W: SIMD width of `dt`.
        dt: Type of the values.
        out: Type of the results (int64 for positions).
        Load: `load[w](outer, reduced, inner)`.
        Store: `store[w](outer, inner, result)`.

    Args:
        team: The threads.
        outer: Size of the dims before the reduced one.
        reduced: Size of the reduced dim.
        inner: Size of the consecutive dims after it.
        load: The values.
        store: Takes the results.
    """
    comptime held = STORED[dt]
    comptime block = 4 * W
    var blocks = (inner + block - 1) // block
    var work = outer * reduced * inner
    comptime if not op.indexed:
        if outer * inner <= 1024 and reduced >= 512 and work >= 32768:
            reduce_columns_in_parts[op, W, dt, out](
                team, outer, reduced, inner, load, store
            )
            return
    var mine = share_active(team, outer * blocks, work, REDUCE_GRAIN)
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * block
        var end = min(inner, begin + block)

        @always_inline
        def value[w: Int](r: Int, i: Int) {imm} -> SIMD[held, w]:
            return cast[held](load[w](o, r, i))

        @always_inline
        def keep[w: Int](i: Int, v: SIMD[held, w]) {imm} -> None:
            store[w](o, i, cast[out](v))

        @always_inline
        def place[w: Int](i: Int) {imm} -> None:
            store[w](
                o,
                i,
                column_positions[op, w, held](reduced, i, value).cast[out](),
            )

        comptime if op.indexed:
            lanes[W](begin, end, place)
        else:
            fold_columns[op, W, held](0, reduced, begin, end, value, keep)


@always_inline
def column_positions[
    op: Reduction,
    w: Int,
    dt: DType,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
](reduced: Int, i: Int, load: Load) -> SIMD[DType.int64, w]:
    """Returns the first position of the extreme value of columns i..i+w-1."""
    var best = load[w](0, i)
    var place = SIMD[DType.int64, w](0)
    for r in range(1, reduced):
        var v = load[w](r, i)
        # The combination differs from the best so far only where v is better.
        var next = op.combine(best, v)
        var better = ~next.eq(best) & ~isnan(best)
        best = better.select(v, best)
        place = better.select(SIMD[DType.int64, w](Int64(r)), place)
    return place


@always_inline
def fold_columns[
    op: Reduction,
    W: Int,
    dt: DType,
    Load: def[w: Int](Int, Int) -> SIMD[dt, w],
    Keep: def[w: Int](Int, SIMD[dt, w]) -> None,
](first: Int, last: Int, begin: Int, end: Int, load: Load, keep: Keep):
    """Folds positions [first, last) of columns [begin, end), at most 4*W of them.
    """
    var i = begin
    # Four vectors at once: whole cache lines of neighbouring columns, four chains of additions.
    comptime if W > 1:
        if i + 4 * W <= end:
            comptime V = SIMD[dt, W]
            var total = Array[V, 4](fill=V(op.identity[dt]()))
            var r = first
            while r < last:
                var part = Array[V, 4](fill=V(op.identity[dt]()))
                for k in range(r, min(last, r + 32)):
                    comptime for u in range(4):
                        part[u] = op.combine(
                            part[u], op.lift(load[W](k, i + u * W))
                        )
                comptime for u in range(4):
                    total[u] = op.combine(total[u], part[u])
                r += 32
            comptime for u in range(4):
                keep[W](i + u * W, total[u])
            i += 4 * W

    @always_inline
    def column[w: Int](c: Int) {imm} -> None:
        comptime V = SIMD[dt, w]
        var total = V(op.identity[dt]())
        var r = first
        while r < last:
            var part = V(op.identity[dt]())
            for k in range(r, min(last, r + 32)):
                part = op.combine(part, op.lift(load[w](k, c)))
            total = op.combine(total, part)
            r += 32
        keep[w](c, total)

    lanes[W](i, end, column)


@always_inline
def reduce_columns_in_parts[
    op: Reduction,
    W: Int,
    dt: DType,
    out: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
    Store: def[w: Int](Int, Int, SIMD[out, w]) -> None,
](team: Team, outer: Int, reduced: Int, inner: Int, load: Load, store: Store,):
    """Reduces a long middle dim over few columns: 16 parts, then their combination in order.
    """
    comptime held = STORED[dt]
    comptime block = 4 * W
    var blocks = (inner + block - 1) // block
    var mine = team.share(CHUNKS)
    var partial = team.scratch[held]()
    for chunk in range(mine.begin, mine.end):
        for item in range(outer * blocks):
            var o = item // blocks
            var begin = (item - o * blocks) * block
            var base = ((chunk - mine.begin) * outer + o) * inner

            @always_inline
            def value[w: Int](r: Int, i: Int) {imm} -> SIMD[held, w]:
                return cast[held](load[w](o, r, i))

            @always_inline
            def keep[w: Int](i: Int, v: SIMD[held, w]) {imm} -> None:
                partial.unsafe_store(base + i, v)

            fold_columns[op, W, held](
                reduced * chunk // CHUNKS,
                reduced * (chunk + 1) // CHUNKS,
                begin,
                min(inner, begin + block),
                value,
                keep,
            )
    team.barrier()
    var rows = team.share(outer)
    for o in range(rows.begin, rows.end):

        @always_inline
        def whole[w: Int](i: Int) {imm} -> None:
            var total = SIMD[held, w](op.identity[held]())
            for t in range(team.size):
                var other = member(team, t)
                var theirs = other.share(CHUNKS)
                var source = other.scratch[held]()
                for c in range(theirs.end - theirs.begin):
                    total = op.combine(
                        total,
                        source.unsafe_load[width=w](
                            (c * outer + o) * inner + i
                        ),
                    )
            store[w](o, i, cast[out](total))

        lanes[W](0, inner, whole)
