"""Orthogonal polynomials of any degree, with torch.special's meaning of degrees and end points.

The degree comes as a float and is cut to an integer; a negative one gives 0. All are computed in
float64 by their three-term recurrence; Chebyshev's of high degree inside [-1, 1] by their cosines.
"""

from maccel.math_basic import trunc
from maccel.math_poly import INF, NAN, magnitude, narrow, with_sign
from maccel.math_trig import acos, cos, sin

comptime FIRST = 0
"""Chebyshev's polynomial of the first kind; the other kinds follow."""
comptime SECOND = 1
comptime THIRD = 2
comptime FOURTH = 3
comptime HERMITE = 4
comptime HERMITE_PROBABILIST = 5
comptime LAGUERRE = 6
comptime LEGENDRE = 7
comptime LARGEST = 3.4028234663852886e38
"""The largest number of float32."""
comptime LONGEST = 512
"""Degree beyond which torch.special answers NaN for Hermite's polynomials of float64."""


@always_inline
def chebyshev_inside[
    family: Int, w: SIMDLength
](x: SIMD[DType.float64, w], n: SIMD[DType.float64, w]) -> SIMD[
    DType.float64, w
]:
    """Computes Chebyshev's polynomials for |x| < 1 from the angle of x."""
    var angle = acos(x)
    comptime if family == FIRST:
        return cos(n * angle)
    elif family == SECOND:
        return sin((n + 1) * angle) / sin(angle)
    elif family == THIRD:
        return cos((n + 0.5) * angle) / cos(angle * 0.5)
    else:
        return sin((n + 0.5) * angle) / sin(angle * 0.5)


@always_inline
def held[
    dt: DType, w: SIMDLength
](x: SIMD[DType.float64, w]) -> SIMD[DType.float64, w]:
    """Returns x, or an infinity where it is too large for `dt`."""
    comptime if dt == DType.float64:
        return x
    var far = magnitude(x).gt(LARGEST)
    return far.select(with_sign(SIMD[DType.float64, w](INF), x), x)


@always_inline
def orthogonal[
    family: Int, dt: DType, w: SIMDLength
](x: SIMD[DType.float64, w], degree: SIMD[DType.float64, w]) -> SIMD[
    DType.float64, w
]:
    """Computes the polynomial of one family and degree at x.

    What `dt` cannot hold is infinite on the way too: the difference of two infinities that follows
    is why PyTorch answers NaN far outside.
    """
    comptime V = SIMD[DType.float64, w]
    var n = trunc(degree)
    var p = V(1)
    var q = x
    comptime if family == SECOND or family == HERMITE:
        q = 2 * x
    elif family == THIRD:
        q = 2 * x - 1
    elif family == FOURTH:
        q = 2 * x + 1
    elif family == LAGUERRE:
        q = 1 - x
    var far = n.gt(8) & magnitude(x).lt(1)
    var steps = n
    comptime if family <= FOURTH:
        steps = far.select(V(1), n)
    var k = Float64(1)
    # An infinite value is no number one or two steps later, so that the loop ends for every degree.
    var open = steps.gt(k) & q.eq(q)
    while open.reduce_or():
        var next: V
        comptime if family <= FOURTH:
            next = 2 * x * q - p
        elif family == HERMITE:
            next = 2 * x * q - 2 * k * p
        elif family == HERMITE_PROBABILIST:
            next = x * q - k * p
        elif family == LAGUERRE:
            next = ((2 * k + 1 - x) * q - k * p) / (k + 1)
        else:
            next = ((2 * k + 1) * x * q - k * p) / (k + 1)
        next = held[dt](next)
        p = open.select(q, p)
        q = open.select(next, q)
        k += 1
        open = steps.gt(k) & q.eq(q)
    comptime if family <= FOURTH:
        if far.reduce_or():
            q = far.select(chebyshev_inside[family](x, n), q)
    elif family <= HERMITE_PROBABILIST:
        var too_long = n.gt(Float64(LONGEST))
        q = too_long.select(V(NAN), q)
    q = n.eq(0).select(V(1), q)
    return n.lt(0).select(V(0), q)


@always_inline
def in_family[
    family: Int, shifted: Bool, dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes in float64; shifted polynomials live on [0, 1]."""
    var y = x.cast[DType.float64]()
    comptime if shifted:
        y = 2 * y - 1
    return narrow[dt](orthogonal[family, dt](y, n.cast[DType.float64]()))


@always_inline
def chebyshev_polynomial_t[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Chebyshev's polynomial of the first kind of degree n."""
    return in_family[FIRST, False](x, n)


@always_inline
def chebyshev_polynomial_u[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Chebyshev's polynomial of the second kind of degree n."""
    return in_family[SECOND, False](x, n)


@always_inline
def chebyshev_polynomial_v[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Chebyshev's polynomial of the third kind of degree n."""
    return in_family[THIRD, False](x, n)


@always_inline
def chebyshev_polynomial_w[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Chebyshev's polynomial of the fourth kind of degree n."""
    return in_family[FOURTH, False](x, n)


@always_inline
def shifted_chebyshev_polynomial_t[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the shifted polynomial of the first kind of degree n."""
    return in_family[FIRST, True](x, n)


@always_inline
def shifted_chebyshev_polynomial_u[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the shifted polynomial of the second kind of degree n."""
    return in_family[SECOND, True](x, n)


@always_inline
def shifted_chebyshev_polynomial_v[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the shifted polynomial of the third kind of degree n."""
    return in_family[THIRD, True](x, n)


@always_inline
def shifted_chebyshev_polynomial_w[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the shifted polynomial of the fourth kind of degree n."""
    return in_family[FOURTH, True](x, n)


@always_inline
def hermite_polynomial_h[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the physicist's Hermite polynomial of degree n."""
    return in_family[HERMITE, False](x, n)


@always_inline
def hermite_polynomial_he[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the probabilist's Hermite polynomial of degree n."""
    return in_family[HERMITE_PROBABILIST, False](x, n)


@always_inline
def laguerre_polynomial_l[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Laguerre's polynomial of degree n."""
    return in_family[LAGUERRE, False](x, n)


@always_inline
def legendre_polynomial_p[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes Legendre's polynomial of degree n."""
    return in_family[LEGENDRE, False](x, n)
