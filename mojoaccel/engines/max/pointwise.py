"""Pointwise operators: arithmetic happens in the result's type, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mojoaccel.engines.max.lowering import Context, Image, Lowering, Refused
from mojoaccel.ir.graph import Node
from mojoaccel.ir.types import BOOL, F32, I64, DType
from mojoaccel.ops.elementwise import _RANK

Build = Callable[[Context, Node, Callable[..., Any]], Any]
"""Takes the context, the node, and a reader of operands (position, attribute, type)."""


def pointwise(build: Build) -> Lowering:
    """Lower a pointwise operator; where an operand is an image with channels last, so it stays."""

    def lowering(ctx: Context, node: Node) -> Any:
        kind = node.output.type
        images = [i for i in node.inputs if ctx.is_image(i)]
        last = kind.rank == 4 and bool(images) and all(_fits(ctx, i) for i in node.inputs if i)

        def operand(position: int, attr: str = "", dtype: DType | None = None) -> Any:
            name = node.inputs[position] if position < len(node.inputs) else None
            wanted = dtype or kind.dtype
            if name is None:
                return ctx.number(node.attr(attr), wanted)
            value = _channels_last(ctx, name) if last else ctx[name]
            return ctx.cast(value, wanted)

        result = build(ctx, node, operand)
        if last:
            return Image(ctx.cast(result, kind.dtype))
        if list(result.shape) != ctx.shape(node.output.name):
            result = ctx.ops.broadcast_to(result, ctx.shape(node.output.name))
        return result

    return lowering


def _fits(ctx: Context, name: str) -> bool:
    """Whether an operand can be read with channels last: an image, a vector of them, a number."""
    shape = ctx.types[name].shape
    flat = len(shape) >= 3 and all(s == 1 for s in (*shape[:-3], *shape[-2:]))
    return len(shape) in (0, 4) or flat


def _channels_last(ctx: Context, name: str) -> Any:
    shape = ctx.types[name].shape
    if not shape:
        return ctx[name]
    flat = all(s == 1 for s in (*shape[:-3], *shape[-2:]))
    if flat and (ctx.is_weight(name) or len(shape) == 3):
        return ctx.ops.reshape(ctx[name], [1, 1, 1, ctx.dim(shape[-3])])
    return ctx.image(name)


def unary(function: str) -> Lowering:
    """f(x)."""
    return pointwise(lambda ctx, node, x: getattr(ctx.ops, function)(x(0)))


def rounding(function: str) -> Lowering:
    """f(x) for floats, x itself for integers."""

    def build(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
        value = x(0)
        return getattr(ctx.ops, function)(value) if node.output.type.dtype.is_float else value

    return pointwise(build)


def binary(function: str, first: str = "self", second: str = "other") -> Lowering:
    """f(x, y)."""
    return pointwise(lambda ctx, node, x: getattr(ctx.ops, function)(x(0, first), x(1, second)))


def scaled(function: str, reverse: bool = False) -> Lowering:
    """X + alpha * y and its like."""

    def build(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
        if node.output.type.dtype == BOOL:
            raise Refused("sums of truth values")
        a, b = x(0, "self"), x(1, "other")
        if reverse:
            a, b = b, a
        alpha = node.attr("alpha", 1)
        if alpha != 1:
            b = ctx.ops.mul(b, ctx.number(alpha, node.output.type.dtype))
        return getattr(ctx.ops, function)(a, b)

    return pointwise(build)


def product(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """Self * other; for truth values, and."""
    function = ctx.ops.logical_and if node.output.type.dtype == BOOL else ctx.ops.mul
    return function(x(0, "self"), x(1, "other"))


def division(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """``aten.div`` without a rounding mode."""
    mode = node.attr("rounding_mode")
    if mode is not None:
        raise Refused(f"rounding_mode={mode!r}")
    return ctx.ops.div(x(0, "self"), x(1, "other"))


def power(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """``aten.pow``; small constant exponents become products and roots."""
    ops, exponent = ctx.ops, node.attr("exponent")
    if exponent is None or node.attr("self") is not None:
        raise Refused("an exponent that is a tensor")
    value = x(0)
    known: dict[Any, Callable[[], Any]] = {
        1: lambda: value,
        2: lambda: ops.mul(value, value),
        3: lambda: ops.mul(ops.mul(value, value), value),
        0.5: lambda: ops.sqrt(value),
        -0.5: lambda: ops.rsqrt(value),
        -1: lambda: ops.div(ctx.number(1, node.output.type.dtype), value),
    }
    if exponent not in known or not node.output.type.dtype.is_float:
        raise Refused(f"the power {exponent}")
    return known[exponent]()


def promoted(ctx: Context, node: Node) -> DType:
    """Return the type in which a comparison happens."""
    found = [ctx.types[i].dtype for i in node.inputs if i]
    for name in ("self", "other"):
        value = node.attr(name)
        if isinstance(value, float) and not any(d.is_float for d in found):
            found.append(F32)
        elif isinstance(value, int) and not isinstance(value, bool) and found == [BOOL]:
            found.append(I64)
    if not all(d.name in _RANK for d in found):
        if len(set(found)) > 1:
            raise Refused("a comparison of " + " and ".join(d.torch for d in found))
        return found[0]
    return max(found, key=lambda d: _RANK.index(d.name))


def compare(function: str) -> Lowering:
    """A comparison in the promoted type of the operands."""

    def build(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
        dtype = promoted(ctx, node)
        dtype = I64 if dtype == BOOL else dtype
        return getattr(ctx.ops, function)(x(0, "self", dtype), x(1, "other", dtype))

    return pointwise(build)


def logical(function: str) -> Lowering:
    """A logical operator on truth values."""

    def build(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
        if node.op.startswith("bitwise") and node.output.type.dtype != BOOL:
            raise Refused("bits of integers")
        operands = [x(p, "other", BOOL) for p in range(1 if function == "logical_not" else 2)]
        return getattr(ctx.ops, function)(*operands)

    return pointwise(build)


def bounded(low: str | None, high: str | None) -> Lowering:
    """Limit x from below, from above, or both; a NaN stays one."""

    def build(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
        value = x(0)
        given = [(1, low, ctx.ops.max), (2 if low else 1, high, ctx.ops.min)]
        for position, attr, function in given:
            tensor = position < len(node.inputs) and node.inputs[position] is not None
            if attr and (tensor or node.attr(attr) is not None):
                value = function(value, x(position, attr))
        return value

    return pointwise(build)


def select(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """``aten.where``."""
    return ctx.ops.where(x(0, "", BOOL), x(1, "self"), x(2, "other"))


def masked_fill(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """``aten.masked_fill``: value where the mask is true."""
    return ctx.ops.where(x(1, "", BOOL), x(2, "value"), x(0))


def gelu(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """``aten.gelu``, exact or by tanh."""
    return ctx.ops.gelu(x(0), approximate=node.attr("approximate", "none"))


def hard_sigmoid(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """Clip(x / 6 + 1 / 2, 0, 1), times x for hardswish."""
    ops, dtype = ctx.ops, node.output.type.dtype
    value = x(0)
    shifted = ops.add(value, ctx.number(3, dtype))
    clipped = ops.min(ops.max(shifted, ctx.number(0, dtype)), ctx.number(6, dtype))
    part = ops.div(clipped, ctx.number(6, dtype))
    return ops.mul(value, part) if node.op == "hardswish" else part


def relu6(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """Clip(x, 0, 6)."""
    dtype = node.output.type.dtype
    return ctx.ops.min(ctx.ops.max(x(0), ctx.number(0, dtype)), ctx.number(6, dtype))


def leaky_relu(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """X where it is positive, else slope * x."""
    ops, dtype, value = ctx.ops, node.output.type.dtype, x(0)
    small = ops.mul(value, ctx.number(node.attr("negative_slope", 0.01), dtype))
    return ops.where(ops.greater(value, ctx.number(0, dtype)), value, small)


def is_nan(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """Whether x is no number."""
    return ctx.ops.is_nan(x(0, "", ctx.types[str(node.inputs[0])].dtype))


def convert(ctx: Context, node: Node, x: Callable[..., Any]) -> Any:
    """``aten._to_copy``, ``clone``."""
    return x(0)


FLOAT_UNARY = (
    *("exp", "log", "log1p", "tanh", "sigmoid", "silu", "erf", "sin", "cos", "sqrt", "rsqrt"),
    *("relu", "abs"),
)
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
}

LOWERINGS: dict[str, Lowering] = {
    **{name: unary(name) for name in FLOAT_UNARY},
    **{name: rounding(name) for name in ("floor", "ceil", "round", "trunc")},
    **{name: compare(function) for name, function in COMPARISONS.items()},
    "lt": pointwise(
        lambda ctx, node, x: ctx.ops.greater(
            x(1, "other", promoted(ctx, node)), x(0, "self", promoted(ctx, node))
        )
    ),
    "le": pointwise(
        lambda ctx, node, x: ctx.ops.greater_equal(
            x(1, "other", promoted(ctx, node)), x(0, "self", promoted(ctx, node))
        )
    ),
    "neg": unary("negate"),
    "square": pointwise(lambda ctx, node, x: ctx.ops.mul(x(0), x(0))),
    "reciprocal": pointwise(
        lambda ctx, node, x: ctx.ops.div(ctx.number(1, node.output.type.dtype), x(0))
    ),
    "add": scaled("add"),
    "sub": scaled("sub"),
    "rsub": scaled("sub", reverse=True),
    "mul": pointwise(product),
    "div": pointwise(division),
    "pow": pointwise(power),
    "maximum": binary("max"),
    "minimum": binary("min"),
    "clamp": bounded("min", "max"),
    "clamp_min": bounded("min", None),
    "clamp_max": bounded(None, "max"),
    "hardtanh": bounded("min_val", "max_val"),
    "relu6": pointwise(relu6),
    "hardsigmoid": pointwise(hard_sigmoid),
    "hardswish": pointwise(hard_sigmoid),
    "leaky_relu": pointwise(leaky_relu),
    "gelu": pointwise(gelu),
    "logical_and": logical("logical_and"),
    "logical_or": logical("logical_or"),
    "logical_xor": logical("logical_xor"),
    "logical_not": logical("logical_not"),
    "bitwise_and": logical("logical_and"),
    "bitwise_or": logical("logical_or"),
    "bitwise_xor": logical("logical_xor"),
    "bitwise_not": logical("logical_not"),
    "isnan": pointwise(is_nan),
    "where": pointwise(select),
    "masked_fill": pointwise(masked_fill),
    "copy": pointwise(lambda ctx, node, x: x(1)),
    "to": pointwise(convert),
}
