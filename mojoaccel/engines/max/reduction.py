"""Reductions and normalizations."""

from __future__ import annotations

from typing import Any

from mojoaccel.engines.max.lowering import Context, Lowering, Refused
from mojoaccel.ir.dims import size_prod
from mojoaccel.ir.graph import Node


def reduced_axes(ctx: Context, node: Node) -> list[int]:
    """Return the axes that a reduction goes over: those named, or all."""
    rank = ctx.types[str(node.inputs[0])].rank
    given = node.attr("dim")
    dims = [given] if isinstance(given, int) else list(given or [])
    return sorted({int(d) % max(1, rank) for d in dims}) or list(range(rank))


def reduction(function: str) -> Lowering:
    """Reduce axis by axis."""

    def lowering(ctx: Context, node: Node) -> Any:
        name, dtype = str(node.inputs[0]), node.output.type.dtype
        axes = reduced_axes(ctx, node)
        if name in ctx.images and ctx.is_image(name) and set(axes) <= {2, 3}:
            value, axes = ctx.images[name], [a - 1 for a in axes]
            turned = True
        else:
            value, turned = ctx[name], False
        value = ctx.cast(value, dtype)
        for axis in axes:
            value = getattr(ctx.ops, function)(value, axis=axis)
        if turned:
            value = ctx.ops.permute(value, [0, 3, 1, 2])
        return ctx.ops.reshape(value, ctx.shape(node.output.name))

    return lowering


def softmax(ctx: Context, node: Node) -> Any:
    """Softmax and its logarithm along an axis."""
    x = ctx.cast(ctx[node.inputs[0]], node.output.type.dtype)
    function = ctx.ops.softmax if node.op == "softmax" else ctx.ops.logsoftmax
    if not node.output.type.rank:
        raise Refused("a number")
    return function(x, axis=int(node.attr("dim")) % node.output.type.rank)


def _vector(ctx: Context, node: Node, position: int, size: Any, value: float) -> Any:
    """Return scale or shift of a normalization, or what stands for an absent one."""
    name = node.inputs[position] if position < len(node.inputs) else None
    if name is not None:
        return ctx.ops.reshape(ctx[name], [size])
    one = ctx.number(value, node.output.type.dtype)
    return ctx.ops.broadcast_to(one, [size])


def layer_norm(ctx: Context, node: Node) -> Any:
    """Normalize over the trailing axes."""
    kind = node.output.type
    count = len(node.attr("normalized_shape"))
    size = ctx.dim(size_prod(kind.shape[kind.rank - count :]))
    x = ctx[node.inputs[0]]
    flat = ctx.ops.reshape(x, [*ctx.shape(node.output.name)[: kind.rank - count], size])
    scale, shift = _vector(ctx, node, 1, size, 1), _vector(ctx, node, 2, size, 0)
    result = ctx.ops.layer_norm(flat, scale, shift, float(node.attr("eps", 1e-5)))
    return ctx.ops.reshape(result, ctx.shape(node.output.name))


def group_norm(ctx: Context, node: Node) -> Any:
    """Normalize within groups of channels: rows of equal length, then a scale a channel."""
    kind = node.output.type
    batch, channels, *space = kind.shape
    groups = int(node.attr("num_groups"))
    count = size_prod((channels, *space))
    if not isinstance(count, int) or not isinstance(channels, int):
        raise Refused("groups of varying size")
    ops, length = ctx.ops, count // groups
    rows = ops.reshape(ctx[node.inputs[0]], [ctx.dim(batch), groups, length])
    one, zero = ctx.number(1, kind.dtype), ctx.number(0, kind.dtype)
    scale, shift = ops.broadcast_to(one, [length]), ops.broadcast_to(zero, [length])
    normal = ops.layer_norm(rows, scale, shift, float(node.attr("eps", 1e-5)))
    result = ops.reshape(normal, ctx.shape(node.output.name))
    per_channel = [1, channels, *(1 for _ in space)]
    for position, function in ((1, ops.mul), (2, ops.add)):
        name = node.inputs[position] if position < len(node.inputs) else None
        if name is not None:
            result = function(result, ops.reshape(ctx[name], per_channel))
    return result


def rms_norm(ctx: Context, node: Node) -> Any:
    """Divide by the root of the mean square over the last axis."""
    kind = node.output.type
    if len(node.attr("normalized_shape")) != 1:
        raise Refused("more than one axis")
    if node.attr("eps") is None:
        raise Refused("no eps")
    weight = _vector(ctx, node, 1, ctx.dim(kind.shape[-1]), 1)
    return ctx.ops.rms_norm(ctx[node.inputs[0]], weight, float(node.attr("eps")))


LOWERINGS: dict[str, Lowering] = {
    "sum": reduction("sum"),
    "mean": reduction("mean"),
    "amax": reduction("max"),
    "amin": reduction("min"),
    "prod": reduction("prod"),
    "softmax": softmax,
    "log_softmax": softmax,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "rms_norm": rms_norm,
}
