"""Exponentials and logarithms for float32 and float64.

exp: x = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite, two-part ln 2), a minimax polynomial in r,
one exact scaling by 2^n. log: x = 2^k m with m in [sqrt(1/2), sqrt(2)), a minimax polynomial
(float32) or the series in s = f/(2+f) (float64, as in fdlibm). Both handle denormals, infinities,
NaN and zeros. Measured against float64: at most 1 ulp (exp, log), 2 ulp (the rest).
"""

from std.math import fma

from maccel.math_poly import (
    BITS,
    INF,
    MANTISSA,
    NAN,
    ROUNDER,
    at_least,
    at_most,
    bits_of,
    constant,
    float_of,
    magnitude,
    polynomial,
    power_of_two,
    quotient,
    scaled,
)


@fieldwise_init
struct Reduced[dt: DType, w: SIMDLength](
    Copyable, Movable, TrivialRegisterPassable
):
    """An argument as whole * ln 2 + rest."""

    var n: SIMD[Self.dt, Self.w]
    var whole: SIMD[BITS[Self.dt], Self.w]
    var rest: SIMD[Self.dt, Self.w]


@always_inline
def reduce_exponent[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Reduced[dt, w]:
    """Splits x = n ln 2 + rest."""
    comptime if dt == DType.float64:
        comptime ln2_high = 0.693147180369123816490
        comptime ln2_low = 1.90821492927058770002e-10
        return reduce_by[dt, w, ln2_high, ln2_low](x)
    else:
        comptime ln2_high = 0.693145751953125
        comptime ln2_low = 1.428606820309417232e-06
        return reduce_by[dt, w, ln2_high, ln2_low](x)


@always_inline
def reduce_by[
    dt: DType, w: SIMDLength, high: Float64, low: Float64
](x: SIMD[dt, w]) -> Reduced[dt, w]:
    """Splits x = n (high + low) + rest, high + low being ln 2."""
    var rounder = constant[dt, w](ROUNDER[dt])
    # Not left to contraction: `t` must be one rounding whatever the surroundings.
    var t = fma(x, constant[dt, w](1.44269504088896340736), rounder)
    var n = t - rounder
    var rest = fma(n, constant[dt, w](-high), x)
    rest = fma(n, constant[dt, w](-low), rest)
    return Reduced[dt, w](n, bits_of(t) - bits_of(rounder), rest)


@always_inline
def expm1_reduced[dt: DType, w: SIMDLength](r: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^r - 1 for |r| <= ln(2)/2."""
    comptime if dt == DType.float64:
        var p = polynomial[
            0.500000000000000563,
            0.166666666666666851,
            0.0416666666665726807,
            0.00833333333331540328,
            0.00138888889326733815,
            0.000198412699010479509,
            0.0000248015040950748823,
            2.75572298378907391e-6,
            2.76264669930038948e-7,
            2.51138530328675067e-8,
        ](r)
        return fma(r * r, p, r)
    else:
        var p = polynomial[
            0.500000004660184666,
            0.166666667903157857,
            0.0416663542318955247,
            0.00833327921933335322,
            0.00139410414889548851,
            0.000199108465959410476,
        ](r)
        return fma(r * r, p, r)


@always_inline
def exp[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^x (at most 1 ulp)."""
    comptime top = 710.0 if dt == DType.float64 else 89.0
    return exp_negative(at_most(x, top))


@always_inline
def exp_negative[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^x for x that does not overflow: softmax, sigmoid."""
    # Below this the result is 0 anyway; n stays small enough for `scaled`.
    comptime bottom = -746.0 if dt == DType.float64 else -104.0
    return exp_moderate(at_least(x, bottom))


@always_inline
def exp_moderate[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^x for finite x within twice the range of the format."""
    var r = reduce_exponent(x)
    comptime if dt == DType.float64:
        return scaled(1 + expm1_reduced(r.rest), r.n, r.whole)
    else:
        var p = polynomial[
            0.499999930788393831,
            0.166665204278310315,
            0.0416684874343705206,
            0.00836873676614167732,
            0.00138088886349729633,
        ](r.rest)
        p = fma(r.rest * r.rest, p, r.rest) + 1
        return scaled(p, r.n, r.whole)


@always_inline
def exp2[dt: DType, w: SIMDLength](x0: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes 2^x (at most 1 ulp)."""
    comptime top = 1025.0 if dt == DType.float64 else 129.0
    comptime bottom = -1080.0 if dt == DType.float64 else -152.0
    var x = at_least(at_most(x0, top), bottom)
    var rounder = constant[dt, w](ROUNDER[dt])
    var t = x + rounder
    var n = t - rounder
    var whole = bits_of(t) - bits_of(rounder)
    var r = x - n
    comptime if dt == DType.float64:
        var p = polynomial[
            0.693147180559945309,
            0.240226506959100715,
            0.0555041086648216875,
            0.00961812910762832997,
            0.00133335581463926414,
            0.000154035303936403561,
            0.0000152527338543528519,
            1.32154865951169522e-6,
            1.01780519303343827e-7,
            7.05497440890231426e-9,
            4.45657197863392941e-10,
            2.56255163943910075e-11,
        ](r)
        return scaled(fma(r, p, 1), n, whole)
    else:
        var p = polynomial[
            0.693147202923875086,
            0.240226480437735192,
            0.0555033231860536502,
            0.00961841985129094848,
            0.00133989182051616409,
            0.000153582836662471433,
        ](r)
        return scaled(fma(r, p, 1), n, whole)


@always_inline
def expm1[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^x - 1 without cancellation (at most 2 ulp)."""
    comptime top = 709.9 if dt == DType.float64 else 88.8
    comptime bottom = -50.0 if dt == DType.float64 else -30.0
    var r = reduce_exponent(at_least(at_most(x, top), bottom))
    # 2 (2^(n-1) p + 2^(n-1) - 1/2): the halved scale is finite up to the overflow.
    var scale = power_of_two[dt, w](r.whole - 1)
    var y = fma(scale, expm1_reduced(r.rest), scale - constant[dt, w](0.5))
    # Tiny x, denormals and -0 are their own result.
    return magnitude(x).lt(constant[dt, w](1e-18)).select(x, y + y)


@fieldwise_init
struct Decomposed[dt: DType, w: SIMDLength](
    Copyable, Movable, TrivialRegisterPassable
):
    """A positive float as 2^exponent * (1 + fraction)."""

    var exponent: SIMD[Self.dt, Self.w]
    var fraction: SIMD[Self.dt, Self.w]


@always_inline
def decompose[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> Decomposed[dt, w]:
    """Splits positive x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2))."""
    comptime smallest = 2.2250738585072014e-308 if dt == DType.float64 else 1.1754943508222875e-38
    comptime lift = 18014398509481984.0 if dt == DType.float64 else 33554432.0
    comptime lift_bits = 54 if dt == DType.float64 else 25
    comptime half_root = 0x3FE6A09E667F3BCD if dt == DType.float64 else 0x3F3504F3
    comptime mantissa_mask = (1 << MANTISSA[dt]) - 1
    comptime I = SIMD[BITS[dt], w]
    var denormal = x.lt(constant[dt, w](smallest))
    var y = denormal.select(x * constant[dt, w](lift), x)
    var moved = bits_of(y) - I(half_root)
    var k = moved >> I(MANTISSA[dt])
    var m = float_of[dt, w]((moved & I(mantissa_mask)) + I(half_root))
    k -= denormal.select(I(lift_bits), I(0))
    return Decomposed[dt, w](whole_to_float[dt, w](k), m - 1)


@always_inline
def whole_to_float[
    dt: DType, w: SIMDLength
](k: SIMD[BITS[dt], w]) -> SIMD[dt, w]:
    """Converts small integers (AVX2 has no conversion from 64-bit integers)."""
    var rounder = constant[dt, w](ROUNDER[dt])
    return float_of[dt, w](bits_of(rounder) + k) - rounder


@always_inline
def log_series[dt: DType, w: SIMDLength](z: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes R(s^2) = (log(1 + f) - 2 s) / s with s = f/(2+f), to float64 accuracy.
    """
    return z * polynomial[
        0.666666666666666609,
        0.400000000000063077,
        0.285714285690648856,
        0.222222226501352782,
        0.181817753877823222,
        0.153871032640490758,
        0.132498294402452429,
        0.132540054665274505,
    ](z)


@always_inline
def log1p_fraction[dt: DType, w: SIMDLength](f: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2))."""
    comptime if dt == DType.float64:
        # With s = f/(2+f): log(1+f) = f - (f^2/2 - s (f^2/2 + R)).
        var s = f / (f + 2)
        var z = s * s
        var r = log_series(z)
        var half_square = constant[dt, w](0.5) * f * f
        return fma(s, half_square + r, -half_square)
    else:
        var p = polynomial[
            -0.499999890955011172,
            0.333333083088862928,
            -0.250015264395579201,
            0.200030129598662119,
            -0.166110754486923597,
            0.141635519426971126,
            -0.132093696391446874,
            0.130040915863628802,
            -0.0782096035287907031,
        ](f)
        return p * (f * f)


@always_inline
def log_limits[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Replaces y by the logarithm of x where x is not positive and finite."""
    var zero = constant[dt, w](0)
    var inf = constant[dt, w](INF)
    var r = x.eq(inf).select(inf, y)
    r = x.eq(zero).select(-inf, r)
    return x.ge(zero).select(r, constant[dt, w](NAN))


@always_inline
def log[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the natural logarithm (at most 1 ulp)."""
    comptime ln2_high = 0.693147180369123816490 if dt == DType.float64 else 0.693145751953125
    comptime ln2_low = 1.90821492927058770002e-10 if dt == DType.float64 else 1.428606820309417232e-06
    var d = decompose(x)
    var low = fma(
        d.exponent, constant[dt, w](ln2_low), log1p_fraction(d.fraction)
    )
    var y = fma(d.exponent, constant[dt, w](ln2_high), low + d.fraction)
    return log_limits(x, y)


@always_inline
def log2[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the logarithm to base 2; exact for powers of two."""
    var d = decompose(x)
    var natural = d.fraction + log1p_fraction(d.fraction)
    var y = fma(natural, constant[dt, w](1.44269504088896340736), d.exponent)
    return log_limits(x, y)


@always_inline
def log10[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the logarithm to base 10."""
    comptime high = 0.3010299955494702 if dt == DType.float64 else 0.301025390625
    comptime low = 1.1451100898021838e-10 if dt == DType.float64 else 4.605038981195214e-06
    var d = decompose(x)
    var natural = d.fraction + log1p_fraction(d.fraction)
    var y = fma(
        d.exponent,
        constant[dt, w](low),
        natural * constant[dt, w](0.43429448190325182765),
    )
    return log_limits(x, fma(d.exponent, constant[dt, w](high), y))


@always_inline
def log1p[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(1 + x), accurate near 0: log(u) + (x - (u - 1)) / u with u = 1 + x.
    """
    var one = constant[dt, w](1)
    var u = x + one
    var lost = x - (u - one)
    var y = log(u) + lost / u.eq(constant[dt, w](0)).select(one, u)
    y = x.eq(constant[dt, w](INF)).select(x, y)
    return u.eq(one).select(x, y)


@always_inline
def log1p_unit[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(1 + x) for x in [0, 1], as softplus needs it: one rational for float32.
    """
    comptime if dt == DType.float64:
        return log1p(x)
    else:
        var p = polynomial[
            0.999999999963157333,
            1.32502286398820225,
            0.456674346353819615,
            0.0332579298226356726,
        ](x)
        var q = polynomial[
            1.0,
            1.82502285731470767,
            1.03585263755177788,
            0.19284106291860027,
            0.00740526334870805107,
        ](x)
        return x * quotient(p, q)
