"""Logarithms and inverse functions of complex numbers, built of real ones of their parts.

Inverse functions follow Kahan (Branch cuts for complex elementary functions, 1987): roots of z - 1
and z + 1 whose products neither cancel nor overflow, with the signs of zeros on the branch cuts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mojoaccel.ops.complex_functions import Result
from mojoaccel.ops.complex_parts import Pair, Part, Rewriting


def _cross(r: Rewriting, x: Pair, y: Pair) -> Part:
    """Return the imaginary part of conj(x) y."""
    p = r.parts
    return p.sub(p.mul(x[0], y[1]), p.mul(x[1], y[0]))


def _around_one(r: Rewriting, x: Pair, sign: int) -> tuple[Pair, Pair]:
    """Return the roots of 1 - x (or x - 1, for `sign` 1) and of 1 + x."""
    p = r.parts
    a, b = (p.value(v) for v in x)
    below = (p.sub(a, 1.0), b) if sign > 0 else (p.sub(1.0, a), p.neg(b))
    return p.sqrt(below), p.sqrt((p.add(a, 1.0), b))


def arcsine(r: Rewriting, x: Pair) -> Result:
    """asin(x)."""
    p = r.parts
    below, above = _around_one(r, x, -1)
    across = p.sub(p.mul(below[0], above[0]), p.mul(below[1], above[1]))
    return p.binary("atan2", x[0], across), p.call("asinh", _cross(r, below, above))


def arccosine(r: Rewriting, x: Pair) -> Result:
    """acos(x)."""
    p = r.parts
    below, above = _around_one(r, x, -1)
    angle = p.mul(p.binary("atan2", below[0], above[0]), 2.0)
    return angle, p.call("asinh", _cross(r, above, below))


def hyperbolic_arccosine(r: Rewriting, x: Pair) -> Result:
    """acosh(x)."""
    p = r.parts
    below, above = _around_one(r, x, 1)
    along = p.add(p.mul(below[0], above[0]), p.mul(below[1], above[1]))
    return p.call("asinh", along), p.mul(p.binary("atan2", below[1], above[0]), 2.0)


def hyperbolic_arctangent(r: Rewriting, x: Pair) -> Result:
    """atanh(a + ib): log1p(4 |a| / ((1 - |a|)^2 + b^2)) / 4 and half of an angle."""
    p = r.parts
    a, b = (p.value(v) for v in x)
    size, square = p.call("abs", a), p.mul(b, b)
    rest = p.sub(1.0, size)
    far = p.div(p.mul(size, 4.0), p.add(p.mul(rest, rest), square))
    re = p.binary("copysign", p.mul(p.call("log1p", far), 0.25), a)
    across = p.sub(p.mul(rest, p.add(size, 1.0)), square)
    return re, p.mul(p.binary("atan2", p.mul(b, 2.0), across), 0.5)


def logarithm_beside_one(r: Rewriting, x: Pair) -> Result:
    """log(1 + a + ib); where 1 + x is near 1, by log1p of what its square exceeds 1."""
    p = r.parts
    a, b = (p.value(v) for v in x)
    more = p.add(a, 1.0)
    excess = p.add(p.mul(a, p.add(a, 2.0)), p.mul(b, b))
    near = p.compare("lt", p.size((a, b)), 0.5)
    safe = p.where(near, excess, 0.0)
    far = p.call("log", p.size((more, b)))
    return p.where(near, p.mul(p.call("log1p", safe), 0.5), far), p.binary("atan2", b, more)


def exponential_less_one(r: Rewriting, x: Pair) -> Result:
    """e^(a + ib) - 1 = expm1(a) cos b - 2 sin(b/2)^2 + i e^a sin b."""
    p = r.parts
    a, b = (p.value(v) for v in x)
    half = p.call("sin", p.mul(b, 0.5))
    re = p.sub(p.mul(p.call("expm1", a), p.call("cos", b)), p.mul(p.mul(half, half), 2.0))
    return re, p.mul(p.call("exp", a), p.call("sin", b))


def logarithm_to(base: float) -> Callable[[Rewriting, Pair], Result]:
    """Return the logarithm to a base."""

    def build(r: Rewriting, x: Pair) -> Result:
        re, im = r.parts.log(x)
        scale = 1 / math.log(base)
        return r.parts.mul(re, scale), r.parts.mul(im, scale)

    return build
