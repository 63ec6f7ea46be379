"""Copies of a tensor with one window of it replaced."""

from __future__ import annotations

from collections.abc import Callable

from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import View
from mojoaccel.ir.types import TensorType
from mojoaccel.ops.indexing import lazy_of
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Kernel, OpDef
from mojoaccel.ops.shape import strided_window, view_diagonal


def lower_into(find: Callable[[Node, View], View]) -> Callable[[KernelContext, Node], None]:
    """Return a lowering that writes operand 1 into the window `find` of a copy of operand 0."""

    def lower(ctx: KernelContext, node: Node) -> None:
        base, source = (str(i) for i in node.inputs[:2])
        t = node.output.type
        into = ctx.new_buffer(node.output.name, t)
        ctx.store(lazy_of(ctx, base), into)
        inside = find(node, into)
        kind = TensorType(t.dtype, inside.shape)
        ctx.store(ctx.pointwise(node, [ctx.get(source)], lambda p: p.operand(0), kind), inside)
        ctx.define(node, into)

    return lower


OPS = (
    OpDef(
        "diagonal_scatter",
        ("aten.diagonal_scatter.default",),
        Kernel(lower_into(view_diagonal)),
    ),
    OpDef(
        "as_strided_scatter",
        ("aten.as_strided_scatter.default",),
        Kernel(lower_into(strided_window)),
    ),
)
