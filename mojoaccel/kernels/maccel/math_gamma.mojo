"""The logarithm of the gamma function and its derivative, in float64 for all types."""

from std.math import fma

from maccel.math_basic import round
from maccel.math_exp import log, log1p
from maccel.math_poly import (
    INF,
    NAN,
    constant,
    magnitude,
    narrow,
    polynomial,
    with_sign,
)
from maccel.math_trig import sin, tan


@always_inline
def lgamma_positive[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log gamma(x) for x > 0.

    Below 8 by the recurrence from [1.5, 2.5], where log gamma(2 + z) is z times a rational;
    beyond by Stirling's series.
    """
    comptime V = SIMD[dt, w]
    # Bring y to [1.5, 2.5]: factors multiply up on the way down.
    var y = x
    var product = V(1)
    comptime for _ in range(6):
        var down = y.gt(constant[dt, w](2.5))
        y = down.select(y - 1, y)
        product = down.select(product * y, product)
    # log gamma(y) = log gamma(2 + z) - shift, z taken without rounding: the zeros at 1 and 2
    # are z = 0 or log gamma(2 + z) = log(1 + z).
    var low = y.lt(constant[dt, w](1.5))
    var lower = y.lt(constant[dt, w](0.5))
    var z = lower.select(y, low.select(y - 1, y - 2))
    var step = log1p(z)
    var shift = lower.select(log(y) + step, low.select(step, V(0)))
    var p = polynomial[
        0.422784335098467139,
        1.05724020694208855,
        0.997394382899865252,
        0.461425467840871527,
        0.111261723830886588,
        0.0134658208545779302,
        0.000701132818636732137,
        0.0000100790099830317411,
    ](z)
    var q = polynomial[
        1.0,
        1.73793850083600069,
        1.19285122330152286,
        0.409768307046243427,
        0.0735211720803252256,
        0.00650872180453795306,
        0.000236125105524995073,
        2.05319392403097103e-6,
    ](z)
    var near = z * (p / q) + log(product) - shift
    var u = 1 / x
    var series = polynomial[
        0.0833333333333333333,
        -0.00277777777777777778,
        0.000793650793650793651,
        -0.000595238095238095238,
        0.000841750841750841751,
        -0.00191752691752691753,
        0.00641025641025641026,
        -0.0295506535947712418,
    ](u * u)
    var far = fma(x - constant[dt, w](0.5), log(x) - 1, u * series) + constant[
        dt, w
    ](0.41893853320467274178)
    # Beyond 1e305 the product overflows as it should; at inf the sum is inf - inf.
    far = x.eq(constant[dt, w](INF)).select(x, far)
    return x.gt(8).select(far, near)


@always_inline
def lgamma[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log |gamma(x)|; infinite at 0 and the negative integers."""
    comptime if dt == DType.float64:
        comptime V = SIMD[dt, w]
        var a = magnitude(x)
        var inf = constant[dt, w](INF)
        var safe = a.lt(constant[dt, w](1e-300)).select(
            constant[dt, w](1e-300), a
        )
        var positive = lgamma_positive(safe)
        # Reflection: |gamma(-a)| = pi / (a |sin(pi a)| gamma(a)).
        var part = magnitude(a - round(a))
        var s = magnitude(sin(constant[dt, w](3.14159265358979323846) * part))
        var reflected = (
            constant[dt, w](1.14472988584940017414) - log(safe * s) - positive
        )
        reflected = part.eq(0).select(inf, reflected)
        # Near 0 gamma is 1/|x|.
        var tiny = -log(a)
        var r = x.lt(0).select(reflected, positive)
        r = a.lt(constant[dt, w](1e-20)).select(tiny, r)
        return a.eq(inf).select(inf, r)
    else:
        return narrow[dt](lgamma(x.cast[DType.float64]()))


@always_inline
def digamma[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes gamma'(x) / gamma(x); NaN at negative integers, -inf at 0 (inf at -0).
    """
    comptime if dt == DType.float64:
        comptime V = SIMD[dt, w]
        # Reflection: psi(x) = psi(1 - x) - pi / tan(pi x).
        var negative = x.le(0)
        var part = x - round(x)
        var y = negative.select(1 - x, x)
        var total = V(0)
        comptime for _ in range(10):
            var small = y.lt(10)
            total = small.select(total - 1 / y, total)
            y = small.select(y + 1, y)
        var u = 1 / y
        var z = u * u
        var series = z * polynomial[
            0.0833333333333333333,
            -0.00833333333333333333,
            0.00396825396825396825,
            -0.00416666666666666667,
            0.00757575757575757576,
            -0.0210927960927960928,
            0.0833333333333333333,
        ](z)
        var r = total + log(y) - constant[dt, w](0.5) * u - series
        var pi = constant[dt, w](3.14159265358979323846)
        r = negative.select(r - pi / tan(pi * part), r)
        r = (negative & part.eq(0)).select(constant[dt, w](NAN), r)
        return x.eq(0).select(with_sign(constant[dt, w](INF), -x), r)
    else:
        return narrow[dt](digamma(x.cast[DType.float64]()))
