"""Products of activations with weights that were packed ahead of time."""

from std.memory import stack_allocation
from std.sys import simd_width_of, size_of

from maccel.gemm import CHUNK, gemm_rows, partition, store_tile, tile_rows
from maccel.team import Team
from maccel.types import Ptr

comptime DEPTH = 1024
"""Longest reduction in one pass: a block of a panel (DEPTH x NR elements) stays in L2 beside
the block of A that it meets."""

comptime BLOCK_ROWS = 128
"""Rows that meet a block of a panel before the next one is read."""

comptime BLOCK_PANELS = 8
"""Panels whose partial sums wait in scratch memory."""


@always_inline
def depth_blocks[K: Int]() -> Int:
    """Returns the number of blocks that a reduction of length `K` is cut into.
    """
    return max(1, (K + DEPTH - 1) // DEPTH)


@always_inline
def linear_scratch[K: Int, NR: Int, acc: DType]() -> Int:
    """Returns the scratch bytes per thread of `linear`."""
    comptime if depth_blocks[K]() == 1:
        return 0
    else:
        return BLOCK_ROWS * BLOCK_PANELS * NR * size_of[acc]()


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
](team: Team, rows: Int, a: Ptr[a_dt], a_row: Int, b: Ptr[b_dt], store: Store,):
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

    Args:
        team: The threads.
        rows: Rows of A.
        a: First row of A, whose elements are neighbours.
        a_row: Elements between rows of A.
        b: The panels, `[ceil(N/NR)][K][NR]`, zero where there is no column.
        store: The epilogue.

    Scratch per thread: `linear_scratch`. A row's results depend neither on its position nor on
    the number of threads.
    """
    comptime W = simd_width_of[acc]()
    comptime assert NR % W == 0, "a panel must be whole vectors"
    comptime vectors = NR // W
    comptime MR = tile_rows[vectors]()
    comptime panels = (N + NR - 1) // NR
    comptime blocks = depth_blocks[K]()
    comptime block_depth = (
        ((K + blocks - 1) // blocks + CHUNK - 1) // CHUNK * CHUNK
    )
    comptime block_tiles = BLOCK_ROWS // MR
    comptime block_panels = panels if blocks == 1 else BLOCK_PANELS

    var tiles = (rows + MR - 1) // MR
    var part = partition(team.id, team.size, tiles, panels, MR, NR)
    var local = stack_allocation[
        MR * NR if blocks == 1 else 1, Scalar[acc], alignment=64
    ]()
    var sums = Ptr[acc](unsafe_from_address=Int(local))
    comptime if blocks > 1:
        sums = team.scratch[acc]()

    for top in range(part.top, part.bottom, block_tiles):
        var bottom = min(part.bottom, top + block_tiles)
        for left in range(part.first_panel(), part.last_panel(), block_panels):
            var right = min(part.last_panel(), left + block_panels)
            for block in range(blocks):
                var k = block * block_depth
                var depth = min(block_depth, K - k)
                for panel in range(left, right):
                    var from_tile = part.from_tile(panel, top)
                    var to_tile = part.to_tile(panel, bottom)
                    var weights = b.unsafe_offset((panel * K + k) * NR)
                    # The next block of weights comes from memory while this one is used.
                    var ahead = weights.unsafe_offset(block_depth * NR)
                    comptime if blocks > 1:
                        if panel + 1 < right:
                            ahead = weights.unsafe_offset(K * NR)
                    var share = depth * NR // max(1, to_tile - from_tile)
                    for tile in range(from_tile, to_tile):
                        var row = rows * tile // tiles
                        var height = rows * (tile + 1) // tiles - row
                        var c = sums
                        comptime if blocks > 1:
                            c = sums.unsafe_offset(
                                ((panel - left) * block_tiles + tile - top)
                                * (MR * NR)
                            )
                        var left_a = a.unsafe_offset(row * a_row + k)
                        if tiles == 1:
                            gemm_rows[acc, a_dt, b_dt, vectors, streaming=True](
                                height,
                                left_a,
                                a_row,
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
                            # Rows in two tiles or more are cut evenly.
                            gemm_rows[
                                acc, a_dt, b_dt, vectors, lowest=(MR + 1) // 2
                            ](
                                height,
                                left_a,
                                a_row,
                                1,
                                weights,
                                NR,
                                c,
                                NR,
                                depth,
                                block == 0,
                                ahead.unsafe_offset((tile - from_tile) * share),
                            )
                        if block == blocks - 1:
                            store_tile[W, N % W != 0](
                                c,
                                NR,
                                row,
                                height,
                                panel * NR,
                                min(NR, N - panel * NR),
                                store,
                            )
