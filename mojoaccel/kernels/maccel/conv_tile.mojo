"""The register tile of convolution: output pixels times output channels.

The tile is an outer-product GEMM micro-kernel (Goto and van de Geijn 2008): rows are output
pixels, columns are output channels of one packed weight panel. Rows lie in memory one after the
other at a stride known at compile time, so that every load has an immediate displacement and no
register holds a row pointer; this is what allows 14 rows on AVX-512.
"""

from std.sys import CompilationTarget, simd_width_of

from maccel.gemm import multiply_step
from maccel.types import Ptr


@always_inline
def tile_rows[acc: DType, panel: Int]() -> Int:
    """Returns how many output pixels share a register tile with `panel` channels.

    The accumulators, one row of the panel and one broadcast value must fit in the register file:
    32 vectors on AVX-512 and NEON, 16 on AVX2. Even the smallest tile has enough independent
    chains (8 or more) to hide the latency of FMA.
    """
    comptime vectors = panel // simd_width_of[acc]()
    comptime if CompilationTarget.has_avx512f() or not CompilationTarget.is_x86():
        comptime if vectors <= 2:
            return 14
        elif vectors == 3:
            return 9
        else:
            return 7 if vectors == 4 else max(1, 28 // vectors)
    else:
        comptime if vectors <= 2:
            return 6
        else:
            return 4 if vectors == 3 else max(1, 12 // vectors)


@no_inline
def multiply_tile[
    vt: DType, //, acc: DType, wt: DType, rows: Int, panel: Int, lda: Int
](
    a: Ptr[vt],
    b: Ptr[wt],
    c: Ptr[acc],
    depth: Int,
    first: Bool,
    segments: Int = 1,
    step: Int = 0,
):
    """Computes `c[rows, panel] (+)= a[rows, depth] @ b[depth, panel]`.

    Not inlined: layers with the same `lda` and panel share one copy, whatever their epilogues.

    Parameters:
        vt: Type of the values: `acc`, or pairs of bfloat16.
        acc: Type of the sums.
        wt: Stored type of the weights.
        rows: Rows of the tile.
        panel: Columns, a multiple of the SIMD width.
        lda: Elements from one row of `a` to the next.

    Args:
        a: First row.
        b: Weights, `depth` rows of `panel` elements.
        c: Result, `rows` rows of `panel` elements.
        depth: Length of the reduction.
        first: Write the sums instead of adding them to what `c` holds.
        segments: How many stretches of `depth` elements a row consists of.
        step: Elements from one stretch of a row to the next.
    """
    comptime lanes = simd_width_of[acc]()
    comptime vectors = panel // lanes
    comptime V = SIMD[acc, lanes]
    comptime unroll = 4
    var sums = Array[V, rows * vectors](fill=V(0))
    var bp = b
    for segment in range(segments):
        var ap = a.unsafe_offset(segment * step)
        for _ in range(depth // unroll):
            comptime for u in range(unroll):
                multiply_step[rows, vectors, lanes](
                    ap.unsafe_offset(u), lda, bp.unsafe_offset(u * panel), sums
                )
            ap = ap.unsafe_offset(unroll)
            bp = bp.unsafe_offset(unroll * panel)
        for k in range(depth % unroll):
            multiply_step[rows, vectors, lanes](
                ap.unsafe_offset(k), lda, bp.unsafe_offset(k * panel), sums
            )
        bp = bp.unsafe_offset(depth % unroll * panel)
    comptime for i in range(rows):
        comptime for j in range(vectors):
            var at = i * panel + j * lanes
            var sum = sums[i * vectors + j]
            if not first:
                sum += c.unsafe_load[width=lanes](at)
            c.unsafe_store(at, sum)


@always_inline
def multiply_first[
    vt: DType, //, acc: DType, wt: DType, rows: Int, panel: Int, lda: Int
](a: Ptr[vt], b: Ptr[wt], c: Ptr[acc], depth: Int, count: Int, first: Bool,):
    """Computes the first `count` rows of a tile, by half a tile where that has enough.
    """
    comptime half = (rows + 1) // 2
    if count <= half:
        multiply_tile[acc, wt, half, panel, lda](a, b, c, depth, first)
    else:
        multiply_tile[acc, wt, rows, panel, lda](a, b, c, depth, first)
