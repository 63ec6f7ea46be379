"""Trigonometric functions and their inverses for float32 and float64.

Arguments are reduced modulo pi/2 by three-part subtraction (Cody and Waite); the few that are
too large for it by the bits of 2/pi (Payne and Hanek), one lane at a time.
"""

from std.math import fma

from maccel.math_poly import (
    BITS,
    INF,
    ROUNDER,
    bits_of,
    constant,
    magnitude,
    narrow,
    polynomial,
    root,
    with_sign,
)
from maccel.math_reduce import reduce_huge


@fieldwise_init
struct Quadrant[dt: DType, w: SIMDLength](
    Copyable, Movable, TrivialRegisterPassable
):
    """An angle as quarter * pi/2 + rest + low, |rest| <= pi/4."""

    var quarter: SIMD[BITS[Self.dt], Self.w]
    var rest: SIMD[Self.dt, Self.w]
    var low: SIMD[Self.dt, Self.w]


@always_inline
def reduce_angle[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Quadrant[dt, w]:
    """Reduces an angle modulo pi/2; infinities become NaN."""
    comptime V = SIMD[dt, w]
    var rounder = constant[dt, w](ROUNDER[dt])
    var t = fma(x, constant[dt, w](0.63661977236758134308), rounder)
    var n = t - rounder
    var quarter = bits_of(t)
    var rest: V
    var low: V
    comptime if dt == DType.float64:
        comptime first = 1.5707963267948966
        comptime second = 6.123233995736766e-17
        comptime third = -1.4973849048591698e-33
        var a = fma(n, constant[dt, w](-first), x)
        rest = fma(n, constant[dt, w](-second), a)
        low = fma(n, constant[dt, w](-second), a - rest)
        low = fma(n, constant[dt, w](-third), low)
    else:
        comptime first = 1.57079637050628662109375
        comptime second = -4.371138828673793e-08
        comptime third = -1.7151245100058819e-15
        var a = fma(n, constant[dt, w](-first), x)
        rest = fma(n, constant[dt, w](-second), a)
        low = fma(n, constant[dt, w](-second), a - rest)
        low = fma(n, constant[dt, w](-third), low)
    comptime limit = 1e9 if dt == DType.float64 else 1e4
    var huge = ~magnitude(x).lt(constant[dt, w](limit))
    if huge.reduce_or():
        comptime for lane in range(w):
            if huge[lane]:
                var r = reduce_huge(x[lane].cast[DType.float64]())
                quarter[lane] = Scalar[BITS[dt]](r.quarter)
                rest[lane] = r.rest.cast[dt]()
                low[lane] = (
                    r.rest - rest[lane].cast[DType.float64]() + r.low
                ).cast[dt]()
    return Quadrant[dt, w](quarter, rest, low)


@always_inline
def sin_reduced[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], low: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes sin(x + low) for |x| <= pi/4."""
    var z = x * x
    comptime if dt == DType.float64:
        var p = polynomial[
            -0.166666666666666312,
            0.00833333333332216972,
            -0.000198412698295953179,
            2.75573136144462381e-6,
            -2.50507455440566599e-8,
            1.58960454266213434e-10,
        ](z)
        return x + fma(x * z, p, low)
    else:
        var p = polynomial[
            -0.166666666412651086,
            0.00833332934421099919,
            -0.000198393210749247662,
            2.71817594958131467e-6,
        ](z)
        return x + fma(x * z, p, low)


@always_inline
def cos_reduced[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], low: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes cos(x + low) for |x| <= pi/4."""
    var z = x * x
    var half = constant[dt, w](0.5) * z
    var top = 1 - half
    # What the rounding of 1 - z/2 lost, and the effect of the low part.
    var lost = ((1 - top) - half) - x * low
    comptime if dt == DType.float64:
        var p = polynomial[
            0.0416666666666665975,
            -0.0013888888888873785,
            0.0000248015872892644241,
            -2.75573142870722532e-7,
            2.08757140552673074e-9,
            -1.13591524604538901e-11,
        ](z)
        return top + fma(z * z, p, lost)
    else:
        var p = polynomial[
            0.0416666468109414423,
            -0.00138873629216728084,
            0.0000244377524547879523,
        ](z)
        return top + fma(z * z, p, lost)


@always_inline
def turned[
    dt: DType, w: SIMDLength
](q: Quadrant[dt, w], turn: Int) -> SIMD[dt, w]:
    """Computes sin(angle + turn * pi/2)."""
    comptime I = SIMD[BITS[dt], w]
    var quarter = q.quarter + I(turn)
    var s = sin_reduced(q.rest, q.low)
    var c = cos_reduced(q.rest, q.low)
    var y = (quarter & I(1)).eq(I(0)).select(s, c)
    return (quarter & I(2)).eq(I(0)).select(y, -y)


@always_inline
def sin[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the sine (at most 1 ulp)."""
    var y = turned(reduce_angle(x), 0)
    return x.eq(0).select(x, y)


@always_inline
def cos[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the cosine (at most 1 ulp)."""
    return turned(reduce_angle(x), 1)


@always_inline
def tan[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the tangent as a quotient (at most 3 ulp)."""
    comptime I = SIMD[BITS[dt], w]
    var q = reduce_angle(x)
    var s = sin_reduced(q.rest, q.low)
    var c = cos_reduced(q.rest, q.low)
    var even = (q.quarter & I(1)).eq(I(0))
    var y = even.select(s, -c) / even.select(c, s)
    return x.eq(0).select(x, y)


@always_inline
def atan_positive[dt: DType, w: SIMDLength](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes atan(a) for a >= 0 to float64 accuracy: by 1/a beyond 1."""
    var invert = a.gt(1)
    var t = invert.select(1 / a, a)
    var z = t * t
    var p = polynomial[
        -0.333333333333333235,
        -0.812962089265322906,
        -0.714956627220837092,
        -0.27429082918524091,
        -0.0436699100557069047,
        -0.00213421514509559477,
        -2.28118562343662369e-6,
    ](z)
    var q = polynomial[
        1.0,
        3.03888626779593579,
        3.53963021376992144,
        1.97760412007058111,
        0.540822641710980383,
        0.0652104100499624632,
        0.00248109495790422336,
    ](z)
    var y = fma(t * z, p / q, t)
    return invert.select(constant[dt, w](1.57079632679489661923) - y, y)


@always_inline
def atan[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse tangent (float32 by way of float64)."""
    comptime if dt == DType.float64:
        return with_sign(atan_positive(magnitude(x)), x)
    else:
        return narrow[dt](atan(x.cast[DType.float64]()))


@always_inline
def atan2[
    dt: DType, w: SIMDLength
](y: SIMD[dt, w], x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the angle of the point (x, y)."""
    comptime if dt == DType.float64:
        comptime V = SIMD[dt, w]
        var pi = constant[dt, w](3.14159265358979323846)
        var a = magnitude(y)
        var b = magnitude(x)
        var both_zero = a.eq(0) & b.eq(0)
        var inf = constant[dt, w](INF)
        var both_inf = a.eq(inf) & b.eq(inf)
        var t = a / both_zero.select(V(1), b)
        t = both_inf.select(V(1), t)
        var r = atan_positive(t)
        # The sign bit of x decides, also for -0.
        r = with_sign(V(1), x).lt(0).select(pi - r, r)
        return with_sign(r, y)
    else:
        return narrow[dt](
            atan2(y.cast[DType.float64](), x.cast[DType.float64]())
        )


@always_inline
def asin_half[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes asin for 0 <= x <= 1/2 to float64 accuracy."""
    var z = x * x
    var p = polynomial[
        0.166666666666666588,
        -0.326810690459415,
        0.202981997007148917,
        -0.0406837879860816296,
        0.000814732985659496047,
        0.0000363356400523378612,
    ](z)
    var q = polynomial[
        1.0,
        -2.41086414275657129,
        2.03492370343106755,
        -0.696342880174809203,
        0.0784213353975084776,
    ](z)
    return fma(x * z, p / q, x)


@always_inline
def asin[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse sine; NaN outside [-1, 1]."""
    comptime if dt == DType.float64:
        var a = magnitude(x)
        var far = a.gt(constant[dt, w](0.5))
        var t = root((1 - a) * constant[dt, w](0.5))
        var y = asin_half(far.select(t, a))
        y = far.select(constant[dt, w](1.57079632679489661923) - 2 * y, y)
        return with_sign(y, x)
    else:
        return narrow[dt](asin(x.cast[DType.float64]()))


@always_inline
def acos[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse cosine; NaN outside [-1, 1]."""
    comptime if dt == DType.float64:
        var a = magnitude(x)
        var far = a.gt(constant[dt, w](0.5))
        var t = root((1 - a) * constant[dt, w](0.5))
        var y = asin_half(far.select(t, a))
        var negative = x.lt(0)
        var pi = constant[dt, w](3.14159265358979323846)
        var outer = negative.select(pi - 2 * y, 2 * y)
        var inner = constant[dt, w](1.57079632679489661923) - with_sign(y, x)
        return far.select(outer, inner)
    else:
        return narrow[dt](acos(x.cast[DType.float64]()))
