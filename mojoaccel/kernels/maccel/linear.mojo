"""Products of activations with weights that were packed ahead of time."""

from std.memory import stack_allocation
from std.sys import simd_width_of, size_of

from maccel.amx import fits_tiles
from maccel.gemm import CHUNK, gemm_rows, partition, store_tile, tile_rows
from maccel.pack import widen_rows
from maccel.pairs import as_pairs
from maccel.team import Team
from maccel.tile_grid import linear_tiles
from maccel.tiles import PANEL
from maccel.types import F32, Ptr

comptime DEPTH = 1024
"""Longest reduction in one pass: a block of a panel (DEPTH x NR elements) stays in L2 beside
the block of A that it meets."""

comptime BLOCK_ROWS = 128
"""Rows that meet a block of a panel before the next one is read.

More do not pay: 1024 rows read all panels 8 times from the last-level cache, but that is half a byte
a cycle, prefetched. Measured on 2 threads of a Zen 4 (L2 1 MB) at 256 and 1024 rows, 768 -> 768,
768 -> 3072, 3072 -> 768, 384 -> 1536, 1536 -> 384, float32 and pairs: 192 rows by 768 steps, 256 by
512, 256 by 768, and rows instead of columns split over the threads are all within 2 % of this; one
thread loses 3 % while the other core reads memory without pause, and with more rows the same.
"""

comptime BLOCK_PANELS = 8
"""Panels whose partial sums wait in scratch memory."""


@always_inline
def depth_blocks[K: Int]() -> Int:
    """Returns the number of blocks that a reduction of length `K` is cut into.
    """
    return max(1, (K + DEPTH - 1) // DEPTH)


@always_inline
def block_depth[K: Int]() -> Int:
    """Returns the length of a block of the reduction, a multiple of CHUNK if there are several.
    """
    comptime blocks = depth_blocks[K]()
    comptime if blocks == 1:
        return K
    else:
        return ((K + blocks - 1) // blocks + CHUNK - 1) // CHUNK * CHUNK


@always_inline
def linear_scratch[
    K: Int,
    NR: Int,
    acc: DType,
    a_dt: DType = acc,
    b_dt: DType = acc,
    widen: Bool = False,
]() -> Int:
    """Returns the scratch bytes per thread of `linear`."""
    var elements = 0
    comptime if depth_blocks[K]() > 1:
        elements += BLOCK_ROWS * BLOCK_PANELS * NR
    comptime if widen and b_dt != acc:
        elements += block_depth[K]() * NR
    comptime if widen and a_dt != acc:
        elements += BLOCK_ROWS * block_depth[K]()
    return elements * size_of[acc]()


@always_inline
def linear[
    a_dt: DType,
    b_dt: DType,
    acc: DType,
    //,
    N: Int,
    K: Int,
    NR: Int,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    Ahead: def[w: Int](Int, Int) -> None,
    *,
    widen: Bool = False,
](
    team: Team,
    rows: Int,
    a: Ptr[a_dt],
    a_row: Int,
    b: Ptr[b_dt],
    store: Store,
    ahead: Ahead,
):
    """Computes this thread's share of `C = A @ B`, B packed into panels.

    C[row, col] = sum over k < K of A[row, k] * B[k, col]      (torch.nn.functional.linear)

    Parameters:
        a_dt: Stored type of A.
        b_dt: Stored type of B.
        acc: Type of the sums, float32 or float64.
        N: Columns of B.
        K: Rows of B.
        NR: Columns of a panel, a multiple of the SIMD width of `acc`.
        Store: `store[w](row, col, value)`, called once per element with the final sum: rows of
            full vectors, then (if N is no multiple of the SIMD width) of 4 and of 1.
        Ahead: `ahead[w](row, col)`, called before the sums of a tile that `store` gets.
        widen: Copy operands of other types than `acc` to scratch memory in that type, a block of
            rows and a panel at a time (weights only if several tiles of rows meet them). Without,
            elements are cast at every load: bfloat16 then takes 1.7 times as long at 128 rows.

    Args:
        team: The threads.
        rows: Rows of A.
        a: First row of A, whose elements are neighbours.
        a_row: Elements between rows of A.
        b: The panels, `[ceil(N/NR)][K][NR]`, zero where there is no column.
        store: The epilogue.
        ahead: Brings to the cache what the epilogue will read and write. Results of 12 MB take 2 %
            less time in float32, 4 % in pairs (768 -> 3072, 1024 rows, 2 threads of a Zen 4).

    Scratch per thread: `linear_scratch`. A row's results depend neither on its position nor on
    the number of threads.
    """
    comptime W = simd_width_of[acc]()
    comptime assert NR % W == 0, "a panel must be whole vectors"
    comptime vectors = NR // W
    comptime MR = tile_rows[vectors]()
    comptime A = acc if widen else a_dt
    comptime B = acc if widen else b_dt
    comptime panels = (N + NR - 1) // NR
    comptime blocks = depth_blocks[K]()
    comptime steps = block_depth[K]()
    comptime block_tiles = BLOCK_ROWS // MR
    comptime block_panels = panels if blocks == 1 else BLOCK_PANELS

    var tiles = (rows + MR - 1) // MR
    var part = partition(team.id, team.size, tiles, panels, MR, NR)
    var local = stack_allocation[
        MR * NR if blocks == 1 else 1, Scalar[acc], alignment=64
    ]()
    var sums = Ptr[acc](unsafe_from_address=Int(local))
    var wide_b = team.scratch[acc]()
    comptime if blocks > 1:
        sums = team.scratch[acc]()
        wide_b = sums.unsafe_offset(BLOCK_ROWS * BLOCK_PANELS * NR)
    var wide_a = wide_b
    comptime if B != b_dt:
        wide_a = wide_b.unsafe_offset(steps * NR)

    for top in range(part.top, part.bottom, block_tiles):
        var bottom = min(part.bottom, top + block_tiles)
        var first_row = rows * top // tiles
        for left in range(part.first_panel(), part.last_panel(), block_panels):
            var right = min(part.last_panel(), left + block_panels)
            for block in range(blocks):
                var k = block * steps
                var depth = min(steps, K - k)
                var ap = Ptr[A](unsafe_from_address=Int(a))
                var ap_row = a_row
                comptime if A == a_dt:
                    ap = ap.unsafe_offset(first_row * a_row + k)
                else:
                    ap = Ptr[A](unsafe_from_address=Int(wide_a))
                    ap_row = steps
                    widen_rows(
                        a.unsafe_offset(first_row * a_row + k),
                        a_row,
                        rows * bottom // tiles - first_row,
                        depth,
                        wide_a,
                        steps,
                    )
                for panel in range(left, right):
                    var from_tile = part.from_tile(panel, top)
                    var to_tile = part.to_tile(panel, bottom)
                    if from_tile >= to_tile:
                        continue
                    var weights = b.unsafe_offset((panel * K + k) * NR)
                    # The next block of weights comes from memory while this one is used.
                    var following = weights.unsafe_offset(steps * NR)
                    comptime if blocks > 1:
                        if panel + 1 < right:
                            following = weights.unsafe_offset(K * NR)
                    var share = depth * NR // (to_tile - from_tile)
                    var bp = Ptr[B](unsafe_from_address=Int(weights))
                    comptime if B != b_dt:
                        bp = Ptr[B](unsafe_from_address=Int(wide_b))
                        if tiles > 1:
                            widen_rows(weights, 0, 1, depth * NR, wide_b, 0)
                    for tile in range(from_tile, to_tile):
                        var row = rows * tile // tiles
                        var height = rows * (tile + 1) // tiles - row
                        var c = sums
                        comptime if blocks > 1:
                            c = sums.unsafe_offset(
                                ((panel - left) * block_tiles + tile - top)
                                * (MR * NR)
                            )
                        var at = ap.unsafe_offset((row - first_row) * ap_row)
                        var cols = min(NR, N - panel * NR)
                        if block == blocks - 1:
                            for i in range(height):
                                for j in range(0, cols, W):
                                    ahead[W](row + i, panel * NR + j)
                        if tiles == 1:
                            gemm_rows[acc, A, b_dt, vectors, streaming=True](
                                height,
                                at,
                                ap_row,
                                1,
                                weights,
                                NR,
                                c,
                                NR,
                                depth,
                                block == 0,
                                weights,
                            )
                        else:
                            # Several tiles are cut evenly: none is lower than half.
                            var next = following.unsafe_offset(
                                (tile - from_tile) * share
                            )
                            gemm_rows[acc, A, B, vectors, lowest=(MR + 1) // 2](
                                height,
                                at,
                                ap_row,
                                1,
                                bp,
                                NR,
                                c,
                                NR,
                                depth,
                                block == 0,
                                Ptr[B](unsafe_from_address=Int(next)),
                            )
                        if block == blocks - 1:
                            store_tile[W, N % W != 0](
                                c,
                                NR,
                                row,
                                height,
                                panel * NR,
                                cols,
                                store,
                            )


@always_inline
def linear[
    a_dt: DType,
    b_dt: DType,
    acc: DType,
    //,
    N: Int,
    K: Int,
    NR: Int,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    *,
    widen: Bool = False,
](team: Team, rows: Int, a: Ptr[a_dt], a_row: Int, b: Ptr[b_dt], store: Store):
    """Computes `linear` whose results need not be brought to the cache."""

    @always_inline
    def nothing[w: Int](row: Int, col: Int) {imm}:
        pass

    linear[N=N, K=K, NR=NR, acc=acc, widen=widen](
        team, rows, a, a_row, b, store, nothing
    )


@always_inline
def linear_pairs[
    acc: DType,
    //,
    N: Int,
    K: Int,
    NR: Int,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    Ahead: def[w: Int](Int, Int) -> None,
](
    team: Team,
    rows: Int,
    a: Ptr[DType.bfloat16],
    a_row: Int,
    b: Ptr[DType.bfloat16],
    store: Store,
    ahead: Ahead,
):
    """Computes `linear` of bfloat16 operands two steps at a time (see `pairs`), by AMX tiles where
    the target has them and the rows are worth it.

    Parameters:
        acc: Type of the sums, float32.
        N: Columns of B.
        K: Rows of B, an even number.
        NR: Columns of a panel.
        Store: `store[w](row, col, value)`.
        Ahead: `ahead[w](row, col)`, not called where there are AMX tiles.

    Args:
        team: The threads.
        rows: Rows of A.
        a: First row of A.
        a_row: Elements between rows of A, an even number.
        b: The panels, `[ceil(N/NR)][K/2][NR][2]`, zero where there is no column.
        store: The epilogue.
        ahead: Brings to the cache what the epilogue will read and write.

    Scratch per thread: `linear_scratch[K // 2, NR, float32]`, with tiles at least `tiles_scratch`.
    """
    comptime if NR == PANEL and fits_tiles[K // 2]():

        @always_inline
        def rebound[w: Int](row: Int, col: Int, v: F32[w]) {imm}:
            store[w](row, col, rebind[SIMD[acc, w]](v))

        linear_tiles[N=N, K=K // 2](
            team, rows, as_pairs(a), a_row // 2, as_pairs(b), rebound
        )
        return
    linear[N=N, K=K // 2, NR=NR, acc=acc](
        team, rows, as_pairs(a), a_row // 2, as_pairs(b), store, ahead
    )


@always_inline
def linear_pairs[
    acc: DType,
    //,
    N: Int,
    K: Int,
    NR: Int,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    rows: Int,
    a: Ptr[DType.bfloat16],
    a_row: Int,
    b: Ptr[DType.bfloat16],
    store: Store,
):
    """Computes `linear_pairs` whose results need not be brought to the cache.
    """

    @always_inline
    def nothing[w: Int](row: Int, col: Int) {imm}:
        pass

    linear_pairs[N=N, K=K, NR=NR, acc=acc](
        team, rows, a, a_row, b, store, nothing
    )
