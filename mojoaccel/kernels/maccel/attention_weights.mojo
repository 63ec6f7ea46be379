"""Scores of attention turned into weights: the online softmax of one row and one tile of keys."""

from std.math import fma, iota
from std.sys import CompilationTarget, simd_width_of
from std.sys.intrinsics import llvm_intrinsic

from maccel.math_exp import exp2
from maccel.math_poly import (
    BITS,
    INF,
    at_least,
    bits_of,
    constant,
    float_of,
    polynomial,
)
from maccel.types import F32, Ptr

comptime LOG2_E = 1.44269504088896340736
"""Weights are powers of two. Without a mask the queries carry this factor; with one the
differences of scores do, lest a mask of the lowest finite value become infinite."""

comptime GROUP = 4
"""Vectors that go through the polynomial side by side: each step waits 3 or 4 cycles for the one
before, and the scheduler holds too few instructions to overlap more than 4 vectors by itself."""


@always_inline
def slack[narrow: Bool]() -> Float64:
    """Returns how far a score may exceed what weights are relative to: they stay below e^5.

    Not where weights become bfloat16: the largest is 1 then, which is exact, and rows that one key
    dominates profit from it.
    """
    return 0.0 if narrow else 5.0


@always_inline
def weight[
    acc: DType, w: SIMDLength, coarse: Bool = False
](x: SIMD[acc, w]) -> SIMD[acc, w]:
    """Computes 2^x for x < 127: 1 for 0, exactly 0 below -127, error at most 1e-7.

    `coarse` is for what is rounded to bfloat16 (error 2e-3): at most 1.1e-4 in 2 steps less.

    Softmax needs no denormal results, and they are slow: with an exp that returns them, 197 keys
    (a partial vector per row) took 1.3 times as long. 2^r - 1 = r q(r) on [-1/2, 1/2], fitted
    for this.
    """
    comptime if acc == DType.float32:
        comptime if coarse and w % 16 == 0 and has_scale():
            return rebind[SIMD[acc, w]](coarse_by_scale(rebind[F32[w]](x)))
        # The sum's low bits are the rounded x plus the exponent bias.
        comptime rounder = 12582912.0 + 127.0
        var limited = at_least(x, -127.0)
        var t = limited + constant[acc, w](rounder)
        var r = limited - (t - constant[acc, w](rounder))
        var power = float_of[acc, w](bits_of(t) << SIMD[BITS[acc], w](23))
        comptime if coarse:
            var q = polynomial[
                0.6932829287944439, 0.24221097199195177, 0.055008929662397954
            ](r)
            return fma(q, r, constant[acc, w](1)) * power
        var q = polynomial[
            0.6931469775988583,
            0.24022242085173107,
            0.05550733743690691,
            0.00967151264891857,
            0.0013264727065490168,
        ](r)
        return fma(q, r, constant[acc, w](1)) * power
    else:
        return exp2(x)


@always_inline
def has_scale() -> Bool:
    """Returns whether the target splits off and scales by a power of two: AVX512DQ.
    """
    return CompilationTarget._has_feature["avx512dq"]()


@always_inline
def coarse_by_scale[w: SIMDLength, //](x: F32[w]) -> F32[w]:
    """Computes coarse weights by VREDUCEPS and VSCALEFPS: x - floor(x) and p 2^floor(x) in a step each.

    2^r - 1 = r q(r) on [0, 1), fitted for this (error 8.6e-5). Attention in pairs on a Zen 4, 64
    deep, takes 3 % less time; in float32 it would be 1 %.
    """
    comptime V = F32[16]
    comptime floor = Int32(9)
    comptime all = Int16(-1)
    comptime current = Int32(4)
    var r = F32[w](0)
    comptime for at in range(0, w, 16):
        r = r.insert[offset=at](
            llvm_intrinsic["llvm.x86.avx512.mask.reduce.ps.512", V](
                x.slice[16, offset=at](), floor, V(0), all, current
            )
        )
    var p = polynomial[
        1.0, 0.6951167886697057, 0.22764498119089993, 0.077067051182996
    ](r)
    var e = F32[w](0)
    comptime for at in range(0, w, 16):
        e = e.insert[offset=at](
            llvm_intrinsic["llvm.x86.avx512.mask.scalef.ps.512", V](
                p.slice[16, offset=at](),
                x.slice[16, offset=at](),
                V(0),
                all,
                current,
            )
        )
    return x.lt(-126).select(F32[w](0), e)


@always_inline
def largest_of[acc: DType, w: SIMDLength, //](v: SIMD[acc, w]) -> Scalar[acc]:
    """Returns the largest lane of a vector without NaN, in fewer steps than with.
    """
    comptime if w == 1:
        return v[0]
    else:
        comptime half = w // 2
        var a = v.slice[half, offset=0]()
        var b = v.slice[half, offset=half]()
        return largest_of(a.gt(b).select(a, b))


@always_inline
def mask_row[
    acc: DType,
    //,
    has_mask: Bool,
    scaled: Bool,
    Mask: def[w: Int](Int) -> SIMD[acc, w],
](
    scores: Ptr[acc],
    valid: Int,
    padded: Int,
    scale: Scalar[acc],
    mask: Mask,
) -> SIMD[acc, simd_width_of[acc]()]:
    """Adds the mask to a row of scores, hides what it may not see, returns its largest scores.

    NaN is no score's better; it stays in the row and reaches the sum from there.

    Parameters:
        acc: Type of the scores.
        has_mask: Whether to add the mask.
        scaled: Whether the scores lack the factor `scale`. It is multiplied in place where a mask
            is added, otherwise left to `weigh_row`.
        Mask: `mask[w](j)`, added to scores j..j+w-1.

    Args:
        scores: The row.
        valid: Keys that the row may see; the others become -inf.
        padded: Keys that get a weight, a multiple of the SIMD width.
        scale: Factor of the scores.
        mask: The additive mask.
    """
    comptime W = simd_width_of[acc]()
    comptime none = constant[acc, W](-INF)

    @always_inline
    def seen[w: Int](j: Int) {imm} -> SIMD[acc, w]:
        var s = scores.unsafe_load[width=w](j)
        comptime if has_mask:
            comptime if scaled:
                s *= scale
            s += mask[w](j)
            scores.unsafe_store(j, s)
        return s

    var highs = constant[acc, GROUP * W](-INF)
    var j = 0
    while j + GROUP * W <= valid:
        var s = seen[GROUP * W](j)
        highs = s.gt(highs).select(s, highs)
        j += GROUP * W
    var high = none
    comptime for part in range(GROUP):
        var s = highs.slice[W, offset=part * W]()
        high = s.gt(high).select(s, high)
    while j + W <= valid:
        var s = seen[W](j)
        high = s.gt(high).select(s, high)
        j += W
    if j < valid:
        comptime if has_mask:
            for t in range(j, valid):
                _ = seen[1](t)
        var exists = iota[DType.int32, W]().lt(Int32(valid - j))
        var s = exists.select(scores.unsafe_load[width=W](j), none)
        scores.unsafe_store(j, s)
        high = s.gt(high).select(s, high)
        j += W
    while j < padded:
        scores.unsafe_store(j, none)
        j += W
    comptime if scaled and not has_mask:
        high *= scale
    return high


@always_inline
def weight_of[
    acc: DType, w: SIMDLength, //, has_mask: Bool, coarse: Bool = False
](difference: SIMD[acc, w]) -> SIMD[acc, w]:
    """Computes the weight of a score that is `difference` above what weights are relative to.
    """
    comptime if has_mask:
        return weight[coarse=coarse](difference * constant[acc, w](LOG2_E))
    else:
        return weight[coarse=coarse](difference)


@always_inline
def weigh_row[
    acc: DType, //, has_mask: Bool, narrow: Bool
](
    scores: Ptr[acc],
    padded: Int,
    fresh: Bool,
    largest: Scalar[acc],
    scale: Scalar[acc],
    top: Ptr[acc],
    total: Ptr[acc],
) -> Scalar[acc]:
    """Turns a row of scores into weights; returns the factor of what was summed before.

    Weights are relative to `top`, which follows the largest score only when that has grown by more
    than `slack`: sums are then seldom rescaled.

    Parameters:
        acc: Type of the scores.
        has_mask: Whether the scores lack the factor LOG2_E.
        narrow: Leave the weights as bfloat16, at the beginning of the row; the scores lack the
            factor `scale` unless there is a mask.

    Args:
        scores: The row.
        padded: Keys that get a weight, a multiple of the SIMD width.
        fresh: Nothing was summed before.
        largest: The largest of the scores.
        scale: Factor of the scores, positive.
        top: What the weights of the row are relative to so far, updated.
        total: The row's sum of weights, updated.
    """
    comptime W = simd_width_of[acc]()
    comptime none = constant[acc, 1](-INF)
    var before = none if fresh else top[]
    var now = (
        largest if largest
        > before + constant[acc, 1](slack[narrow]()) else before
    )
    # A row that may see nothing so far: any finite value keeps its weights 0.
    var shift = Scalar[acc](0) if now == none else now

    @always_inline
    def weighed[w: Int](t: Int) {imm} -> SIMD[acc, w]:
        var s = scores.unsafe_load[width=w](t)
        comptime if narrow and not has_mask:
            s = fma(s, SIMD[acc, w](scale), SIMD[acc, w](-shift))
        else:
            s -= shift
        var e = weight_of[has_mask, narrow](s)
        comptime if narrow:
            scores.unsafe_bitcast[BFloat16]().unsafe_store(
                t, e.cast[DType.bfloat16]()
            )
        else:
            scores.unsafe_store(t, e)
        return e

    var groups = SIMD[acc, GROUP * W](0)
    var whole = padded // (GROUP * W) * (GROUP * W)
    for t in range(0, whole, GROUP * W):
        groups += weighed[GROUP * W](t)
    var sum = SIMD[acc, W](0)
    for t in range(whole, padded, W):
        sum += weighed[W](t)
    comptime for part in range(GROUP):
        sum += groups.slice[W, offset=part * W]()
    var sums = sum.reduce_add()
    var factor = Scalar[acc](0)
    if not fresh:
        factor = 1
        if now != before:
            factor = weight_of[has_mask](before - shift)
        sums = fma(total[], factor, sums)
    top[] = now
    total[] = sums
    return factor
