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
    """Returns whether the target multiplies pairs: AVX512_BF16."""
    return CompilationTarget._has_feature["avx512bf16"]()


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
