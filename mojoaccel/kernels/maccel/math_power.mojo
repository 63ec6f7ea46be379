"""Real powers: x^y = 2^(y log2 x), with log2 x to more bits than the result has."""

from std.math import fma

from maccel.math_basic import trunc
from maccel.math_exp import (
    decompose,
    exp2,
    log,
    log1p_fraction,
    log_series,
)
from maccel.math_poly import INF, NAN, constant, magnitude, narrow, root


@always_inline
def power_magnitude[
    dt: DType, w: SIMDLength
](a: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes a^y for a > 0 (finite, not 0).

    float32 runs in float64. float64 carries log2 a as a sum of two values: f - f^2/2 is kept
    exact, and so is the product with y; only the rest of the series is rounded.
    """
    comptime if dt == DType.float64:
        comptime inverse_high = 1.4426950408889634
        comptime inverse_low = 2.0355273740931033e-17
        var d = decompose(a)
        var f = d.fraction
        # log(1 + f) = f + rest; rest = -f^2/2 (exact in two parts) + (higher terms).
        var square = f * f
        var square_low = fma(f, f, -square)
        var higher = log1p_higher(f)
        var half = constant[dt, w](0.5) * square
        var high = f - half
        var low = (f - high) - half
        low = low - constant[dt, w](0.5) * square_low + higher
        var sum = high + low
        low = (high - sum) + low
        high = sum
        # Times 1/ln 2.
        var p = high * constant[dt, w](inverse_high)
        var p_low = fma(high, constant[dt, w](inverse_high), -p)
        p_low += high * constant[dt, w](inverse_low)
        p_low = fma(low, constant[dt, w](inverse_high), p_low)
        # Plus the exponent (|k| >= 1 exceeds |p|).
        sum = d.exponent + p
        var left = (d.exponent - sum) + p
        var l_low = d.exponent.eq(0).select(p_low, left + p_low)
        var l = d.exponent.eq(0).select(p, sum)
        # Times y.
        var t = y * l
        var t_low = fma(y, l_low, fma(y, l, -t))
        # 2^(t + t_low); where t overflows, t_low means nothing.
        var wild = magnitude(t).ge(constant[dt, w](1100.0))
        t_low = wild.select(constant[dt, w](0), t_low)
        # Half of a large power, so that only the result may overflow.
        var large = t.gt(1) & t.lt(constant[dt, w](1100.0))
        var e = exp2(large.select(t - 1, t))
        e = e.lt(constant[dt, w](INF)).select(
            fma(e, t_low * constant[dt, w](0.69314718055994530942), e), e
        )
        return large.select(e + e, e)
    else:
        var a64 = a.cast[DType.float64]()
        var d = decompose(a64)
        var l = d.fraction + log1p_fraction(d.fraction)
        l = fma(l, SIMD[DType.float64, w](1.44269504088896340736), d.exponent)
        var t = y.cast[DType.float64]() * l
        return narrow[dt](exp2(t))


@always_inline
def log1p_higher[dt: DType, w: SIMDLength](f: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(1 + f) - f + f^2/2 = s (f^2/2 + R(s^2)), s = f/(2+f)."""
    var half_square = constant[dt, w](0.5) * f * f
    var s = f / (f + 2)
    var rest = log_series(s * s)
    return s * (half_square + rest)


@always_inline
def power[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x^y for floats with the special cases of C's pow."""
    comptime V = SIMD[dt, w]
    var zero = V(0)
    var one = V(1)
    var inf = constant[dt, w](INF)
    var a = magnitude(x)
    var r = power_magnitude(a, y)
    # 0 and inf to the power y.
    var up = y.gt(zero)
    r = a.eq(zero).select(up.select(zero, inf), r)
    r = a.eq(inf).select(up.select(inf, zero), r)
    # Powers of infinite exponent.
    var grows = a.gt(one) ^ y.lt(zero)
    r = magnitude(y).eq(inf).select(grows.select(inf, zero), r)
    r = (magnitude(y).eq(inf) & a.eq(one)).select(one, r)
    # Negative bases: the sign of an odd whole exponent, NaN for a fraction.
    var whole = trunc(y).eq(y)
    var half = y * constant[dt, w](0.5)
    var odd = whole & ~trunc(half).eq(half)
    var negative = x.lt(zero) | (x.eq(zero) & (one / x).lt(zero))
    r = (negative & odd).select(-r, r)
    r = (x.lt(zero) & ~whole & a.lt(inf)).select(constant[dt, w](NAN), r)
    r = (x.eq(x) & y.eq(y)).select(r, constant[dt, w](NAN))
    return (y.eq(zero) | x.eq(one)).select(one, r)


@always_inline
def hypot[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes sqrt(x^2 + y^2) without overflow."""
    comptime if dt == DType.float64:
        var a = magnitude(x)
        var b = magnitude(y)
        var big = a.gt(b).select(a, b)
        var small = a.gt(b).select(b, a)
        var t = small / big.eq(0).select(SIMD[dt, w](1), big)
        var r = big * root(fma(t, t, 1))
        var inf = constant[dt, w](INF)
        r = (x.eq(x) & y.eq(y)).select(r, constant[dt, w](NAN))
        return (a.eq(inf) | b.eq(inf)).select(inf, r)
    else:
        var a = x.cast[DType.float64]()
        var b = y.cast[DType.float64]()
        var r = narrow[dt](root(fma(a, a, b * b)))
        var inf = constant[dt, w](INF)
        return (magnitude(x).eq(inf) | magnitude(y).eq(inf)).select(inf, r)


@always_inline
def xlogy[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x log(y); 0 where x is 0, unless y is NaN."""
    var r = x * log(y)
    var zero = SIMD[dt, w](0)
    return (x.eq(zero) & y.eq(y)).select(zero, r)
