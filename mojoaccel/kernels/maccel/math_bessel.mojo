"""Bessel functions of order 0 and 1, in float64, without tables.

Small arguments by power series, where no term cancels another; middle ones by the trapezoidal rule
on integrals over a period or over the real line, which converges geometrically (Trefethen and
Weideman, 2014), or by Miller's backward recurrence; large ones by Hankel's expansions (Abramowitz
and Stegun, chapter 9).
"""

from std.math import fma

from maccel.math_exp import exp, log
from maccel.math_hyperbolic import asinh, cosh, sinh
from maccel.math_poly import INF, NAN, at_least, at_most, magnitude, narrow
from maccel.math_poly import root, with_sign
from maccel.math_trig import cos, sin

comptime F = DType.float64
comptime EULER = 0.57721566490153286061
comptime PI = 3.14159265358979323846
comptime FAR = 25.0
"""Where Hankel's expansion of J and Y begins."""
comptime FAR_MODIFIED = 30.0
comptime NODES = 20
"""Nodes of the trapezoidal rule in a quarter of the circle: exact to float64 below `FAR`."""


@always_inline
def modified_series[
    order: Int, w: SIMDLength
](x: SIMD[F, w], count: Int) -> SIMD[F, w]:
    """Computes I_order(x) by its power series."""
    var z = 0.25 * x * x
    var term = SIMD[F, w](1)
    comptime if order == 1:
        term = 0.5 * x
    var total = term
    for k in range(1, count):
        term = term * z * (1 / Float64(k * (k + order)))
        total += term
    return total


@always_inline
def modified_scaled[order: Int, w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes e^-x I_order(x) for x >= 0."""
    var near = at_most(x, FAR_MODIFIED)
    var small = modified_series[order](near, 64) * exp(-near)
    var far = 1 / at_least(x, FAR_MODIFIED)
    var term = SIMD[F, w](1)
    var total = term
    for k in range(1, 28):
        var odd = Float64((2 * k - 1) * (2 * k - 1) - 4 * order)
        term = term * far * (odd / Float64(8 * k))
        total += term
    var large = total * root(far * (0.5 / PI))
    return x.gt(FAR_MODIFIED).select(large, small)


@always_inline
def modified[
    order: Int, scaled: Bool, dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes I of one order, e^-|x| times it if `scaled`; NaN at the infinities unless `scaled`, as
    in PyTorch.
    """
    var y = x.cast[F]()
    var a = magnitude(y)
    var r = modified_scaled[order](a)
    comptime if not scaled:
        # In two halves, so that only the result overflows.
        var half = exp(0.5 * a)
        r = a.gt(1500).select(SIMD[F, w](INF), r * half * half)
        r = a.eq(INF).select(SIMD[F, w](NAN), r)
    else:
        r = a.eq(INF).select(SIMD[F, w](0), r)
    comptime if order == 1:
        r = with_sign(r, y)
    return narrow[dt](y.eq(y).select(r, y))


@always_inline
def i0[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the modified Bessel function I0."""
    return modified[0, False](x)


@always_inline
def i0e[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^-|x| I0(x)."""
    return modified[0, True](x)


@always_inline
def i1[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the modified Bessel function I1."""
    return modified[1, False](x)


@always_inline
def i1e[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^-|x| I1(x)."""
    return modified[1, True](x)


@always_inline
def modified_second_near[
    order: Int, w: SIMDLength
](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes K_order(x) for 0 < x <= 2 by its series with the logarithm."""
    var z = 0.25 * x * x
    var l = log(0.5 * x)
    var term = SIMD[F, w](1)
    # The sum of 1/1 ... 1/k enters through psi(k + 1) = H_k - gamma.
    var harmonic = Float64(0)
    var total: SIMD[F, w]
    comptime if order == 0:
        total = -(l + EULER)
    else:
        total = l + EULER - 0.5
    for k in range(1, 18):
        harmonic += 1 / Float64(k)
        term = term * z * (1 / Float64(k * (k + order)))
        comptime if order == 0:
            total = fma(term, harmonic - l - EULER, total)
        else:
            var mean = harmonic - EULER + 0.5 / Float64(k + 1)
            total = fma(term, l - mean, total)
    comptime if order == 0:
        return total
    else:
        return 1 / x + 0.5 * x * total


@always_inline
def modified_second_far[order: Int, w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes e^x K_order(x) for x >= 2: the integral of e^(-x (cosh t - 1)) cosh(order t).
    """
    comptime count = 24
    var step = 2 * asinh(root(20 / x)) * (1.0 / Float64(count))
    var total = SIMD[F, w](0.5)
    for k in range(1, count + 1):
        var t = step * Float64(k)
        var s = sinh(0.5 * t)
        var value = exp(-2 * x * s * s)
        comptime if order == 1:
            value *= cosh(t)
        total += value
    return step * total


@always_inline
def modified_second[
    order: Int, scaled: Bool, dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes K of one order, e^x times it if `scaled`; infinite at 0, NaN below.
    """
    var y = x.cast[F]()
    var near = modified_second_near[order](at_most(y, 2.0))
    var far = modified_second_far[order](at_least(at_most(y, 1e300), 2.0))
    comptime if scaled:
        near *= exp(at_most(y, 2.0))
    else:
        far *= exp(-at_least(y, 2.0))
    var r = y.le(2).select(near, far)
    r = y.eq(INF).select(SIMD[F, w](0), r)
    r = y.eq(0).select(SIMD[F, w](INF), r)
    return narrow[dt](y.ge(0).select(r, SIMD[F, w](NAN)))


@always_inline
def k0[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the modified Bessel function K0."""
    return modified_second[0, False](x)


@always_inline
def k1[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the modified Bessel function K1."""
    return modified_second[1, False](x)


@always_inline
def k0e[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^x K0(x)."""
    return modified_second[0, True](x)


@always_inline
def k1e[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^x K1(x)."""
    return modified_second[1, True](x)


@always_inline
def hankel[
    order: Int, second: Bool, w: SIMDLength
](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes J (or Y, if `second`) for x >= `FAR` by Hankel's expansion."""
    var r = 1 / x
    var even = SIMD[F, w](1)
    var odd = SIMD[F, w](0)
    var term = SIMD[F, w](1)
    for k in range(1, 15):
        var m = 2 * k - 1
        var first = Float64(4 * order - (2 * m - 1) * (2 * m - 1))
        term = term * r * (first / Float64(8 * m))
        odd += term
        var then = Float64(4 * order - (2 * m + 1) * (2 * m + 1))
        term = -term * r * (then / Float64(8 * (m + 1)))
        even += term
    # The phase is x - pi/4, or x - 3 pi/4.
    var s = sin(x)
    var c = cos(x)
    var cosine = s + c
    var sine = s - c
    comptime if order == 1:
        cosine = s - c
        sine = -(s + c)
    var scale = root(r * (1.0 / PI))
    comptime if second:
        return scale * (even * sine + odd * cosine)
    else:
        return scale * (even * cosine - odd * sine)


@always_inline
def first_kind_near[order: Int, w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes J_order(x) below `FAR`: the mean of cos(x sin t) over a quarter of the circle.
    """
    var total = SIMD[F, w](0)
    for k in range(NODES):
        var node = sin(Float64(2 * k + 1) * (PI / Float64(4 * NODES)))
        comptime if order == 0:
            total += cos(x * node)
        else:
            total = fma(sin(x * node), SIMD[F, w](node), total)
    return total * (1.0 / Float64(NODES))


@always_inline
def first_kind[
    order: Int, dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes J of one order; NaN at the infinities, as in PyTorch."""
    var y = x.cast[F]()
    var a = magnitude(y)
    var near = first_kind_near[order](at_most(a, FAR))
    var far = hankel[order, False](at_least(at_most(a, 1e300), FAR))
    var r = a.lt(FAR).select(near, far)
    r = a.eq(INF).select(SIMD[F, w](NAN), r)
    comptime if order == 1:
        r = y.lt(0).select(-r, r)
    return narrow[dt](y.eq(y).select(r, y))


@always_inline
def bessel_j0[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the Bessel function J0."""
    return first_kind[0](x)


@always_inline
def bessel_j1[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the Bessel function J1."""
    return first_kind[1](x)


@always_inline
def second_kind_series[order: Int, w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes Y_order(x) for 0 < x <= 2 by its series with the logarithm."""
    var z = 0.25 * x * x
    var l = log(0.5 * x) + EULER
    var term = SIMD[F, w](1)
    var harmonic = Float64(0)
    var total = l
    comptime if order == 1:
        total = l - 0.5
    for k in range(1, 18):
        harmonic += 1 / Float64(k)
        term = -term * z * (1 / Float64(k * (k + order)))
        var mean = harmonic
        comptime if order == 1:
            mean += 0.5 / Float64(k + 1)
        total = fma(term, l - mean, total)
    comptime if order == 0:
        return total * (2 / PI)
    else:
        return (0.5 * x * total - 1 / x) * (2 / PI)


@always_inline
def second_kind_middle[order: Int, w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes Y_order(x) between 2 and `FAR` by Neumann's series.

    Its J_k come from the recurrence run downwards from J_80, where it is stable, and are scaled by
    J0 + 2 J2 + 2 J4 + ... = 1.
    """
    comptime V = SIMD[F, w]
    var above = V(0)
    var here = V(1e-200)
    var norm = V(0)
    var series = V(0)
    var lowest = V(0)
    for step in range(80):
        var k = 80 - step
        var below = here * (2 * Float64(k) / x) - above
        above = here
        here = below
        var n = k - 1
        if n % 2 == 0:
            norm += below if n == 0 else 2 * below
        if n == order:
            lowest = below
        elif n > order and (n - order) % 2 == 0:
            var j = Float64((n - order) // 2)
            var weight = 1 / j
            comptime if order == 1:
                weight = (2 * j + 1) / (j * (j + 1))
            series += below * (
                weight if ((n - order) // 2) % 2 == 0 else -weight
            )
    var l = log(0.5 * x) + EULER
    comptime if order == 1:
        l -= 1
    # `here` is J0 before scaling.
    var r = l * lowest - 2 * series
    comptime if order == 1:
        r = l * lowest - series - here / x
    return r / norm * (2 / PI)


@always_inline
def second_kind[
    order: Int, dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Y of one order: -inf at 0, NaN below and, as in PyTorch, at infinity.
    """
    var y = x.cast[F]()
    var r = second_kind_series[order](at_most(y, 2.0))
    var middle = second_kind_middle[order](at_least(at_most(y, FAR), 2.0))
    var far = hankel[order, True](at_least(at_most(y, 1e300), FAR))
    r = y.gt(2).select(middle, r)
    r = y.ge(FAR).select(far, r)
    r = y.eq(INF).select(SIMD[F, w](NAN), r)
    r = y.eq(0).select(SIMD[F, w](-INF), r)
    return narrow[dt](y.ge(0).select(r, SIMD[F, w](NAN)))


@always_inline
def bessel_y0[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the Bessel function Y0."""
    return second_kind[0](x)


@always_inline
def bessel_y1[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the Bessel function Y1."""
    return second_kind[1](x)


@always_inline
def spherical_bessel_j0[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes sin(x) / x; 1 at 0."""
    var y = x.cast[F]()
    var safe = y.eq(0).select(SIMD[F, w](1), y)
    var r = y.eq(0).select(SIMD[F, w](1), sin(safe) / safe)
    return narrow[dt](magnitude(y).eq(INF).select(SIMD[F, w](0), r))
