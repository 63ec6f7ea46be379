"""Zeta and incomplete gamma functions, and operations on the parts of numbers."""

from std.math import fma

from maccel.math_basic import abs, floor, isnan, trunc
from maccel.math_basic import round as round_even
from maccel.math_exp import exp, expm1, log
from maccel.math_gamma import lgamma
from maccel.math_poly import (
    BITS,
    INF,
    NAN,
    bits_of,
    constant,
    float_of,
    magnitude,
    narrow,
    polynomial,
    with_sign,
)
from maccel.math_power import power_magnitude

comptime F = DType.float64


@always_inline
def zeta64[w: SIMDLength](s: SIMD[F, w], q: SIMD[F, w]) -> SIMD[F, w]:
    """Computes Hurwitz' zeta function: the sum of (q + k)^-s.

    At least 9 terms are added, and as many as bring q + k above 9, unless they vanish before; the
    rest is the Euler-Maclaurin formula (both as in PyTorch, which has them from Cephes).
    """
    comptime V = SIMD[F, w]
    var whole = q.eq(floor(q))
    var bad = s.lt(1) | (q.le(0) & ~whole & s.ne(trunc(s)))
    var valid = s.gt(1) & ~bad & ~(q.le(0) & whole) & s.eq(s) & q.eq(q)
    var power = valid.select(s, V(2))
    var a = valid.select(q, V(1))
    var odd = (power - 2 * floor(power * 0.5)).eq(1)
    var total = power_magnitude(magnitude(a), -power)
    total = (a.lt(0) & odd).select(-total, total)
    var b = total
    var vanished = SIMD[DType.bool, w](fill=False)
    var count = 0
    var open = a.eq(a)
    while open.reduce_or():
        count += 1
        a = open.select(a + 1, a)
        var term = power_magnitude(magnitude(a), -power)
        term = (a.lt(0) & odd).select(-term, term)
        b = open.select(term, b)
        total += open.select(term, V(0))
        vanished |= open & magnitude(term).lt(1.11e-16 * total)
        open &= ~vanished & (a.le(9) | SIMD[DType.bool, w](fill=count < 9))
    var front = total
    total += a * b / (power - 1) - 0.5 * b
    # B_2k / (2k)! for k = 1 ... 12.
    var u = 1 / (a * a)
    var rising = power * b / a
    comptime weights = [
        8.33333333333333333e-2,
        -1.38888888888888889e-3,
        3.30687830687830688e-5,
        -8.26719576719576720e-7,
        2.08767569878680990e-8,
        -5.28419013868749318e-10,
        1.33825365306846788e-11,
        -3.38968029632258287e-13,
        8.58606205627784456e-15,
        -2.17486869855806187e-16,
        5.50900282836022952e-18,
        -1.39544646858125233e-19,
    ]
    comptime for k in range(12):
        comptime weight = weights[k]
        total = fma(rising, V(weight), total)
        rising *= (
            (power + Float64(2 * k + 1)) * (power + Float64(2 * k + 2)) * u
        )
    var r = valid.select(vanished.select(front, total), V(INF))
    return (bad | isnan(s) | isnan(q)).select(V(NAN), r)


@always_inline
def zeta[
    dt: DType, w: SIMDLength
](s: SIMD[dt, w], q: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Hurwitz' zeta function."""
    return narrow[dt](zeta64(s.cast[F](), q.cast[F]()))


@always_inline
def polygamma[
    dt: DType, w: SIMDLength
](n: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the n-th derivative of digamma for n >= 1: (-1)^(n+1) n! zeta(n + 1, x).

    At infinity PyTorch gives the first one as 0 and the others as NaN, as its zeta function is.
    """
    var order = n.cast[F]()
    var z = zeta64(order + 1, x.cast[F]())
    z = (order.eq(1) & x.cast[F]().eq(INF)).select(SIMD[F, w](0), z)
    var sign = SIMD[F, w](1) - 2 * (order + 1 - 2 * floor((order + 1) * 0.5))
    return narrow[dt](sign * exp(lgamma(order + 1)) * z)


@always_inline
def gamma_lower_series[
    w: SIMDLength
](a: SIMD[F, w], x: SIMD[F, w]) -> SIMD[F, w]:
    """Sums 1 + x/(a+1) + x^2/((a+1)(a+2)) + ..., for x < a + 1."""
    var term = SIMD[F, w](1)
    var total = term
    var k = a
    for _ in range(100_000):
        k += 1
        term *= x / k
        total += term
        if not term.gt(total * 1e-17).reduce_or():
            break
    return total


@always_inline
def gamma_upper_fraction[
    w: SIMDLength
](a: SIMD[F, w], x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes gamma(a, x) e^x x^-a for x >= a + 1 by Lentz' continued fraction.
    """
    var b = x + 1 - a
    var c = SIMD[F, w](1e300)
    var d = 1 / b
    var h = d
    for i in range(1, 100_000):
        var n = Float64(i)
        var an = -n * (n - a)
        b += 2
        d = fma(an, d, b)
        d = 1 / magnitude(d).lt(1e-300).select(SIMD[F, w](1e-300), d)
        c = b + an / c
        c = magnitude(c).lt(1e-300).select(SIMD[F, w](1e-300), c)
        var factor = c * d
        h *= factor
        if not magnitude(factor - 1).gt(2e-16).reduce_or():
            break
    return h


@always_inline
def lgamma_beside_one[w: SIMDLength](a: SIMD[F, w]) -> SIMD[F, w]:
    """Computes log gamma(1 + a) for a >= 0, below 0.01 by its Taylor series."""
    var series = a * polynomial[
        -0.577215664901532861,
        0.822467033424113218,
        -0.400685634386531428,
        0.270580808427784548,
        -0.207385551028673985,
        0.169557176997408190,
        -0.144049896768846118,
        0.125509669524743042,
    ](a)
    return a.lt(0.01).select(series, lgamma(1 + a))


@always_inline
def gamma_upper_series[
    w: SIMDLength
](a: SIMD[F, w], x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes the upper function for small a and x, where 1 minus the lower one cancels.

    x^a / gamma(a + 1) times 1 + a sum of (-x)^n / (n! (a + n)) is the lower one; 1 minus its first
    part is an `expm1`.
    """
    var factor = SIMD[F, w](1)
    var total = SIMD[F, w](0)
    comptime for n in range(1, 24):
        factor *= x * (-1.0 / Float64(n))
        total += factor / (a + Float64(n))
    var front = a * log(x) - lgamma_beside_one(a)
    return -expm1(front) - a * exp(front) * total


@always_inline
def incomplete_gamma[
    upper: Bool, dt: DType, w: SIMDLength
](a: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the regularized incomplete gamma functions (NaN for negative operands).
    """
    comptime V = SIMD[F, w]
    var p = a.cast[F]()
    var y = x.cast[F]()
    var regular = p.gt(0) & y.gt(0) & p.lt(INF) & y.lt(INF)
    var safe_a = regular.select(p, V(1))
    var safe_x = regular.select(y, V(1))
    var near = safe_x.lt(safe_a + 1)
    var front = exp(safe_a * log(safe_x) - safe_x - lgamma(safe_a))
    var low = (
        front * gamma_lower_series(safe_a, near.select(safe_x, V(0))) / safe_a
    )
    var high = front * gamma_upper_fraction(
        safe_a, near.select(safe_a + 2, safe_x)
    )
    # At the ends: nothing below x = 0 or above a = 0, everything below x = inf.
    var none = y.eq(0) & p.gt(0) | (p.eq(INF) & y.lt(INF))
    var all = (p.eq(0) & y.gt(0)) | (y.eq(INF) & p.lt(INF))
    var r: V
    comptime if upper:
        var small = (safe_x.le(0.5) & (-safe_a * log(safe_x)).le(0.4)) | (
            safe_x.gt(0.5) & safe_x.le(1.1) & safe_a.le(1.1 * safe_x)
        )
        var unit = small.select(safe_x, V(1))
        var series = gamma_upper_series(small.select(safe_a, V(1)), unit)
        r = small.select(series, near.select(1 - low, high))
        r = none.select(V(1), all.select(V(0), r))
    else:
        r = near.select(low, 1 - high)
        r = none.select(V(0), all.select(V(1), r))
    var known = (regular | none | all) & p.ge(0) & y.ge(0)
    return narrow[dt](known.select(r, V(NAN)))


@always_inline
def igamma[
    dt: DType, w: SIMDLength
](a: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the lower regularized incomplete gamma function."""
    return incomplete_gamma[False](a, x)


@always_inline
def igammac[
    dt: DType, w: SIMDLength
](a: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the upper regularized incomplete gamma function."""
    return incomplete_gamma[True](a, x)


@always_inline
def signbit[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Returns whether the sign is negative, that of -0 and NaN too."""
    comptime if dt.is_floating_point():
        return with_sign(constant[dt, w](1), x).lt(0)
    elif dt.is_signed():
        return x.lt(0)
    else:
        return SIMD[DType.bool, w](fill=False)


@always_inline
def nextafter[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns the float after x towards y."""
    comptime B = SIMD[BITS[dt], w]
    var away = (y.gt(x).eq(x.gt(0))).select(B(1), B(-1))
    var r = float_of[dt, w](bits_of(x) + away)
    r = x.eq(0).select(with_sign(float_of[dt, w](B(1)), y), r)
    r = x.eq(y).select(y, r)
    return (x.eq(x) & y.eq(y)).select(r, constant[dt, w](NAN))


@always_inline
def gcd[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the greatest common divisor by Euclid's algorithm."""
    var a = abs(x)
    var b = abs(y)
    var open = b.ne(0)
    while open.reduce_or():
        var divisor = open.select(b, SIMD[dt, w](1))
        var rest = a
        comptime for lane in range(w):
            rest[lane] = a[lane] % divisor[lane]
        a = open.select(b, a)
        b = open.select(rest, b)
        open = b.ne(0)
    return a


@always_inline
def lcm[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the least common multiple; 0 if an operand is."""
    var g = gcd(x, y)
    var part = x
    comptime for lane in range(w):
        part[lane] = x[lane] // g[lane] if g[lane] != 0 else Scalar[dt](0)
    return abs(part * y)


@always_inline
def frexp_exponent[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[DType.int32, w]:
    """Returns e of x = m 2^e with 1/2 <= |m| < 1; 0 for 0, infinities and NaN.
    """
    var y = x.cast[F]()
    # Denormals of float64 are scaled up; those of float32 are normal here.
    var tiny = magnitude(y).lt(2.2250738585072014e-308)
    y = tiny.select(y * 18014398509481984.0, y)
    var field = (bits_of(y) >> 52) & 0x7FF
    var e = field - 1022 - tiny.select(SIMD[DType.int64, w](54), 0)
    var plain = y.ne(0) & (y - y).eq(0)
    return plain.select(e, 0).cast[DType.int32]()


@always_inline
def frexp_mantissa[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns m of x = m 2^e with 1/2 <= |m| < 1; 0, infinities and NaN as they are.
    """
    var y = x.cast[F]()
    var tiny = magnitude(y).lt(2.2250738585072014e-308)
    y = tiny.select(y * 18014398509481984.0, y)
    comptime B = SIMD[DType.int64, w]
    var bits = (bits_of(y) & B(-9218868437227405313)) | B(0x3FE0000000000000)
    var m = float_of[F, w](bits)
    var plain = y.ne(0) & (y - y).eq(0)
    return plain.select(narrow[dt](m), x)


@always_inline
def round_decimals[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], scale: SIMD[dt, w], up: SIMD[dt, w]) -> SIMD[dt, w]:
    """Rounds x scale to an integer and scales it back; x / scale, if `up` is 0.
    """
    var coarse = round_even(x / scale) * scale
    var fine = round_even(x * scale) / scale
    return up.eq(0).select(coarse, fine)
