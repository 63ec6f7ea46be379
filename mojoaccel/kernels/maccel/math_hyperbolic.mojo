"""Hyperbolic functions and their inverses for float32 and float64.

All rest on expm1, log1p and log.
"""

from std.math import fma

from maccel.math_exp import exp, exp_moderate, expm1, log, log1p
from maccel.math_poly import (
    NAN,
    at_least,
    constant,
    magnitude,
    polynomial,
    quotient,
    root,
    with_sign,
)


@always_inline
def tanh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the hyperbolic tangent (at most 2 ulp).

    float32: x + x^3 P(x^2) up to 0.55, beyond it 1 - 2e / (1 + e) with e = e^(-2|x|). A single
    odd rational (5, 5) takes as long but reaches 4 ulp. float64: -t / (t + 2), t = e - 1.
    """
    var a = magnitude(x)
    comptime if dt == DType.float64:
        var t = expm1(at_least(-2 * a, -60.0))
        return with_sign(t / (t + 2), x)
    else:
        var z = x * x
        var near = polynomial[
            -0.33333318137487176,
            0.13332605330127414,
            -0.0538542620684729108,
            0.0210794546709992973,
            -0.00628487899271059222,
        ](z)
        var e = exp_moderate(at_least(-2 * a, -30.0))
        var far = 1 - quotient(e + e, e + 1)
        var y = a.lt(constant[dt, w](0.55)).select(fma(a, z * near, a), far)
        return with_sign(y, x)


@always_inline
def sinh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the hyperbolic sine."""
    var a = magnitude(x)
    var e = expm1(a)
    var near = constant[dt, w](0.5) * (e + e / (e + 1))
    # e^a overflows before sinh does.
    var h = exp(constant[dt, w](0.5) * a)
    var far = (constant[dt, w](0.5) * h) * h
    return with_sign(a.gt(constant[dt, w](30.0)).select(far, near), x)


@always_inline
def cosh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the hyperbolic cosine."""
    var a = magnitude(x)
    var e = exp(a)
    var near = constant[dt, w](0.5) * (e + 1 / e)
    var h = exp(constant[dt, w](0.5) * a)
    var far = (constant[dt, w](0.5) * h) * h
    return a.gt(constant[dt, w](30.0)).select(far, near)


@always_inline
def asinh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse hyperbolic sine."""
    comptime ln2 = 0.69314718055994530942
    comptime big = 1e9 if dt == DType.float64 else 1e5
    var a = magnitude(x)
    var s = a * a
    var near = log1p(a + s / (1 + root(s + 1)))
    var far = log(a) + constant[dt, w](ln2)
    return with_sign(a.gt(constant[dt, w](big)).select(far, near), x)


@always_inline
def acosh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse hyperbolic cosine; NaN below 1."""
    comptime ln2 = 0.69314718055994530942
    comptime big = 1e9 if dt == DType.float64 else 1e5
    var t = x - 1
    var near = log1p(t + root(2 * t + t * t))
    var far = log(x) + constant[dt, w](ln2)
    var y = x.gt(constant[dt, w](big)).select(far, near)
    return x.lt(1).select(constant[dt, w](NAN), y)


@always_inline
def atanh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond.
    """
    var a = magnitude(x)
    var y = constant[dt, w](0.5) * log1p((a + a) / (1 - a))
    return with_sign(y, x)
