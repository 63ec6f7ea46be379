"""Mixed-radix passes of the fast Fourier transform, many lines side by side.

Stockham's self-sorting form (Cochran et al. 1967; Van Loan, Computational Frameworks for the FFT,
1992): each pass reads one array and writes another, so no bit reversal is needed. A vector holds
the same element of `L` lines, which makes every pass fully vectorised whatever its radix.
"""

from std.math import fma

from maccel.math_trig import cos, sin
from maccel.types import Ptr

comptime TWO_PI = 6.283185307179586476925286766559
comptime LARGEST_RADIX = 61
"""Prime factors beyond this go through Bluestein's algorithm."""


@fieldwise_init
struct Signal[acc: DType, L: Int](Copyable, Movable, TrivialRegisterPassable):
    """Complex values of `L` lines: real and imaginary parts apart, element i at `i * L`.
    """

    var re: Ptr[Self.acc]
    var im: Ptr[Self.acc]

    @always_inline
    def real(self, i: Int) -> SIMD[Self.acc, Self.L]:
        """Returns the real part of element `i` of every line."""
        return self.re.unsafe_load[width=Self.L](i * Self.L)

    @always_inline
    def imag(self, i: Int) -> SIMD[Self.acc, Self.L]:
        """Returns the imaginary part of element `i` of every line."""
        return self.im.unsafe_load[width=Self.L](i * Self.L)

    @always_inline
    def put(
        self, i: Int, re: SIMD[Self.acc, Self.L], im: SIMD[Self.acc, Self.L]
    ):
        """Stores element `i` of every line."""
        self.re.unsafe_store(i * Self.L, re)
        self.im.unsafe_store(i * Self.L, im)

    @always_inline
    def put_turned(
        self,
        i: Int,
        re: SIMD[Self.acc, Self.L],
        im: SIMD[Self.acc, Self.L],
        c: Scalar[Self.acc],
        s: Scalar[Self.acc],
    ):
        """Stores the product with c + i s as element `i`."""
        comptime V = SIMD[Self.acc, Self.L]
        self.put(i, fma(re, V(c), -im * V(s)), fma(re, V(s), im * V(c)))


def fill_roots[
    acc: DType
](re: Ptr[acc], im: Ptr[acc], n: Int, period: Int, sign: Float64):
    """Stores `exp(sign * 2 pi i k / period)` for k < n, computed in float64."""
    for k in range(n):
        var angle = TWO_PI * Float64(k) / Float64(period)
        re[unsafe_offset=k] = cos(angle).cast[acc]()
        im[unsafe_offset=k] = (sin(angle) * sign).cast[acc]()


def next_radix(m: Int) -> Int:
    """Returns the radix of the next pass over `m` remaining points: 4, 2, 3, 5 or a prime.
    """
    if m % 4 == 0:
        return 4
    var r = 2
    while r * r <= m:
        if m % r == 0:
            return r
        r += 1 if r == 2 else 2
    return m


def largest_factor(n: Int) -> Int:
    """Returns the largest radix that the passes over `n` points use."""
    var m = n
    var largest = 1
    while m > 1:
        var r = next_radix(m)
        largest = max(largest, r)
        m //= r
    return largest


def pass_two[
    acc: DType, L: Int
](s: Int, count: Int, x: Signal[acc, L], y: Signal[acc, L], w: Signal[acc, 1]):
    """Runs a pass of radix 2."""
    for p in range(count):
        var c = w.re[unsafe_offset=s * p]
        var d = w.im[unsafe_offset=s * p]
        for q in range(s):
            var a = q + s * p
            var b = a + s * count
            var out = q + s * 2 * p
            var ar = x.real(a)
            var ai = x.imag(a)
            var br = x.real(b)
            var bi = x.imag(b)
            y.put(out, ar + br, ai + bi)
            y.put_turned(out + s, ar - br, ai - bi, c, d)


def pass_three[
    acc: DType, L: Int
](
    s: Int,
    count: Int,
    sign: Scalar[acc],
    x: Signal[acc, L],
    y: Signal[acc, L],
    w: Signal[acc, 1],
):
    """Runs a pass of radix 3."""
    comptime V = SIMD[acc, L]
    var half = V(Scalar[acc](0.5))
    var root = V(sign * Scalar[acc](0.86602540378443864676))
    for p in range(count):
        for q in range(s):
            var a = q + s * p
            var step = s * count
            var ar = x.real(a)
            var ai = x.imag(a)
            var tr = x.real(a + step) + x.real(a + 2 * step)
            var ti = x.imag(a + step) + x.imag(a + 2 * step)
            var dr = (x.real(a + step) - x.real(a + 2 * step)) * root
            var di = (x.imag(a + step) - x.imag(a + 2 * step)) * root
            var mr = ar - half * tr
            var mi = ai - half * ti
            var out = q + s * 3 * p
            y.put(out, ar + tr, ai + ti)
            y.put_turned(
                out + s,
                mr - di,
                mi + dr,
                w.re[unsafe_offset=s * p],
                w.im[unsafe_offset=s * p],
            )
            y.put_turned(
                out + 2 * s,
                mr + di,
                mi - dr,
                w.re[unsafe_offset=2 * s * p],
                w.im[unsafe_offset=2 * s * p],
            )


def pass_four[
    acc: DType, L: Int
](
    s: Int,
    count: Int,
    sign: Scalar[acc],
    x: Signal[acc, L],
    y: Signal[acc, L],
    w: Signal[acc, 1],
):
    """Runs a pass of radix 4."""
    var turn = SIMD[acc, L](sign)
    for p in range(count):
        for q in range(s):
            var a = q + s * p
            var step = s * count
            var sr = x.real(a) + x.real(a + 2 * step)
            var si = x.imag(a) + x.imag(a + 2 * step)
            var dr = x.real(a) - x.real(a + 2 * step)
            var di = x.imag(a) - x.imag(a + 2 * step)
            var tr = x.real(a + step) + x.real(a + 3 * step)
            var ti = x.imag(a + step) + x.imag(a + 3 * step)
            # sign * i * (x1 - x3)
            var er = (x.imag(a + 3 * step) - x.imag(a + step)) * turn
            var ei = (x.real(a + step) - x.real(a + 3 * step)) * turn
            var out = q + s * 4 * p
            y.put(out, sr + tr, si + ti)
            y.put_turned(
                out + s,
                dr + er,
                di + ei,
                w.re[unsafe_offset=s * p],
                w.im[unsafe_offset=s * p],
            )
            y.put_turned(
                out + 2 * s,
                sr - tr,
                si - ti,
                w.re[unsafe_offset=2 * s * p],
                w.im[unsafe_offset=2 * s * p],
            )
            y.put_turned(
                out + 3 * s,
                dr - er,
                di - ei,
                w.re[unsafe_offset=3 * s * p],
                w.im[unsafe_offset=3 * s * p],
            )


def pass_any[
    acc: DType, L: Int
](
    r: Int,
    s: Int,
    count: Int,
    n: Int,
    x: Signal[acc, L],
    y: Signal[acc, L],
    w: Signal[acc, 1],
):
    """Runs a pass of any radix, each output a sum over the r inputs."""
    comptime V = SIMD[acc, L]
    for p in range(count):
        for t in range(r):
            var c = w.re[unsafe_offset=s * p * t]
            var d = w.im[unsafe_offset=s * p * t]
            for q in range(s):
                var re = x.real(q + s * p)
                var im = x.imag(q + s * p)
                for j in range(1, r):
                    var at = q + s * (p + j * count)
                    var root = j * t % r * (n // r)
                    var wr = V(w.re[unsafe_offset=root])
                    var wi = V(w.im[unsafe_offset=root])
                    var xr = x.real(at)
                    var xi = x.imag(at)
                    re += fma(xr, wr, -xi * wi)
                    im += fma(xr, wi, xi * wr)
                y.put_turned(q + s * (r * p + t), re, im, c, d)


def transform[
    acc: DType, L: Int
](
    n: Int,
    sign: Scalar[acc],
    first: Signal[acc, L],
    spare: Signal[acc, L],
    roots: Signal[acc, 1],
) -> Bool:
    """Transforms `first`; returns whether the result lies in `spare` (else in `first`).

    Parameters:
        acc: Type of values.
        L: Lines side by side.

    Args:
        n: Points.
        sign: -1 forward, 1 backward (without a factor).
        first: The signal; overwritten.
        spare: As much room again.
        roots: `exp(sign * 2 pi i k / n)` for k < n.
    """
    var x = first
    var y = spare
    var swapped = False
    var s = 1
    var m = n
    while m > 1:
        var r = next_radix(m)
        var count = m // r
        if r == 2:
            pass_two[acc, L](s, count, x, y, roots)
        elif r == 3:
            pass_three[acc, L](s, count, sign, x, y, roots)
        elif r == 4:
            pass_four[acc, L](s, count, sign, x, y, roots)
        else:
            pass_any[acc, L](r, s, count, n, x, y, roots)
        var t = x
        x = y
        y = t
        swapped = not swapped
        s *= r
        m = count
    return swapped
