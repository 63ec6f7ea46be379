"""Complex tensors at the edges of a graph: made from two parts, or read as pairs of real numbers.

Inside, `passes.split_complex` has replaced every complex value by its real and imaginary part, so
these records see only the inputs, weights, outputs and operands of kernels that take complex
memory. In memory a complex number is two real ones side by side, as in PyTorch.
"""

from __future__ import annotations

import math

from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import View
from mojoaccel.ir.types import BOOL, TensorType
from mojoaccel.ops.complex_memory import as_pairs, part_dtype, part_of
from mojoaccel.ops.lazy import as_lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Kernel, OpDef, Pointwise, PointwiseContext, Split, ViewOp


def view_as_real(node: Node, view: View) -> View:
    """``aten.view_as_real``."""
    del node
    return as_pairs(view)


def lower_complex(ctx: KernelContext, node: Node) -> None:
    """``aten.complex``: both parts are computed straight into interleaved memory."""
    t = node.output.type
    into = ctx.new_buffer(node.output.name, t)
    real = TensorType(part_dtype(t.dtype), t.shape)
    for part, name in enumerate(node.inputs):
        held = ctx.get(str(name))
        lazy = as_lazy(held) if isinstance(held, View) else held
        value = ctx.pointwise(node, [lazy], lambda p: p.operand(0), real)
        ctx.store(value, part_of(into, part))
    ctx.define(node, into)


def angle(p: PointwiseContext) -> str:
    """``aten.angle`` of real numbers: pi where negative, 0 elsewhere, NaN where NaN."""
    x = p.operand(0)
    turned = p.call(
        "select",
        p.call("lt", x, p.const(0), dtype=BOOL),
        p.const(math.pi),
        p.const(0),
        dtype=p.dtype,
    )
    if not p.dtype.is_float:
        return turned
    return p.call("select", p.call("isnan", x, dtype=BOOL), x, turned, dtype=p.dtype)


OPS = (
    OpDef("angle", ("aten.angle.default",), Pointwise(angle)),
    OpDef(
        "neg_view",
        ("aten._neg_view.default",),
        Pointwise(lambda p: p.call("neg", p.operand(0))),
    ),
    OpDef("complex", ("aten.complex.default",), Kernel(lower_complex)),
    OpDef("view_as_real", ("aten.view_as_real.default",), ViewOp(view_as_real)),
    OpDef("view_as_complex", ("aten.view_as_complex.default",), Split()),
    OpDef("polar", ("aten.polar.default",), Split()),
    OpDef(
        "conj",
        (
            "aten._conj.default",
            "aten.conj_physical.default",
            "aten.conj.default",
            "aten._conj_physical.default",
            "aten.resolve_conj.default",
        ),
        Split(),
    ),
)
