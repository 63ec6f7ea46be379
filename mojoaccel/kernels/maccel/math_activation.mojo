"""Activation functions with PyTorch's formulas."""

from maccel.math_basic import maximum
from maccel.math_error import erf
from maccel.math_exp import exp_negative, expm1, log, log1p_unit
from maccel.math_poly import (
    at_least,
    at_most,
    constant,
    magnitude,
    polynomial,
    quotient,
)


@always_inline
def relu[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes max(x, 0); NaN stays NaN."""
    var zero = SIMD[dt, w](0)
    return zero.gt(x).select(zero, x)


@always_inline
def relu6[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes min(max(x, 0), 6)."""
    return hardtanh(x, SIMD[dt, w](0), SIMD[dt, w](6))


@always_inline
def hardtanh[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], low: SIMD[dt, w], high: SIMD[dt, w]) -> SIMD[dt, w]:
    """Clamps x to [low, high], which are numbers; NaN stays NaN."""
    var y = low.gt(x).select(low, x)
    return high.lt(y).select(high, y)


@always_inline
def leaky_relu[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], slope: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns x where positive, else slope * x (prelu too)."""
    return x.gt(SIMD[dt, w](0)).select(x, x * slope)


@always_inline
def threshold[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], limit: SIMD[dt, w], value: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns value where x <= limit, else x."""
    return x.le(limit).select(value, x)


@always_inline
def sigmoid[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes 1 / (1 + e^-x), as e^x / (1 + e^x) for negative x: nothing overflows.
    """
    var e = exp_negative(-magnitude(x))
    return quotient(x.lt(0).select(e, constant[dt, w](1)), e + 1)


@always_inline
def silu[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x / (1 + e^-x)."""
    return gated(x, x)


@always_inline
def gated[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], gate: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x sigmoid(gate)."""
    var e = exp_negative(-magnitude(gate))
    return x * quotient(gate.lt(0).select(e, constant[dt, w](1)), e + 1)


@always_inline
def logsigmoid[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes -log(1 + e^-x) = min(x, 0) - log(1 + e^-|x|)."""
    return at_most(x, 0.0) - log1p_unit(exp_negative(-magnitude(x)))


@always_inline
def softplus[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], beta: SIMD[dt, w], threshold: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(1 + e^(beta x)) / beta; x itself where beta x > threshold.
    """
    var z = x * beta
    var y = at_least(z, 0.0) + log1p_unit(exp_negative(-magnitude(z)))
    return z.gt(threshold).select(x, y / beta)


@always_inline
def mish[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x tanh(log(1 + e^x)).

    With e = e^-|x| this is x (1 + 2e) / (1 + 2e + 2e^2) for positive x and
    x (e^2 + 2e) / (e^2 + 2e + 2) for negative x.
    """
    var e = exp_negative(-magnitude(x))
    var negative = x.lt(0)
    var n = negative.select(e * (e + 2), e + e + 1)
    var d = negative.select(n + 2, n + 2 * e * e)
    return x * quotient(n, d)


@always_inline
def gelu[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x/2 (1 + erf(x / sqrt(2))).

    float32 takes erf as one odd rational (5, 5), all coefficients positive: half the time of
    `erf`, with an absolute error of gelu no larger than PyTorch's.
    """
    var y = x * constant[dt, w](0.70710678118654752440)
    var h = x * constant[dt, w](0.5)
    comptime if dt == DType.float64:
        return h * (erf(y) + 1)
    else:
        comptime limit = 3.92
        var c = at_least(at_most(y, limit), -limit)
        var z = c * c
        var p = polynomial[
            1.12837914723079146,
            0.190284914773301333,
            0.052731482467784528,
            0.00376013573585019512,
            0.000284713831579853919,
            2.05038509672133571e-6,
        ](z)
        var q = polynomial[
            1.0,
            0.501968381785883671,
            0.114057824227935161,
            0.0149582118232312917,
            0.00116112552634355806,
            0.0000380860594997785884,
        ](z)
        var e = at_least(c * quotient(p, q), -1.0)
        # Exactly -1 below: an error of one ulp would grow with x.
        var tail = y.le(constant[dt, w](-limit))
        return h * tail.select(constant[dt, w](0), e + 1)


@always_inline
def gelu_tanh[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x/2 (1 + tanh(u)) = x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3).
    """
    var gate = x * (
        constant[dt, w](1.59576912160573071176)
        + constant[dt, w](0.07135481627260025) * (x * x)
    )
    return gated(x, gate)


@always_inline
def elu[
    dt: DType, w: SIMDLength
](
    x: SIMD[dt, w],
    alpha: SIMD[dt, w],
    scale: SIMD[dt, w],
    input_scale: SIMD[dt, w],
) -> SIMD[dt, w]:
    """Computes scale * (x where positive, else alpha (e^(x input_scale) - 1)).
    """
    var below = alpha * expm1(x * input_scale)
    return scale * x.gt(SIMD[dt, w](0)).select(x, below)


@always_inline
def selu[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the self-normalising elu."""
    return elu(
        x,
        constant[dt, w](1.6732632423543772848170429916717),
        constant[dt, w](1.0507009873554804934193349852946),
        constant[dt, w](1.0),
    )


@always_inline
def celu[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], alpha: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x where positive, else alpha (e^(x / alpha) - 1)."""
    return x.gt(SIMD[dt, w](0)).select(x, alpha * expm1(x / alpha))


@always_inline
def hardsigmoid[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes clamp(x + 3, 0, 6) / 6."""
    return at_most(at_least(x + 3, 0.0), 6.0) * constant[dt, w](1.0 / 6.0)


@always_inline
def hardswish[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x clamp(x + 3, 0, 6) / 6."""
    var y = at_most(at_least(x + 3, 0.0), 6.0)
    return x * y * constant[dt, w](1.0 / 6.0)


@always_inline
def softsign[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x / (1 + |x|)."""
    return x / (1 + magnitude(x))


@always_inline
def hardshrink[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], lambd: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns 0 where |x| <= lambd, else x."""
    return magnitude(x).le(lambd).select(SIMD[dt, w](0), x)


@always_inline
def softshrink[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], lambd: SIMD[dt, w]) -> SIMD[dt, w]:
    """Moves x towards 0 by lambd and stops there; NaN stays NaN."""
    var far = x.gt(SIMD[dt, w](0)).select(x - lambd, x + lambd)
    return magnitude(x).le(lambd).select(SIMD[dt, w](0), far)


@always_inline
def logit[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], eps: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(z / (1 - z)), z = x clamped to [eps, 1 - eps]; eps < 0 does not clamp.
    """
    var z = eps.lt(SIMD[dt, w](0)).select(x, hardtanh(x, eps, 1 - eps))
    return log(z / (1 - z))


@always_inline
def logaddexp[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes log(e^x + e^y)."""
    var top = maximum(x, y)
    var d = x.eq(y).select(SIMD[dt, w](0), magnitude(x - y))
    return top + log1p_unit(exp_negative(-d))
