"""Division and powers with PyTorch's rounding, sign and zero rules, for floats and integers.

Integer division by zero, an error in PyTorch, gives 0 here: the hardware would end the process.
"""

from std.math import fma

from maccel.math_basic import floor, trunc
from maccel.math_poly import (
    BITS,
    INF,
    MANTISSA,
    NAN,
    bits_of,
    constant,
    float_of,
    magnitude,
    with_sign,
)
from maccel.math_power import power


@always_inline
def div[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x / y of floats (the emitter converts integers first)."""
    return x / y


@always_inline
def quotient_floor[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes floor(x / y) of integers without trapping; 0 if y is 0."""
    comptime V = SIMD[dt, w]
    var safe = y.eq(V(0))
    comptime if dt.is_signed():
        # The smallest integer divided by -1 traps too.
        var negate = y.eq(V(-1))
        var q = x // (safe | negate).select(V(1), y)
        return safe.select(V(0), negate.select(-x, q))
    else:
        return safe.select(V(0), x // safe.select(V(1), y))


@always_inline
def div_floor[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes floor(x / y) as torch.div(rounding_mode="floor") does: from the exact remainder.
    """
    comptime V = SIMD[dt, w]
    comptime if dt.is_floating_point():
        var m = fmod(x, y)
        var q = (x - m) / y
        var zero = V(0)
        var borrow = ~m.eq(zero) & (y.lt(zero) ^ m.lt(zero))
        q = borrow.select(q - 1, q)
        var whole = floor(q)
        whole = (q - whole).gt(constant[dt, w](0.5)).select(whole + 1, whole)
        whole = q.eq(zero).select(with_sign(zero, x / y), whole)
        return y.eq(zero).select(x / y, whole)
    else:
        return quotient_floor(x, y)


@always_inline
def floor_divide[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes torch.floor_divide, which is `div_floor`."""
    return div_floor(x, y)


@always_inline
def div_trunc[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes trunc(x / y)."""
    comptime V = SIMD[dt, w]
    comptime if dt.is_floating_point():
        return trunc(x / y)
    elif dt.is_signed():
        var q = quotient_floor(x, y)
        var inexact = ~(q * y).eq(x) & ~y.eq(V(0))
        return (inexact & (x.lt(V(0)) ^ y.lt(V(0)))).select(q + V(1), q)
    else:
        return quotient_floor(x, y)


@always_inline
def fmod_step[
    dt: DType, w: SIMDLength
](r: SIMD[dt, w], b: SIMD[dt, w]) -> SIMD[dt, w]:
    """Subtracts from r >= b > 0 a whole multiple of b, exactly, to at most 2^-19 r or below b.

    The quotient is cut to half of the mantissa or to an integer. The difference is then less than
    the quotient's unit times b, a multiple of that unit times b's last place: representable.
    """
    comptime V = SIMD[dt, w]
    comptime I = SIMD[BITS[dt], w]
    comptime kept = 40 if dt == DType.float64 else 20
    comptime cut = MANTISSA[dt] - (kept - 1)
    # A quotient that overflows is taken with the divisor scaled, twice if need be.
    comptime lift = 6.668014432879854e240 if dt == DType.float64 else 1.2676506002282294e30
    var d = (
        (r / b).ge(constant[dt, w](lift)).select(b * constant[dt, w](lift), b)
    )
    d = (r / d).ge(constant[dt, w](lift)).select(d * constant[dt, w](lift), d)
    var q = r / d
    var long = q.ge(constant[dt, w](Float64(1 << kept)))
    var bits = bits_of(q)
    var leading = float_of[dt, w]((bits >> I(MANTISSA[dt])) << I(MANTISSA[dt]))
    var unit = long.select(
        leading * constant[dt, w](1.0 / Float64(1 << (kept - 1))), V(1)
    )
    q = long.select(float_of[dt, w]((bits >> I(cut)) << I(cut)), trunc(q))
    var rest = fma(-q, d, r)
    # The division may have rounded up to the next unit.
    return rest.lt(V(0)).select(fma(unit, d, rest), rest)


@always_inline
def fmod[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x - trunc(x / y) * y exactly; the sign is that of x."""
    comptime V = SIMD[dt, w]
    comptime if dt.is_floating_point():
        var a = magnitude(x)
        var b = magnitude(y)
        var inf = constant[dt, w](INF)
        var valid = b.gt(V(0)) & a.lt(inf) & b.lt(inf)
        var r = a
        while True:
            var more = valid & r.ge(b)
            if not more.reduce_or():
                break
            r = more.select(fmod_step(r, b), r)
        r = valid.select(r, constant[dt, w](NAN))
        # x mod inf is x.
        r = (a.lt(inf) & b.eq(inf)).select(a, r)
        return with_sign(r, x)
    elif dt.is_signed():
        return x - div_trunc(x, y) * y
    else:
        return x - quotient_floor(x, y) * y


@always_inline
def remainder[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x - floor(x / y) * y; the sign is that of y (Python's %)."""
    comptime V = SIMD[dt, w]
    comptime if dt.is_floating_point():
        var m = fmod(x, y)
        var borrow = ~m.eq(V(0)) & (y.lt(V(0)) ^ m.lt(V(0)))
        return borrow.select(m + y, m)
    else:
        return x - quotient_floor(x, y) * y


@always_inline
def pow[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x^y with C's special cases; integers wrap, negative exponents give 0, 1 or -1.
    """
    comptime V = SIMD[dt, w]
    comptime if dt.is_floating_point():
        return power(x, y)
    else:
        var result = V(1)
        var base = x
        var left = y
        comptime if dt.is_signed():
            left = y.lt(V(0)).select(V(0), y)
        while not left.eq(V(0)).reduce_and():
            result = (left & V(1)).eq(V(1)).select(result * base, result)
            base = base * base
            left = left >> V(1)
        comptime if dt.is_signed():
            var odd = (y & V(1)).eq(V(1))
            var unit = x.eq(V(1)).select(V(1), V(0))
            unit = x.eq(V(-1)).select(odd.select(V(-1), V(1)), unit)
            result = y.lt(V(0)).select(unit, result)
        return result
