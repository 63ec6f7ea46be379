"""Pointwise operators: arithmetic, comparison, logic, conversion, activations.

Types follow PyTorch: the result's type is known from the trace, arithmetic happens in it, and
comparisons happen in the promoted type of their operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mojoaccel.ir.types import BOOL, F32, I64, DType
from mojoaccel.ops.registry import OpDef, Pointwise, PointwiseContext, compute_dtype

Build = Callable[[PointwiseContext], str]
_RANK = ("b8", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64")


def promoted(p: PointwiseContext, attrs: Sequence[str] = ()) -> DType:
    """Return the type in which a comparison of the operands (and number attributes) happens."""
    found = [p.body.dtypes[o] for o in p.operands if o is not None]
    for name in attrs:
        value = p.node.attr(name)
        if isinstance(value, float) and not any(d.is_float for d in found):
            found.append(F32)
        elif isinstance(value, int) and not isinstance(value, bool) and found == [BOOL]:
            found.append(I64)
    if {d.name for d in found} == {"u8", "i8"}:
        from mojoaccel.ir.types import I16

        return I16
    return max(found, key=lambda d: _RANK.index(d.name), default=I64)


def unary(function: str) -> Build:
    """f(x) in the result's type."""
    return lambda p: p.call(function, p.operand(0))


def predicate(function: str) -> Build:
    """f(x) gives a mask."""

    def build(p: PointwiseContext) -> str:
        x = p.operands[0]
        assert x is not None
        if not p.body.dtypes[x].is_float:
            return p.body.const(function == "isfinite", BOOL)
        return p.call(function, x, dtype=BOOL)

    return build


def binary(function: str, first: str = "self", second: str = "other") -> Build:
    """f(x, y) in the result's type."""
    return lambda p: p.call(function, p.operand(0, first), p.operand(1, second))


def scaled(function: str) -> Build:
    """X + alpha * y, x - alpha * y."""

    def build(p: PointwiseContext) -> str:
        y = p.operand(1, "other")
        alpha = p.node.attr("alpha", 1)
        if p.dtype == BOOL:
            y = y if alpha else p.const(False)
            return p.call("or_" if function == "add" else "xor_", p.operand(0), y)
        if alpha != 1:
            y = p.call("mul", y, p.const(alpha))
        return p.call(function, p.operand(0, "self"), y)

    return build


def reversed_sub(p: PointwiseContext) -> str:
    """Other - alpha * self."""
    x = p.operand(0)
    if p.node.attr("alpha", 1) != 1:
        x = p.call("mul", x, p.const(p.node.attr("alpha")))
    return p.call("sub", p.operand(1, "other"), x)


def product(p: PointwiseContext) -> str:
    """Self * other; for bools, and."""
    function = "and_" if p.dtype == BOOL else "mul"
    return p.call(function, p.operand(0, "self"), p.operand(1, "other"))


def compare(function: str) -> Build:
    """A comparison in the promoted type of the operands."""

    def build(p: PointwiseContext) -> str:
        dtype = promoted(p, ("self", "other"))
        x, y = p.operand(0, "self", dtype), p.operand(1, "other", dtype)
        if dtype == BOOL and function in ("eq", "ne"):
            differs = p.call("xor_", x, y)
            return differs if function == "ne" else p.call("not_", differs)
        if dtype == BOOL:
            x, y = p.body.cast(x, I64), p.body.cast(y, I64)
        return p.call(function, x, y, dtype=BOOL)

    return build


def logical(function: str) -> Build:
    """A logical operator on truth values."""

    def build(p: PointwiseContext) -> str:
        x = p.operand(0, None, BOOL)
        if function == "not_":
            return p.call("not_", x)
        return p.call(function, x, p.operand(1, "other", BOOL))

    return build


def bitwise(function: str) -> Build:
    """A bitwise operator; on bools, the logical one."""
    return lambda p: p.call(function, p.operand(0, "self"), p.operand(1, "other"))


def division(p: PointwiseContext) -> str:
    """``aten.div`` with every rounding mode; integers are divided exactly."""
    mode = p.node.attr("rounding_mode")
    x, y = p.operand(0, "self"), p.operand(1, "other")
    if mode is None:
        return p.call("div", x, y)
    if p.dtype.is_float:
        return p.call({"floor": "floor_divide", "trunc": "div_trunc"}[mode], x, y)
    return p.call({"floor": "floor_divide", "trunc": "div_trunc"}[mode], x, y)


def power(p: PointwiseContext) -> str:
    """``aten.pow``; small constant exponents become products and roots."""
    exponent = p.node.attr("exponent")
    if exponent is None:
        return p.call("pow", p.operand(0, "self"), p.operand(1, "exponent"))
    x = p.operand(0, "self")
    if exponent == 1:
        return x
    if exponent == 2:
        return p.call("mul", x, x)
    if exponent == 3:
        return p.call("mul", p.call("mul", x, x), x)
    if p.dtype.is_float and exponent in (0.5, -0.5, -1):
        return p.call({0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}[exponent], x)
    return p.call("pow", x, p.const(exponent))


def clamp(p: PointwiseContext) -> str:
    """``aten.clamp`` by numbers or tensors, either bound absent."""
    value = p.operand(0)
    for position, attr, function in ((1, "min", "clamp_min"), (2, "max", "clamp_max")):
        tensor = position < len(p.operands) and p.operands[position] is not None
        if tensor or p.node.attr(attr) is not None:
            value = p.call(function, value, p.operand(position, attr))
    return value


def with_numbers(function: str, *attrs: tuple[str, float]) -> Build:
    """f(x, a, b, ...) with number attributes and their defaults."""

    def build(p: PointwiseContext) -> str:
        numbers = [p.const(p.node.attr(name, default)) for name, default in attrs]
        return p.call(function, p.operand(0), *numbers)

    return build


def gelu(p: PointwiseContext) -> str:
    """``aten.gelu``, exact or by tanh."""
    tanh = p.node.attr("approximate", "none") == "tanh"
    return p.call("gelu_tanh" if tanh else "gelu", p.operand(0))


def select(p: PointwiseContext) -> str:
    """``aten.where``."""
    condition = p.operand(0, None, BOOL)
    x, y = p.operand(1, "self"), p.operand(2, "other")
    return p.call("select", condition, x, y, dtype=p.dtype)


def masked_fill(p: PointwiseContext) -> str:
    """``aten.masked_fill``: value where the mask is true."""
    mask = p.operand(1, None, BOOL)
    return p.call("select", mask, p.operand(2, "value"), p.operand(0), dtype=p.dtype)


def convert(p: PointwiseContext) -> str:
    """``aten._to_copy``, ``clone``: conversion, rounded to the stored type where narrower."""
    value = p.operand(0, "self")
    stored = p.result.dtype
    if compute_dtype(stored) != stored:  # bf16, f16: round now, as PyTorch does
        value = p.body._push("cast", (value,), stored)
        value = p.body._push("cast", (value,), compute_dtype(stored))
    return value


def add_product(function: str | None) -> Build:
    """Self + value * tensor1 * tensor2 (or / tensor2)."""

    def build(p: PointwiseContext) -> str:
        part = p.call("div" if function == "div" else "mul", p.operand(1), p.operand(2))
        if p.node.attr("value", 1) != 1:
            part = p.call("mul", part, p.const(p.node.attr("value")))
        return p.call("add", p.operand(0), part)

    return build


def absolute(p: PointwiseContext) -> str:
    """``aten.abs``."""
    return p.operand(0) if p.dtype == BOOL else p.call("abs", p.operand(0))


def integer_identity(function: str) -> Build:
    """f(x) for floats, x itself for integers (floor, ceil, round, trunc)."""
    return lambda p: p.call(function, p.operand(0)) if p.dtype.is_float else p.operand(0)


def op(name: str, build: Build, *overloads: str) -> OpDef:
    """Make a pointwise record; overloads default to ``default``."""
    names = overloads or ("default",)
    aten = tuple(o if o.startswith("aten.") else f"aten.{name}.{o}" for o in names)
    return OpDef(name, aten, Pointwise(build))


FLOAT_UNARY = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "tanh",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
    "sigmoid",
    "silu",
    "mish",
    "erf",
    "erfc",
    "erfinv",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "relu6",
    "selu",
    "hardsigmoid",
    "hardswish",
]
SAME_UNARY = ("neg", "sign", "relu", "square", "frac")
ROUNDING = ("floor", "ceil", "round", "trunc")

OPS = (
    *(op(n, unary(n)) for n in (*FLOAT_UNARY, *SAME_UNARY)),
    *(op(n, integer_identity(n)) for n in ROUNDING),
    op("log_sigmoid", unary("logsigmoid"), "aten.log_sigmoid.default"),
    op("abs", absolute),
    op("gelu", gelu),
    op("add", scaled("add"), "Tensor", "Scalar"),
    op("sub", scaled("sub"), "Tensor", "Scalar"),
    op("rsub", reversed_sub, "Tensor", "Scalar"),
    op("mul", product, "Tensor", "Scalar"),
    op("div", division, "Tensor", "Scalar", "Tensor_mode", "Scalar_mode"),
    op("floor_divide", binary("floor_divide"), "default", "Scalar"),
    op("remainder", binary("remainder"), "Tensor", "Scalar", "Scalar_Tensor"),
    op("fmod", binary("fmod"), "Tensor", "Scalar"),
    op("pow", power, "Tensor_Tensor", "Tensor_Scalar", "Scalar"),
    op("maximum", binary("maximum")),
    op("minimum", binary("minimum")),
    op("fmax", binary("fmax")),
    op("fmin", binary("fmin")),
    op("atan2", binary("atan2")),
    op("copysign", binary("copysign"), "Tensor", "Scalar"),
    op("clamp", clamp, "Tensor", "default"),
    op(
        "clamp_min",
        binary("clamp_min", "self", "min"),
        "Tensor",
        "default",
    ),
    op("clamp_max", binary("clamp_max", "self", "max"), "Tensor", "default"),
    op("hardtanh", with_numbers("hardtanh", ("min_val", -1.0), ("max_val", 1.0))),
    op("leaky_relu", with_numbers("leaky_relu", ("negative_slope", 0.01))),
    op("softplus", with_numbers("softplus", ("beta", 1.0), ("threshold", 20.0))),
    op("elu", with_numbers("elu", ("alpha", 1.0), ("scale", 1.0), ("input_scale", 1.0))),
    op("celu", with_numbers("celu", ("alpha", 1.0))),
    op("threshold", with_numbers("threshold", ("threshold", 0.0), ("value", 0.0))),
    *(op(n, compare(n), "Tensor", "Scalar") for n in ("eq", "ne", "lt", "le", "gt", "ge")),
    op("logical_and", logical("and_")),
    op("logical_or", logical("or_")),
    op("logical_xor", logical("xor_")),
    op("logical_not", logical("not_")),
    op("bitwise_and", bitwise("and_"), "Tensor", "Scalar", "Scalar_Tensor"),
    op("bitwise_or", bitwise("or_"), "Tensor", "Scalar", "Scalar_Tensor"),
    op("bitwise_xor", bitwise("xor_"), "Tensor", "Scalar", "Scalar_Tensor"),
    op("bitwise_not", unary("not_")),
    op("isnan", predicate("isnan")),
    op("isinf", predicate("isinf")),
    op("isfinite", predicate("isfinite")),
    op("where", select, "self", "ScalarOther", "ScalarSelf", "Scalar"),
    op("masked_fill", masked_fill, "Tensor", "Scalar"),
    op("addcmul", add_product(None)),
    op("addcdiv", add_product("div")),
    op("copy", lambda p: p.operand(1)),
    op("to", convert, "aten._to_copy.default", "aten.clone.default", "aten.to.dtype"),
)
