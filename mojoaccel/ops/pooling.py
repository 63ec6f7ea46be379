"""Pooling over windows of channels-last images."""

from __future__ import annotations

from mojoaccel.ir.dims import size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, KernelCall, Param, View
from mojoaccel.ir.types import I64
from mojoaccel.ops.images import (
    channels_last,
    channels_last_order,
    image,
    image_kernel,
    output_hw,
    pair,
    with_height,
)
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype
from mojoaccel.ops.registry import Kernel, OpDef, compute_dtype


def window_params(node: Node, rank: int, *, dilated: bool) -> tuple[tuple[str, Param], ...]:
    """Return kernel, stride, padding (and dilation) as kernel parameters."""
    kernel = pair(node.attr("kernel_size"), rank)
    stride = node.attr("stride") or kernel
    settings = [
        ("kernel", with_height(kernel, 1)),
        ("stride", with_height(pair(stride, rank), 1)),
        ("pad", with_height(pair(node.attr("padding", 0), rank), 0)),
    ]
    if dilated:
        settings.append(("dilation", with_height(pair(node.attr("dilation", 1), rank), 1)))
    return tuple((f"{n}_{a}", v) for n, hw in settings for a, v in zip("hw", hw, strict=True))


def pooled_view(ctx: KernelContext, node: Node) -> View:
    """Return the operand with channels innermost."""
    name = node.inputs[0]
    t = ctx.type(name)
    if t.rank not in (3, 4) or not isinstance(t.shape[1], int):
        raise ctx.reject(node, "pooling needs [N, C, W] or [N, C, H, W] with static channels")
    return ctx.view(name, accept=channels_last, order=channels_last_order(t.rank))


def pool(
    ctx: KernelContext, node: Node, function: str, params: tuple[tuple[str, Param], ...]
) -> Lazy:
    """Schedule a pooling kernel."""
    view = pooled_view(ctx, node)
    t = ctx.type(node.inputs[0])
    channels = int(str(t.shape[1]))
    dtype = accumulate_dtype(t.dtype) if t.dtype.is_float else compute_dtype(t.dtype)
    return image_kernel(
        ctx,
        node,
        "maccel.pooling",
        function,
        (("channels", channels), *params),
        (image(view),),
        dtype=dtype,
        scratch=0,
        macs=size_prod(node.output.type.shape) * 64,
    )


def lower_max_pool(ctx: KernelContext, node: Node) -> None:
    """``aten.max_pool2d`` and the values of ``max_pool2d_with_indices``."""
    rank = ctx.type(node.inputs[0]).rank - 2
    if len(node.outputs) == 2:
        indices = node.outputs[1].name
        if ctx.graph.users().get(indices) or indices in ctx.graph.outputs:
            pool_with_places(ctx, node)
            return
    lazy = pool(ctx, node, "max_pool2d", window_params(node, rank, dilated=True))
    if len(node.outputs) == 2:
        ctx.held[node.output.name] = lazy
        ctx.settle(node.output.name)
        return
    ctx.define(node, lazy)


def pool_with_places(ctx: KernelContext, node: Node) -> None:
    """Schedule the maximum over windows and where it is."""
    t = ctx.type(node.inputs[0])
    order = channels_last_order(t.rank)
    values, places = node.outputs
    into = ctx.new_buffer(values.name, values.type, order)
    where = ctx.new_buffer(places.name, places.type, order)
    view = pooled_view(ctx, node)
    dtype = accumulate_dtype(t.dtype) if t.dtype.is_float else compute_dtype(t.dtype)
    coords = ((0,), tuple(range(2, t.rank)), (1,))
    params = (("acc", dtype), ("channels", t.shape[1]))
    call = KernelCall(
        "maccel.pooling",
        "max_pool2d_with_indices",
        (*params, *window_params(node, t.rank - 2, dilated=True)),  # type: ignore[arg-type]
        (
            image(view),
            *output_hw(node),
            Arg("closure", ctx.store_closure(into, coords, dtype, 2)),
            Arg("closure", ctx.store_closure(where, coords, I64, 2)),
        ),
    )
    ctx.append([call], [node], values.type.numel * 4)
    ctx.define(node, into, where)


def lower_avg_pool(ctx: KernelContext, node: Node) -> None:
    """``aten.avg_pool2d``, ``aten.avg_pool1d``."""
    rank = ctx.type(node.inputs[0]).rank - 2
    params = window_params(node, rank, dilated=False)
    override = int(node.attr("divisor_override") or 0)
    counted = bool(node.attr("count_include_pad", True))
    more = (("count_include_pad", counted), ("divisor_override", override))
    ctx.define(node, pool(ctx, node, "avg_pool2d", (*params, *more)))


def lower_adaptive_avg_pool(ctx: KernelContext, node: Node) -> None:
    """``aten.adaptive_avg_pool2d``, ``aten.adaptive_avg_pool1d``."""
    ctx.define(node, pool(ctx, node, "adaptive_avg_pool2d", ()))


OPS = (
    OpDef(
        "max_pool2d",
        (
            "aten.max_pool2d.default",
            "aten.max_pool2d_with_indices.default",
            "aten.max_pool1d.default",
        ),
        Kernel(lower_max_pool),
    ),
    OpDef(
        "avg_pool2d",
        ("aten.avg_pool2d.default", "aten.avg_pool1d.default"),
        Kernel(lower_avg_pool),
    ),
    OpDef(
        "adaptive_avg_pool2d",
        (
            "aten.adaptive_avg_pool2d.default",
            "aten._adaptive_avg_pool2d.default",
            "aten.adaptive_avg_pool1d.default",
        ),
        Kernel(lower_adaptive_avg_pool),
    ),
)
