"""Scores of attention turned into weights: the online softmax of one row and one tile of keys."""

from std.math import fma, iota
from std.sys import simd_width_of

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
from maccel.types import Ptr

comptime LOG2_E = 1.44269504088896340736
"""Weights are powers of two. Without a mask the queries carry this factor; with one the
differences of scores do, lest a mask of the lowest finite value become infinite."""


@always_inline
def weight[acc: DType, w: SIMDLength](x: SIMD[acc, w]) -> SIMD[acc, w]:
    """Computes 2^x for x <= 0: 1 for 0, exactly 0 below -127, error at most 1e-7.

    Softmax needs no denormal results, and they are slow: with an exp that returns them, 197 keys
    (a partial vector per row) took 1.3 times as long. 2^r - 1 = r q(r) on [-1/2, 1/2], fitted
    for this.
    """
    comptime if acc == DType.float32:
        # The sum's low bits are the rounded x plus the exponent bias.
        comptime rounder = 12582912.0 + 127.0
        var limited = at_least(x, -127.0)
        var t = limited + constant[acc, w](rounder)
        var r = limited - (t - constant[acc, w](rounder))
        var q = polynomial[
            0.6931469775988583,
            0.24022242085173107,
            0.05550733743690691,
            0.00967151264891857,
            0.0013264727065490168,
        ](r)
        var power = float_of[acc, w](bits_of(t) << SIMD[BITS[acc], w](23))
        return fma(q, r, constant[acc, w](1)) * power
    else:
        return exp2(x)


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

    Parameters:
        acc: Type of the scores.
        has_mask: Whether to add the mask.
        scaled: Whether to multiply by `scale` first.
        Mask: `mask[w](j)`, added to scores j..j+w-1.

    Args:
        scores: The row.
        valid: Keys that the row may see; the others become -inf.
        padded: Keys that get a weight, a multiple of the SIMD width.
        scale: Factor of the scores.
        mask: The additive mask.
    """
    comptime W = simd_width_of[acc]()
    comptime V = SIMD[acc, W]
    var none = constant[acc, W](-INF)
    var high = none
    var j = 0
    while j + W <= valid:
        var s = scores.unsafe_load[width=W](j)
        comptime if scaled:
            s *= scale
        comptime if has_mask:
            s += mask[W](j)
        comptime if scaled or has_mask:
            scores.unsafe_store(j, s)
        high = s.gt(high).select(s, high)
        j += W
    if j < valid:
        comptime if scaled or has_mask:
            for t in range(j, valid):
                var s = scores[unsafe_offset=t]
                comptime if scaled:
                    s *= scale
                comptime if has_mask:
                    s += mask[1](t)
                scores[unsafe_offset=t] = s
        var seen = iota[DType.int32, W]().lt(Int32(valid - j))
        var s = seen.select(scores.unsafe_load[width=W](j), none)
        scores.unsafe_store(j, s)
        high = s.gt(high).select(s, high)
        j += W
    while j < padded:
        scores.unsafe_store(j, none)
        j += W
    return high


@always_inline
def weight_of[
    acc: DType, w: SIMDLength, //, has_mask: Bool
](difference: SIMD[acc, w]) -> SIMD[acc, w]:
    """Computes the weight of a score that is `difference` above the row's largest.
    """
    comptime if has_mask:
        return weight(difference * constant[acc, w](LOG2_E))
    else:
        return weight(difference)


@always_inline
def weigh_row[
    acc: DType, //, has_mask: Bool, narrow: Bool
](
    scores: Ptr[acc],
    padded: Int,
    fresh: Bool,
    largest: Scalar[acc],
    top: Ptr[acc],
    total: Ptr[acc],
) -> Scalar[acc]:
    """Turns a row of scores into weights; returns the factor of what was summed before.

    Parameters:
        acc: Type of the scores.
        has_mask: Whether the scores lack the factor LOG2_E.
        narrow: Leave the weights as bfloat16, at the beginning of the row.

    Args:
        scores: The row.
        padded: Keys that get a weight, a multiple of the SIMD width.
        fresh: Nothing was summed before.
        largest: The largest of the scores.
        top: The row's largest score so far, updated.
        total: The row's sum of weights, updated.
    """
    comptime W = simd_width_of[acc]()
    comptime none = constant[acc, 1](-INF)
    var before = none if fresh else top[]
    var now = max(before, largest)
    # A row that may see nothing so far: any finite value keeps its weights 0.
    var shift = Scalar[acc](0) if now == none else now
    var sum = SIMD[acc, W](0)
    for t in range(0, padded, W):
        var e = weight_of[has_mask](scores.unsafe_load[width=W](t) - shift)
        comptime if narrow:
            scores.unsafe_bitcast[BFloat16]().unsafe_store(
                t, e.cast[DType.bfloat16]()
            )
        else:
            scores.unsafe_store(t, e)
        sum += e
    var factor = Scalar[acc](0)
    var sums = sum.reduce_add()
    if not fresh:
        factor = weight_of[has_mask](before - shift)
        sums = fma(total[], factor, sums)
    top[] = now
    total[] = sums
    return factor
