"""The error function and its relatives for float32 and float64."""

from std.math import fma

from maccel.math_exp import exp, exp_moderate, log
from maccel.math_poly import (
    BITS,
    INF,
    NAN,
    at_least,
    at_most,
    bits_of,
    constant,
    float_of,
    magnitude,
    narrow,
    polynomial,
    root,
    with_sign,
)


@always_inline
def erf[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the error function.

    float32: x + x P(x^2) up to 1, beyond it 1 - e^-Q(|x|) (at most 1.5 ulp). A single rational on
    [-3.92, 3.92] saves a quarter of the time but reaches 4 ulp. float64: erfc beyond 1.
    """
    var a = magnitude(x)
    comptime if dt == DType.float64:
        var far = 1 - erfc_far(a)
        return a.lt(1).select(erf_near(x), with_sign(far, x))
    else:
        var near = polynomial[
            0.128379165727676449,
            -0.376126258442506327,
            0.112835854734333332,
            -0.0268538284605848562,
            0.00518836333442501413,
            -0.000801053634828426669,
            0.0000785507229354407024,
        ](x * x)
        # erf is 1 in float32 beyond 3.92.
        var q = polynomial[
            -0.000343271017108842982,
            -1.12708192934697076,
            -0.638157254862857348,
            -0.103095567904008587,
            0.0218324822184686057,
            -0.00294619867228865757,
            0.000186223442184565737,
        ](at_most(a, 3.93))
        var far = with_sign(1 - exp_moderate(q), x)
        return a.lt(1).select(fma(x, near, x), far)


@always_inline
def erf_near[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes erf for |x| <= 1 to float64 accuracy."""
    var z = x * x
    var p = polynomial[
        1.12837916709551257,
        0.143507297969033309,
        0.0454837023051375053,
        0.0018774351832155772,
        0.000196885791093758312,
        7.77544380912160143e-8,
    ](z)
    var q = polynomial[
        1.0,
        0.460513364792462728,
        0.0938133365829038344,
        0.0106931331348618519,
        0.000692503835576764277,
        0.0000208105218545582348,
    ](z)
    return x * (p / q)


@always_inline
def erfcx_far[dt: DType, w: SIMDLength](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^(a^2) erfc(a) for a >= 1 to float64 accuracy, by rationals."""
    var p = polynomial[
        0.999999998859387055,
        1.78053136194970283,
        1.57069291344406265,
        0.856993879727553049,
        0.308831896748972622,
        0.0733810229666875485,
        0.0107171940845370551,
        0.000757366661551767866,
    ](at_most(a, 4.0))
    var q = polynomial[
        1.0,
        2.90891051554100026,
        3.85304701507894715,
        3.04803384200187465,
        1.58335953445543113,
        0.556886728523636057,
        0.130735764071510719,
        0.0189957283926026443,
        0.00134239752357256463,
    ](at_most(a, 4.0))
    var middle = p / q
    var b = at_least(a, 1.0)
    var u = 1 / (b * b)
    p = polynomial[
        0.564189583547756287,
        17.0361078771101944,
        178.135065795174011,
        788.808486009317817,
        1442.14255503057663,
        874.030914240958377,
        76.9254418156238572,
    ](u)
    q = polynomial[
        1.0,
        30.6957150112257595,
        330.33404085557674,
        1542.14687282343533,
        3130.44599665842153,
        2405.25924687822999,
        458.911454140206962,
    ](u)
    var tail = p / (q * b)
    return a.gt(constant[dt, w](4.0)).select(tail, middle)


@always_inline
def exp_square[
    sign: Int, dt: DType, w: SIMDLength
](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^(a^2) or e^(-a^2) of float64 without the square's rounding.

    a = head + rest, where head has so few bits that its square is exact.
    """
    var head = float_of[dt, w](bits_of(a) & SIMD[BITS[dt], w](-(1 << 27)))
    var more = Float64(sign).cast[dt]() * (a - head) * (a + head)
    var e = exp(Float64(sign).cast[dt]() * head * head)
    return e + e * more * (1 + more * (0.5 + more * constant[dt, w](1.0 / 6.0)))


@always_inline
def erfc_far[dt: DType, w: SIMDLength](a: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes erfc for a >= 1 to float64 accuracy."""
    var b = at_least(at_most(a, 28.0), 1.0)
    return a.gt(constant[dt, w](28.0)).select(
        constant[dt, w](0), exp_square[-1](b) * erfcx_far(b)
    )


@always_inline
def erfc[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes 1 - erf(x), accurate in the tail (float32 by way of float64)."""
    comptime if dt == DType.float64:
        var a = magnitude(x)
        var far = erfc_far(a)
        far = x.lt(0).select(2 - far, far)
        return a.lt(1).select(1 - erf_near(x), far)
    else:
        return narrow[dt](erfc(x.cast[DType.float64]()))


@always_inline
def erfcx[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes e^(x^2) erfc(x) without overflow for positive x."""
    comptime if dt == DType.float64:
        var a = magnitude(x)
        var e = exp_square[1](at_most(a, 27.0))
        var far = erfcx_far(a)
        var r = a.lt(1).select(e * (1 - erf_near(a)), far)
        r = x.lt(0).select(2 * e - r, r)
        return x.lt(constant[dt, w](-27.0)).select(constant[dt, w](INF), r)
    else:
        return narrow[dt](erfcx(x.cast[DType.float64]()))


@always_inline
def erfinv_positive[
    dt: DType, w: SIMDLength
](a: SIMD[dt, w], tail: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse error function of a in [0, 1], given 1 - a as well.
    """
    var l = log(tail * (1 + a))
    var t = l * constant[dt, w](0.5) + constant[dt, w](4.3307467508)
    var x = root(root(t * t - l * constant[dt, w](6.8027210884)) - t)
    # The estimate cancels near 0.
    x = a.lt(constant[dt, w](1e-3)).select(
        a * constant[dt, w](0.88622692545275801365), x
    )
    comptime for _ in range(3):
        # erf(x) - a, from whichever end it does not cancel.
        var miss = a.lt(constant[dt, w](0.5)).select(erf(x) - a, tail - erfc(x))
        # e^(x^2) in two parts: the whole overflows where the tail is no normal number.
        var s = at_most(x * x, 700.0)
        var step = miss * exp(s) * exp(x * x - s)
        step *= constant[dt, w](0.88622692545275801365)
        x = x - step / (1 + x * step)
    return tail.eq(0).select(constant[dt, w](INF), x)


@always_inline
def erfinv[dt: DType, w: SIMDLength](y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the inverse error function: Winitzki's estimate, then Halley steps on erfc.
    """
    comptime if dt == DType.float64:
        var a = magnitude(y)
        var x = erfinv_positive(a, 1 - a)
        x = a.gt(1).select(constant[dt, w](NAN), x)
        return with_sign(x, y)
    else:
        return narrow[dt](erfinv(y.cast[DType.float64]()))


@always_inline
def ndtri[dt: DType, w: SIMDLength](y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the quantile of the standard normal distribution."""
    comptime if dt == DType.float64:
        var upper = y.gt(constant[dt, w](0.5))
        var tail = upper.select(2 * (1 - y), 2 * y)
        var x = constant[dt, w](1.41421356237309504880) * erfinv_positive(
            1 - tail, tail
        )
        x = upper.select(x, -x)
        return (y.ge(0) & y.le(1)).select(x, constant[dt, w](NAN))
    else:
        return narrow[dt](ndtri(y.cast[DType.float64]()))
