"""The Airy function Ai, in float64, without tables.

Near 0 by its two power series; elsewhere by the trapezoidal rule on
Ai(x) = e^-z / pi * integral over t >= 0 of e^(-sqrt(x) t^2) cos(t^3 / 3), z = 2/3 x^(3/2)
(Abramowitz and Stegun, chapter 10; Gil, Segura and Temme, Numerical Methods for Special Functions,
2007), which converges geometrically. Below 0 the same integral is taken along the two rays where
Ai(-x) = 2 Re(e^(i pi / 3) Ai(x e^(i pi / 3))).
"""

from maccel.math_exp import exp
from maccel.math_poly import INF, NAN, at_least, at_most, magnitude, narrow
from maccel.math_poly import root
from maccel.math_trig import cos, sin

comptime F = DType.float64
comptime PI = 3.14159265358979323846
comptime ROOT3 = 1.7320508075688772935
comptime NODES = 44
comptime STEP = 6.3 / Float64(NODES)
"""Distance of two nodes; e^(-6.3^2) is below float64's rounding."""


@always_inline
def airy_near[w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes Ai(x) for |x| <= 2."""
    var cube = x * x * x
    var even = SIMD[F, w](1)
    var odd = x
    var f = even
    var g = odd
    for k in range(1, 16):
        var n = Float64(3 * k)
        even = even * cube * (1 / ((n - 1) * n))
        odd = odd * cube * (1 / (n * (n + 1)))
        f += even
        g += odd
    # Ai(0) and -Ai'(0).
    return 0.355028053887817239 * f - 0.258819403792806798 * g


@always_inline
def airy_above[w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes Ai(x) for x >= 2."""
    var r = root(x)
    var width = 1 / root(r)
    var total = SIMD[F, w](0.5)
    for k in range(1, NODES + 1):
        var s = STEP * Float64(k)
        var t = s * width
        total += exp(-s * s) * cos(t * t * t * (1.0 / 3.0))
    return exp(x * r * (-2.0 / 3.0)) * width * total * (STEP / PI)


@always_inline
def airy_below[w: SIMDLength](x: SIMD[F, w]) -> SIMD[F, w]:
    """Computes Ai(-x) for x >= 2."""
    var r = root(x)
    var width = 1 / root(r * (0.5 * ROOT3))
    var real = SIMD[F, w](0.5)
    var imaginary = SIMD[F, w](0)
    for k in range(1, NODES + 1):
        var s = STEP * Float64(k)
        var t = s * width
        var value = exp(-s * s) * cos(t * t * t * (1.0 / 3.0))
        # The turn of e^(-sqrt(x) e^(i pi / 6) t^2), the same for every x.
        var turn = s * s * (1.0 / ROOT3)
        real += value * cos(turn)
        imaginary -= value * sin(turn)
    var phase = PI / 3.0 - x * r * (2.0 / 3.0)
    var sum = cos(phase) * real - sin(phase) * imaginary
    return sum * width * (2.0 * STEP / PI)


@always_inline
def airy_ai[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the Airy function Ai; NaN at the infinities, as in PyTorch."""
    var y = x.cast[F]()
    var r = airy_near(at_least(at_most(y, 2.0), -2.0))
    r = y.gt(2).select(airy_above(at_least(at_most(y, 1e3), 2.0)), r)
    r = y.lt(-2).select(airy_below(at_least(at_most(-y, 1e300), 2.0)), r)
    r = magnitude(y).eq(INF).select(SIMD[F, w](NAN), r)
    return narrow[dt](y.eq(y).select(r, y))
