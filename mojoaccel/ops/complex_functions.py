"""Elementary functions of complex numbers, built of real ones of their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

from mojoaccel.ir.types import BOOL, TensorType
from mojoaccel.ops.complex_parts import Pair, Rewriting

Result = Union[Pair, str]


def conjugate(r: Rewriting, x: Pair) -> Result:
    """The conjugate."""
    return x[0], r.parts.neg(x[1])


def sign(r: Rewriting, x: Pair) -> Result:
    """X / |x|, zero where x is."""
    size = r.parts.size(x)
    zero = r.b.add("eq", [size, None], TensorType(BOOL, r.b.types[size].shape), other=0.0)
    safe = r.parts.where(zero, 1.0, size)
    return r.parts.div(x[0], safe), r.parts.div(x[1], safe)


def sine(r: Rewriting, x: Pair) -> Result:
    """sin(a + ib)."""
    p = r.parts
    (a, b) = (p.value(v) for v in x)
    return (
        p.mul(p.call("sin", a), p.call("cosh", b)),
        p.mul(p.call("cos", a), p.call("sinh", b)),
    )


def cosine(r: Rewriting, x: Pair) -> Result:
    """cos(a + ib)."""
    p = r.parts
    (a, b) = (p.value(v) for v in x)
    return (
        p.mul(p.call("cos", a), p.call("cosh", b)),
        p.neg(p.mul(p.call("sin", a), p.call("sinh", b))),
    )


def turned(function: Callable[[Rewriting, Pair], Result]) -> Callable[[Rewriting, Pair], Result]:
    """Return the hyperbolic form of a function: -i f(i x)."""

    def build(r: Rewriting, x: Pair) -> Result:
        result = function(r, (r.parts.neg(x[1]), x[0]))
        assert not isinstance(result, str)
        return result[1], r.parts.neg(result[0])

    return build


def hyperbolic_cosine(r: Rewriting, x: Pair) -> Result:
    """cosh(x) = cos(i x)."""
    return cosine(r, (r.parts.neg(x[1]), x[0]))


def hyperbolic_tangent(r: Rewriting, x: Pair) -> Result:
    """tanh(a + ib) by tanh(a) and tan(b), which never overflow (Kahan 1987)."""
    p = r.parts
    a, b = (p.value(v) for v in x)
    t, s = p.call("tanh", a), p.call("tan", b)
    # (t + i s) / (1 + i t s)
    return p.quotient((t, s), (1.0, p.mul(t, s)))


def tangent(r: Rewriting, x: Pair) -> Result:
    """tan(x) = -i tanh(i x)."""
    return turned(hyperbolic_tangent)(r, x)


def logistic(r: Rewriting, x: Pair) -> Pair:
    """1 / (1 + e^-x)."""
    p = r.parts
    e = p.exp((p.neg(x[0]), p.neg(x[1])))
    return p.quotient((1.0, None), (p.add(e[0], 1.0), e[1]))


def product_of(r: Rewriting, x: Pair) -> Result:
    """The square."""
    return r.parts.product(x, x)
