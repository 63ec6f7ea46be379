"""Memory read as elements of another type."""

from __future__ import annotations

from dataclasses import replace

from mojoaccel.ir.graph import Node
from mojoaccel.ops.lazy import contiguous_strides
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Kernel, OpDef


def lower_view_dtype(ctx: KernelContext, node: Node) -> None:
    """``aten.view.dtype``: where the sizes of the elements differ, the last axis changes."""
    t = node.output.type
    view = ctx.view(node.inputs[0])
    if "c" in (t.dtype.kind, view.dtype.kind):
        raise ctx.reject(node, "complex numbers read as another type: use view_as_real")
    if t.dtype.size != view.dtype.size:
        view = ctx.contiguous(node.inputs[0])
        if view.offset != 0:
            view = ctx.copy(view)
        view = replace(view, shape=t.shape, strides=contiguous_strides(t.shape))
    ctx.define(node, replace(view, dtype=t.dtype))


OPS = (OpDef("view_dtype", ("aten.view.dtype", "aten.view_copy.dtype"), Kernel(lower_view_dtype)),)
