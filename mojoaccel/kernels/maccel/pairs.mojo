"""Pairs of bfloat16 that one instruction multiplies and adds to a float32.

A pair of neighbours along the reduction is handled as one element of 32 bits: the products of
`gemm`, `linear` and `conv` then run as they are, over half as many steps, with a dot product in
place of each multiply-add. Weights are packed so that the pair of a column lies together:
`[K/2][NR][2]`. Sums are float32; VDPBF16PS rounds each addition to nearest and takes denormals for
zero (Intel, Instruction Set Reference).
"""

from std.memory import bitcast
from std.sys import CompilationTarget, simd_width_of
from std.sys.intrinsics import llvm_intrinsic

from maccel.types import Ptr

comptime PAIR = DType.uint32
"""Two bfloat16, the one of the lower index in the lower half."""


@always_inline
def has_pairs() -> Bool:
    """Returns whether the target multiplies pairs: AVX512_BF16, whole registers wide.
    """
    comptime wide = simd_width_of[DType.float32]() == 16
    return wide and CompilationTarget._has_feature["avx512bf16"]()


@always_inline
def as_pairs(data: Ptr[DType.bfloat16]) -> Ptr[PAIR]:
    """Returns memory of bfloat16 as pairs; it need not be aligned to them."""
    return Ptr[PAIR](unsafe_from_address=Int(data))


@always_inline
def load_pair(data: Ptr[PAIR], index: Int) -> Scalar[PAIR]:
    """Reads a pair that lies on any even address."""
    return data.unsafe_load[width=1, alignment=2](index)


@always_inline
def dot_pairs[
    W: Int
](a: SIMD[PAIR, W], b: SIMD[PAIR, W], sum: SIMD[DType.float32, W]) -> SIMD[
    DType.float32, W
]:
    """Adds a[0] * b[0] + a[1] * b[1] of each lane to `sum`."""
    comptime assert has_pairs() and W == 16, "the target has no pairs"
    return llvm_intrinsic[
        "llvm.x86.avx512bf16.dpbf16ps.512", SIMD[DType.float32, W]
    ](
        sum,
        bitcast[DType.bfloat16, 2 * W](a),
        bitcast[DType.bfloat16, 2 * W](b),
    )


@no_inline
def pack_row_pairs[
    NR: Int
](
    source: Ptr[DType.bfloat16],
    row: Int,
    depth: Int,
    cols: Int,
    target: Ptr[PAIR],
):
    """Copies `depth` rows of at most NR columns into `target[depth / 2][NR]`, rows in pairs.

    What does not exist is zero: columns from `cols` on, and the partner of an odd last row.

    Parameters:
        NR: Columns of the panel, whole vectors of pairs.

    Args:
        source: First element.
        row: Elements between rows.
        depth: Rows.
        cols: Columns that exist, at least 1.
        target: The panel.
    """
    comptime W = simd_width_of[PAIR]()
    comptime V = SIMD[DType.bfloat16, W]
    for k in range(0, depth, 2):
        var upper = source.unsafe_offset(k * row)
        var lower = upper.unsafe_offset(row)
        var line = target.unsafe_offset(k // 2 * NR)
        var single = k + 1 == depth
        if cols == NR:
            comptime for j in range(0, NR, W):
                var first = upper.unsafe_load[width=W](j)
                var second = V(0) if single else lower.unsafe_load[width=W](j)
                line.unsafe_store(j, bitcast[PAIR, W](first.interleave(second)))
            continue
        for j in range(NR):
            var pair = SIMD[DType.bfloat16, 2](0)
            if j < cols:
                pair[0] = upper[unsafe_offset=j]
                if not single:
                    pair[1] = lower[unsafe_offset=j]
            line[unsafe_offset=j] = bitcast[PAIR, 1](pair)
