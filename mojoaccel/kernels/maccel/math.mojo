"""Every scalar function that emitted code may call, under the names of PyTorch's operators.

All work on `SIMD[dt, w]` lane by lane; constants are passed as vectors; predicates return
`SIMD[DType.bool, w]`. Elementary functions take float32 and float64 (narrower floats are
computed in float32 by the emitter).
"""

from maccel.math_activation import (
    celu,
    elu,
    gelu,
    gelu_tanh,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logaddexp,
    logit,
    logsigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softshrink,
    softsign,
    threshold,
)
from maccel.math_basic import (
    abs,
    add,
    ceil,
    clamp,
    clamp_max,
    clamp_min,
    copysign,
    eq,
    floor,
    fmax,
    fmin,
    frac,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    lerp,
    lt,
    maximum,
    minimum,
    mul,
    nan_to_num,
    ne,
    neg,
    reciprocal,
    round,
    rsqrt,
    select,
    sign,
    sqrt,
    square,
    sub,
    trunc,
    where,
)
from maccel.math_divide import (
    div,
    div_floor,
    div_trunc,
    floor_divide,
    fmod,
    pow,
    remainder,
)
from maccel.math_error import erf, erfc, erfinv
from maccel.math_exp import exp, exp2, expm1, log, log10, log1p, log2
from maccel.math_gamma import digamma, lgamma
from maccel.math_hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from maccel.math_logic import (
    and_,
    cast,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_,
    or_,
    shift_left,
    shift_right,
    truth,
    xor_,
)
from maccel.math_power import hypot, xlogy
from maccel.math_trig import acos, asin, atan, atan2, cos, sin, tan
