"""What each operator means for complex operands, in terms of real and imaginary parts.

A rule takes a node under replacement and returns one result per output: a pair of parts where the
output is complex, the name of a value where it is real. `passes.split_complex` applies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mojoaccel.errors import error
from mojoaccel.ir.graph import Attr
from mojoaccel.ir.types import BOOL, TensorType
from mojoaccel.ops.complex_functions import (
    Result,
    conjugate,
    cosine,
    hyperbolic_cosine,
    hyperbolic_tangent,
    logistic,
    product_of,
    sign,
    sine,
    tangent,
    turned,
)
from mojoaccel.ops.complex_inverse import (
    arccosine,
    arcsine,
    exponential_less_one,
    hyperbolic_arccosine,
    hyperbolic_arctangent,
    logarithm_beside_one,
    logarithm_to,
)
from mojoaccel.ops.complex_parts import (
    Pair,
    Part,
    Rewriting,
    is_complex,
    read_number,
    real_type,
)
from mojoaccel.ops.complex_reductions import (
    distance,
    log_of_sum,
    product,
    running_product,
    variance,
    vector_norm,
)

Rule = Callable[[Rewriting], Sequence[Result]]


@dataclass(frozen=True)
class Unary:
    """A function of one operand."""

    build: Callable[[Rewriting, Pair], Result]

    def __call__(self, r: Rewriting) -> Sequence[Result]:
        """Apply it to operand 0."""
        return [self.build(r, r.operand(0))]


APART = frozenset(
    """
    view permute transpose t expand squeeze unsqueeze slice select flip diagonal unfold cat
    index gather index_select slice_scatter select_scatter diagonal_scatter embedding tril
    triu sum mean cumsum constant_pad_nd where masked_fill index_put scatter scatter_add
    index_add index_copy index_fill masked_scatter as_strided_scatter copy roll diag_embed neg
    split unbind stack repeat chunk
    pixel_shuffle take_along_dim as_strided reflection_pad1d reflection_pad2d
    reflection_pad3d replication_pad1d replication_pad2d replication_pad3d movedim rot90
    tile to nansum select_copy fliplr flipud channel_shuffle repeat_interleave trace full
    full_like zeros zeros_like ones ones_like new_zeros new_ones new_full new_empty empty
    empty_like scalar_tensor fill eye
    """.split()  # noqa: SIM905
)
"""Operators that are linear, or only move values: each part is treated alone."""

_ADDING = frozenset(("cat", "stack", "slice_scatter", "select_scatter", "diagonal_scatter", "copy"))
_NUMBERS = ("value", "fill_value", "s", "self", "other")
_CONSTANT_ONE = frozenset(("ones", "ones_like", "new_ones", "eye"))
_MADE = _CONSTANT_ONE | frozenset(
    """
    full full_like zeros zeros_like new_zeros new_full new_empty empty empty_like scalar_tensor
    """.split()  # noqa: SIM905
)


def apart(r: Rewriting) -> Sequence[Result]:
    """Apply the operator to the real and to the imaginary parts."""
    node, made = r.node, []
    if node.attr("reduce") is not None:
        raise error("MA302", f"{node.op} of complex numbers with a reduction", loc=node.loc)
    for part in (0, 1):
        if node.op in _MADE:
            made.append([_made(r, part)])
            continue
        inputs = [_input(r, position, part) for position in range(len(node.inputs))]
        attrs: dict[str, Attr] = {k: _attr(k, v, part) for k, v in node.attrs}
        types = [TensorType(real_type(v.type.dtype), v.type.shape) for v in node.outputs]
        start = len(r.b.nodes)
        r.b.add(node.op, inputs, types, **attrs)
        made.append([v.name for v in r.b.nodes[start].outputs])
    results: list[Result] = []
    for value, re, im in zip(node.outputs, *made, strict=True):
        pair = (re, im)
        results.append(pair if is_complex(value.type) else r.parts.value(re, value.type.shape))
    return results


def _made(r: Rewriting, part: int) -> Part:
    """Return a part of a tensor made from nothing."""
    node = r.node
    if node.op == "eye":
        if part:
            return None
        t = TensorType(r.parts.dtype, node.output.type.shape)
        attrs = {k: _attr(k, v, part) for k, v in node.attrs}
        return r.b.add("eye", [], t, **attrs)
    if node.op in _CONSTANT_ONE:
        return 0.0 if part else 1.0
    value = node.attr("fill_value", node.attr("s", 0)) if "empty" not in node.op else 0
    number = read_number(value)
    return number.imag if part else number.real


def _input(r: Rewriting, position: int, part: int) -> str | None:
    """Return a part of operand `position`; indices and masks are the same for both parts."""
    name = r.node.inputs[position]
    if name is None:
        return None
    if name in r.pairs:
        return r.parts.value(r.pairs[name][part], r.b.types[name].shape)
    t = r.b.types[name]
    data = t.dtype.is_float or r.node.op in _ADDING or (r.node.op == "where" and position > 0)
    if part == 0 or not data:
        return name
    return r.parts.value(None, t.shape)


def _attr(name: str, value: Attr, part: int) -> Attr:
    if name == "dtype" and isinstance(value, str) and value.startswith("complex"):
        return {"complex64": "float32", "complex128": "float64"}[value]
    if name in _NUMBERS and value is not None:
        number = read_number(value)
        return number.imag if part else number.real
    return value


def convert(r: Rewriting) -> Sequence[Result]:
    """Convert between types; the imaginary part of what becomes real is dropped."""
    re, im = r.operand(0)
    out = r.node.output.type
    source = r.b.types[str(r.node.inputs[0])]
    real = TensorType(real_type(out.dtype), source.shape)

    def cast(part: Part) -> Part:
        if not isinstance(part, str) or r.b.types[part].dtype == real.dtype:
            return part
        return r.b.add("to", [part], real, dtype=real.dtype.torch)

    if is_complex(out):
        return [(cast(re), cast(im))]
    if out.dtype == BOOL:
        return [_nonzero(r, (re, im))]
    return [str(r.parts.value(cast(re), source.shape))]


def _nonzero(r: Rewriting, x: Pair) -> str:
    return r.parts.b.add(
        "logical_or",
        [r.parts.compare("ne", x[0], None), r.parts.compare("ne", x[1], None)],
        TensorType(BOOL, r.node.output.type.shape),
    )


def add(r: Rewriting) -> Sequence[Result]:
    """Self + alpha * other, self - alpha * other, and the reverse."""
    x, y = r.operand(0, "self"), r.operand(1, "other")
    alpha = read_number(r.node.attr("alpha", 1))
    if r.node.op == "rsub":
        x, y = y, x
    if alpha != 1:
        y = r.parts.product(y, (alpha.real, alpha.imag or None))
    combine = r.parts.add if r.node.op == "add" else r.parts.sub
    return [(combine(x[0], y[0]), combine(x[1], y[1]))]


def multiply(r: Rewriting) -> Sequence[Result]:
    """Self * other."""
    return [r.parts.product(r.operand(0, "self"), r.operand(1, "other"))]


def fused(r: Rewriting) -> Sequence[Result]:
    """Self + value * tensor1 * tensor2 (or their quotient)."""
    p = r.parts
    x, y, z = (r.operand(k) for k in range(3))
    number = read_number(r.node.attr("value", 1))
    y = p.product(y, (number.real, number.imag or None))
    more = p.product(y, z) if r.node.op == "addcmul" else p.quotient(y, z)
    return [(p.add(x[0], more[0]), p.add(x[1], more[1]))]


def scaled(r: Rewriting) -> Sequence[Result]:
    """``aten.ldexp``: self times two to a power."""
    power = r.parts.product(r.operand(1), (math.log(2), None))
    return [r.parts.product(r.operand(0), r.parts.exp(power))]


def line(r: Rewriting) -> Sequence[Result]:
    """``aten.linspace`` of both parts; powers of a base for ``aten.logspace``."""
    t = TensorType(r.parts.dtype, r.node.output.type.shape)
    ends = [read_number(r.node.attr(k)) for k in ("start", "end")]
    steps = r.node.attr("steps")
    re, im = (
        r.b.add("linspace", [], t, start=a, end=b, steps=steps)
        for a, b in zip(*((e.real, e.imag) for e in ends), strict=True)
    )
    if r.node.op == "linspace":
        return [(re, im)]
    scale = (math.log(float(r.node.attr("base", 10.0))), None)
    return [r.parts.exp(r.parts.product((re, im), scale))]


def divide(r: Rewriting) -> Sequence[Result]:
    """Self / other."""
    return [r.parts.quotient(r.operand(0, "self"), r.operand(1, "other"))]


def equal(r: Rewriting) -> Sequence[Result]:
    """Self == other, self != other: both parts count."""
    x, y = r.operand(0, "self"), r.operand(1, "other")
    op = r.node.op
    both = [r.parts.compare(op, x[k], y[k]) for k in (0, 1)]
    join = "logical_and" if op == "eq" else "logical_or"
    return [r.b.add(join, both, r.node.output.type)]


def either(join: str) -> Rule:
    """Return the rule of a predicate that holds when it holds for one part, or for both."""

    def rule(r: Rewriting) -> Sequence[Result]:
        t = r.node.output.type
        both = [r.b.add(r.node.op, [r.parts.value(p, t.shape)], t) for p in r.operand(0)]
        return [r.b.add(join, both, t)]

    return rule


def truth(r: Rewriting) -> Sequence[Result]:
    """Apply a logical operator or any/all to whether values are zero."""
    masks: list[str | None] = []
    for name in r.node.inputs:
        if name in r.pairs:
            t = TensorType(BOOL, r.b.types[str(name)].shape)
            both = [r.parts.compare("ne", p, None) for p in r.pairs[str(name)]]
            masks.append(r.b.add("logical_or", both, t))
        else:
            masks.append(name)
    return [r.b.add(r.node.op, masks, r.node.output.type, **dict(r.node.attrs))]


def power(r: Rewriting) -> Sequence[Result]:
    """Self ** exponent, either of them a number."""
    exponent = r.node.attr("exponent")
    if exponent is not None:
        return [r.parts.power(r.operand(0, "self"), read_number(exponent))]
    base, index = r.operand(0, "self"), r.operand(1)
    return [r.parts.exp(r.parts.product(index, r.parts.log(base)))]


def matmul(r: Rewriting) -> Sequence[Result]:
    """Multiply matrices: a product for each pair of parts that is not zero."""
    x, y, *rest = (r.operand(k) for k in range(len(r.node.inputs)))
    if r.node.op == "vdot":
        x = (x[0], r.parts.neg(x[1]))
    op = {"vdot": "dot"}.get(r.node.op, r.node.op)
    t = TensorType(r.parts.dtype, r.node.output.type.shape)

    def times(a: Part, b: Part) -> Part:
        return None if a is None or b is None else r.b.add(op, [str(a), str(b)], t)

    re = r.parts.sub(times(x[0], y[0]), times(x[1], y[1]))
    im = r.parts.add(times(x[0], y[1]), times(x[1], y[0]))
    if rest and r.node.inputs[2] is not None:
        re, im = r.parts.add(re, rest[0][0]), r.parts.add(im, rest[0][1])
    return [(re, im)]


def pair(r: Rewriting) -> Sequence[Result]:
    """``aten.complex`` of two real tensors."""
    return [(r.node.inputs[0], r.node.inputs[1])]


def polar(r: Rewriting) -> Sequence[Result]:
    """``aten.polar``: a length and an angle."""
    size, angle = r.node.inputs
    return [(r.parts.mul(size, r.parts.call("cos", angle)),
             r.parts.mul(size, r.parts.call("sin", angle)))]  # fmt: skip


def select_pair(r: Rewriting) -> Sequence[Result]:
    """``aten.view_as_complex``: the two places of the last axis."""
    name = str(r.node.inputs[0])
    t = TensorType(r.parts.dtype, r.node.output.type.shape)
    re, im = (r.b.add("select", [name], t, dim=t.rank, index=k) for k in (0, 1))
    return [(re, im)]


def stack_pair(r: Rewriting) -> Sequence[Result]:
    """``aten.view_as_real``: both parts side by side."""
    t = r.node.output.type
    shape = t.shape[:-1]
    parts = []
    for part in r.operand(0):
        value = r.parts.value(part, shape)
        if r.b.types[value].shape != shape:
            value = r.b.add("expand", [value], TensorType(t.dtype, shape), size=shape)
        parts.append(value)
    return [r.b.add("stack", parts, t, dim=len(shape))]


def real_angle(r: Rewriting) -> Sequence[Result]:
    """The argument."""
    return [r.parts.angle(r.operand(0))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(APART, apart),
    "to": convert,
    "add": add,
    "sub": add,
    "rsub": add,
    "mul": multiply,
    "div": divide,
    "eq": equal,
    "ne": equal,
    "pow": power,
    **dict.fromkeys(("mm", "bmm", "matmul", "dot", "vdot", "mv", "linear"), matmul),
    "complex": pair,
    "polar": polar,
    "view_as_complex": select_pair,
    "view_as_real": stack_pair,
    "isnan": either("logical_or"),
    "isinf": either("logical_or"),
    "isfinite": either("logical_and"),
    **dict.fromkeys(
        """
        logical_not logical_and logical_or logical_xor any all nonzero_static count_nonzero
        """.split(),  # noqa: SIM905
        truth,
    ),
    "abs": Unary(lambda r, x: r.parts.size(x)),
    "angle": real_angle,
    "conj": Unary(conjugate),
    "neg_view": apart,
    "sgn": Unary(sign),
    "square": Unary(product_of),
    "reciprocal": Unary(lambda r, x: r.parts.quotient((1.0, None), x)),
    "exp": Unary(lambda r, x: r.parts.exp(x)),
    "log": Unary(lambda r, x: r.parts.log(x)),
    "sqrt": Unary(lambda r, x: r.parts.sqrt(x)),
    "rsqrt": Unary(lambda r, x: r.parts.quotient((1.0, None), r.parts.sqrt(x))),
    "sin": Unary(sine),
    "cos": Unary(cosine),
    "tan": Unary(tangent),
    "sinh": Unary(turned(sine)),
    "cosh": Unary(hyperbolic_cosine),
    "tanh": Unary(hyperbolic_tangent),
    "sigmoid": Unary(logistic),
    "asin": Unary(arcsine),
    "acos": Unary(arccosine),
    "atan": Unary(turned(hyperbolic_arctangent)),
    "asinh": Unary(turned(arcsine)),
    "acosh": Unary(hyperbolic_arccosine),
    "atanh": Unary(hyperbolic_arctangent),
    "log1p": Unary(logarithm_beside_one),
    "log2": Unary(logarithm_to(2)),
    "log10": Unary(logarithm_to(10)),
    "expm1": Unary(exponential_less_one),
    "addcmul": fused,
    "addcdiv": fused,
    "ldexp": scaled,
    "linspace": line,
    "logspace": line,
    "dist": distance,
    "logsumexp": log_of_sum,
    "prod": product,
    "cumprod": running_product,
    "silu": Unary(lambda r, x: r.parts.product(x, logistic(r, x))),
    "exp2": Unary(lambda r, x: r.parts.exp(r.parts.product(x, (math.log(2), None)))),
    "linalg_vector_norm": vector_norm,
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), variance),
}
"""By operator name."""

EXPANDED = frozenset(
    """
    addmm baddbmm addmv addbmm addr lerp fft_shift outer cross _trilinear norm take put
    narrow_copy
    """.split()  # noqa: SIM905
)
"""Composites whose rewriting is right for complex operands too."""

__all__ = ["EXPANDED", "RULES", "Result"]
