"""Products of two operands that are computed at run time: batched, strided, transposed."""

from std.sys import simd_width_of, size_of

from maccel.dot import DOT_COLS, DOT_ROWS, dot_rows
from maccel.gemm import gemm_rows, partition, store_tile, tile_rows
from maccel.pack import pack_panel
from maccel.team import Team
from maccel.types import Ptr

comptime VECTORS = 2
"""Panel width in vectors: as fast as 3 (measured), and less padding when N is unknown."""

comptime DEPTH = 1024
"""Longest reduction in one pass: the packed block of a panel stays in L2."""

comptime BLOCK_TILES = 64
"""Row tiles whose partial sums wait in scratch memory when the reduction is longer."""

comptime DIRECT_TILES = 2
"""Up to so many row tiles, packing a panel would cost more than reading it in place."""


@always_inline
def matmul_scratch[acc: DType]() -> Int:
    """Returns the scratch bytes per thread of `matmul`."""
    comptime NR = VECTORS * simd_width_of[acc]()
    return (DEPTH + BLOCK_TILES * tile_rows[VECTORS]()) * NR * size_of[acc]()


@fieldwise_init
struct Operand[dt: DType](Copyable, Movable, TrivialRegisterPassable):
    """A batch of matrices: three batch strides, then those of rows and columns.
    """

    var data: Ptr[Self.dt]
    var batch0: Int
    var batch1: Int
    var batch2: Int
    var row: Int
    var col: Int

    @always_inline
    def matrix(self, index: Int, size1: Int, size2: Int) -> Ptr[Self.dt]:
        """Returns matrix `index` of a batch of [.., size1, size2]."""
        var outer = index // size2
        return self.data.unsafe_offset(
            index % size2 * self.batch2
            + outer % size1 * self.batch1
            + outer // size1 * self.batch0
        )


@always_inline
def matmul[
    a_dt: DType,
    b_dt: DType,
    //,
    acc: DType,
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    batch0: Int,
    batch1: Int,
    batch2: Int,
    m: Int,
    n: Int,
    k: Int,
    a: Ptr[a_dt],
    a_batch0: Int,
    a_batch1: Int,
    a_batch2: Int,
    a_row: Int,
    a_col: Int,
    b: Ptr[b_dt],
    b_batch0: Int,
    b_batch1: Int,
    b_batch2: Int,
    b_row: Int,
    b_col: Int,
    store: Store,
):
    """Computes this thread's share of a batch of products (torch.matmul, torch.bmm).

    C[batch, i, j] = sum over l < k of A[batch, i, l] * B[batch, l, j]

    Few rows or columns of operands whose reduced dim is dense are dot products of vectors.
    Otherwise panels of B are packed into scratch memory, unless few rows read them in place.
    Integers are summed by plain loops (wrapping, as PyTorch does).

    Parameters:
        a_dt: Stored type of A.
        b_dt: Stored type of B.
        acc: Type of the sums.
        Store: `store[w](batch, row, col, value)`, called once per element; batch counts the
            flattened batch dims.

    Args:
        team: The threads.
        batch0: Size of the outer batch dim.
        batch1: Size of the middle batch dim.
        batch2: Size of the inner batch dim.
        m: Rows of A.
        n: Columns of B.
        k: Length of the reduction.
        a: First element of A; its strides may have any value, 0 broadcasts.
        a_batch0: Stride of A along batch0.
        a_batch1: Stride of A along batch1.
        a_batch2: Stride of A along batch2.
        a_row: Stride between rows of A.
        a_col: Stride between columns of A.
        b: First element of B.
        b_batch0: Stride of B along batch0.
        b_batch1: Stride of B along batch1.
        b_batch2: Stride of B along batch2.
        b_row: Stride between rows of B.
        b_col: Stride between columns of B.
        store: The epilogue.

    Scratch per thread: `matmul_scratch`.
    """
    var left = Operand[a_dt](a, a_batch0, a_batch1, a_batch2, a_row, a_col)
    var right = Operand[b_dt](b, b_batch0, b_batch1, b_batch2, b_row, b_col)
    var batch = batch0 * batch1 * batch2
    if batch == 0 or m == 0 or n == 0:
        return
    comptime if acc.is_integral():
        matmul_plain[acc](
            team, batch, batch1, batch2, m, n, k, left, right, store
        )
    else:
        if a_col == 1 and b_row == 1 and (m <= 8 or n <= DOT_COLS):
            matmul_dots[acc](
                team, batch, batch1, batch2, m, n, k, left, right, store
            )
        else:
            matmul_tiles[acc](
                team, batch, batch1, batch2, m, n, k, left, right, store
            )


@always_inline
def matmul_tiles[
    a_dt: DType,
    b_dt: DType,
    //,
    acc: DType,
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    batch: Int,
    batch1: Int,
    batch2: Int,
    m: Int,
    n: Int,
    k: Int,
    a: Operand[a_dt],
    b: Operand[b_dt],
    store: Store,
):
    """Multiplies by register tiles over panels of B."""
    comptime W = simd_width_of[acc]()
    comptime NR = VECTORS * W
    comptime MR = tile_rows[VECTORS]()
    var tiles = (m + MR - 1) // MR
    var panels = (n + NR - 1) // NR
    var part = partition(team.id, team.size, tiles, batch * panels, MR, NR)
    var packed = team.scratch[acc]()
    var blocked = k > DEPTH
    for item in range(part.first_panel(), part.last_panel()):
        var index = item // panels
        var col = item % panels * NR
        var cols = min(NR, n - col)
        var ap = a.matrix(index, batch1, batch2)
        var bp = b.matrix(index, batch1, batch2).unsafe_offset(col * b.col)
        var from_tile = part.from_tile(item, part.top)
        var to_tile = part.to_tile(item, part.bottom)

        @always_inline
        def finish[w: Int](i: Int, j: Int, v: SIMD[acc, w]) {imm}:
            store[w](index, i, j, v)

        for top in range(from_tile, to_tile, BLOCK_TILES):
            var bottom = min(to_tile, top + BLOCK_TILES)
            for step in range(0, max(k, 1), DEPTH):
                var depth = min(DEPTH, k - step)
                var panel = packed
                var panel_row = NR
                var source = bp.unsafe_offset(step * b.row)
                var direct = False
                comptime if b_dt == acc:
                    direct = (
                        b.col == 1
                        and cols == NR
                        and to_tile - from_tile <= DIRECT_TILES
                    )
                if direct:
                    panel = source.unsafe_bitcast[Scalar[acc]]()
                    panel_row = b.row
                elif blocked or top == from_tile:
                    pack_panel[NR](source, b.row, b.col, depth, cols, packed)
                for tile in range(top, bottom):
                    var row = m * tile // tiles
                    var height = m * (tile + 1) // tiles - row
                    var c = packed.unsafe_offset(DEPTH * NR)
                    if blocked:
                        c = c.unsafe_offset((tile - top) * (MR * NR))
                    gemm_rows[acc, a_dt, acc, VECTORS](
                        height,
                        ap.unsafe_offset(row * a.row + step * a.col),
                        a.row,
                        a.col,
                        panel,
                        panel_row,
                        c,
                        NR,
                        depth,
                        step == 0,
                        panel,
                    )
                    if step + DEPTH >= k:
                        store_tile[W, True](
                            c, NR, row, height, col, cols, finish
                        )


@always_inline
def matmul_dots[
    a_dt: DType,
    b_dt: DType,
    //,
    acc: DType,
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    batch: Int,
    batch1: Int,
    batch2: Int,
    m: Int,
    n: Int,
    k: Int,
    a: Operand[a_dt],
    b: Operand[b_dt],
    store: Store,
):
    """Multiplies few rows or columns whose elements are dense along the reduction.
    """
    var down = (m + DOT_ROWS - 1) // DOT_ROWS
    var across = (n + DOT_COLS - 1) // DOT_COLS
    var mine = team.share(batch * across * down)
    var c = team.scratch[acc]()
    for item in range(mine.begin, mine.end):
        var index = item // (across * down)
        var within = item - index * (across * down)
        # The few rows innermost: a column of B is read once.
        var col = within // down * DOT_COLS
        var row = within % down * DOT_ROWS
        var rows = min(DOT_ROWS, m - row)
        var cols = min(DOT_COLS, n - col)
        dot_rows[acc](
            a.matrix(index, batch1, batch2).unsafe_offset(row * a.row),
            a.row,
            rows,
            b.matrix(index, batch1, batch2).unsafe_offset(col * b.col),
            b.col,
            cols,
            k,
            c,
            DOT_COLS,
        )
        for i in range(rows):
            for j in range(cols):
                store[1](
                    index,
                    row + i,
                    col + j,
                    c[unsafe_offset=i * DOT_COLS + j],
                )


@always_inline
def matmul_plain[
    a_dt: DType,
    b_dt: DType,
    //,
    acc: DType,
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    batch: Int,
    batch1: Int,
    batch2: Int,
    m: Int,
    n: Int,
    k: Int,
    a: Operand[a_dt],
    b: Operand[b_dt],
    store: Store,
):
    """Multiplies integers, a vector of columns at a time where B's rows are dense.
    """
    comptime W = simd_width_of[acc]()
    var mine = team.share(batch * m)
    for item in range(mine.begin, mine.end):
        var index = item // m
        var row = item - index * m
        var ap = a.matrix(index, batch1, batch2).unsafe_offset(row * a.row)
        var bp = b.matrix(index, batch1, batch2)
        var col = 0
        if b.col == 1:
            while col + W <= n:
                var sum = SIMD[acc, W](0)
                for l in range(k):
                    sum += (
                        SIMD[acc, W](ap[unsafe_offset=l * a.col].cast[acc]())
                        * bp.unsafe_load[width=W](l * b.row + col).cast[acc]()
                    )
                store[W](index, row, col, sum)
                col += W
        while col < n:
            var sum = Scalar[acc](0)
            for l in range(k):
                sum += (
                    ap[unsafe_offset=l * a.col].cast[acc]()
                    * bp[unsafe_offset=l * b.row + col * b.col].cast[acc]()
                )
            store[1](index, row, col, sum)
            col += 1
