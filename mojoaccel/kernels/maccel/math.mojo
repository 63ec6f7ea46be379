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
)
from maccel.math_airy import airy_ai
from maccel.math_bessel import (
    bessel_j0,
    bessel_j1,
    bessel_y0,
    bessel_y1,
    i0,
    i0e,
    i1,
    i1e,
    k0,
    k0e,
    k1,
    k1e,
    spherical_bessel_j0,
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
from maccel.math_error import erf, erfc, erfcx, erfinv, ndtri
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
from maccel.math_orthogonal import (
    chebyshev_polynomial_t,
    chebyshev_polynomial_u,
    chebyshev_polynomial_v,
    chebyshev_polynomial_w,
    hermite_polynomial_h,
    hermite_polynomial_he,
    laguerre_polynomial_l,
    legendre_polynomial_p,
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
)
from maccel.math_poly import narrow
from maccel.math_power import hypot, xlogy
from maccel.math_special import (
    frexp_exponent,
    frexp_mantissa,
    gcd,
    igamma,
    igammac,
    lcm,
    nextafter,
    polygamma,
    round_decimals,
    signbit,
    zeta,
)
from maccel.math_trig import acos, asin, atan, atan2, cos, sin, tan
