"""Matrix products, attention, convolutions and pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mojoaccel.engines.max.lowering import Context, Image, Lowering, Refused
from mojoaccel.ir.graph import Node
from mojoaccel.ir.types import BOOL, F32, I64

LOWEST = -1e38
"""Stands for minus infinity before a softmax: finite in float32 and bfloat16, its exp is 0."""


def linear(ctx: Context, node: Node) -> Any:
    """X @ w.T + b."""
    x, weight, *bias = node.inputs
    result = ctx.ops.matmul(ctx[x], ctx.ops.transpose(ctx[weight], 0, 1))
    return ctx.ops.add(result, ctx[bias[0]]) if bias and bias[0] else result


def matmul(ctx: Context, node: Node) -> Any:
    """A @ b, leading axes broadcast."""
    return ctx.ops.matmul(ctx[node.inputs[0]], ctx[node.inputs[1]])


def _with_heads(ctx: Context, node: Node, name: str) -> Any:
    """Return keys or values with as many heads as the queries: each repeated for its group."""
    value, shape = ctx[name], ctx.types[name].shape
    heads = ctx.types[str(node.inputs[0])].shape[-3]
    if not node.attr("enable_gqa", False) or shape[-3] == heads:
        return value
    if not isinstance(heads, int) or not isinstance(shape[-3], int):
        raise Refused("a varying number of heads")
    sizes = ctx.shape(name)
    group = heads // shape[-3]
    spread = ctx.ops.unsqueeze(value, len(shape) - 2)
    spread = ctx.ops.broadcast_to(spread, [*sizes[:-2], group, *sizes[-2:]])
    return ctx.ops.reshape(spread, [*sizes[:-3], heads, *sizes[-2:]])


def _causal_mask(ctx: Context, node: Node) -> Any:
    """Return which keys each query may see: those not after it."""
    rows, columns = (ctx.types[str(i)].shape[-2] for i in node.inputs[:2])
    if isinstance(rows, int) and isinstance(columns, int):
        return ctx.ops.constant(np.tri(rows, columns, dtype=np.bool_), device=ctx.device)

    def count(size: Any) -> Any:
        end = ctx.dim(size)
        return ctx.ops.range(0, end, 1, end, dtype=ctx.dtype(I64), device=ctx.device)

    return ctx.ops.greater_equal(ctx.ops.unsqueeze(count(rows), 1), count(columns))


def attention(ctx: Context, node: Node) -> Any:
    """Softmax(scale * q @ k.T + mask) @ v; a query that sees nothing gives zeros."""
    ops, dtype = ctx.ops, node.output.type.dtype
    query, key, value, *rest = (str(i) if i else None for i in node.inputs)
    assert query is not None and key is not None and value is not None
    depth = ctx.types[query].shape[-1]
    if float(node.attr("dropout_p") or 0) or not isinstance(depth, int):
        raise Refused("dropout" if isinstance(depth, int) else "a varying head size")
    if ctx.types[query].rank < 3:
        raise Refused("operands without heads")
    scale = node.attr("scale")
    scale = 1.0 / math.sqrt(depth) if scale is None else float(scale)
    keys = _with_heads(ctx, node, key)
    scores = ops.matmul(ctx[query], ops.transpose(keys, -2, -1))
    scores = ops.mul(scores, ctx.number(scale, dtype))
    # MAX's softmax gives NaN where one of its lanes sees nothing but -inf (MAX 26.7).
    hidden = ctx.number(LOWEST, dtype)
    mask = rest[0] if rest else None
    blind = None
    if node.attr("is_causal", False):
        scores = ops.where(_causal_mask(ctx, node), scores, hidden)
    elif mask is not None and ctx.types[mask].dtype == BOOL:
        scores = ops.where(ctx[mask], scores, hidden)
        seen = ops.max(ops.cast(ctx[mask], ctx.dtype(F32)), axis=-1)
        blind = ops.equal(seen, ctx.number(0, F32))
    elif mask is not None:
        given = ctx.cast(ctx[mask], dtype)
        scores = ops.max(ops.add(scores, given), hidden)
        blind = ops.equal(ops.max(given, axis=-1), ctx.number(-math.inf, dtype))
    weights = ops.softmax(scores)
    if blind is not None:
        weights = ops.where(blind, ctx.number(0, dtype), weights)
    return ops.matmul(weights, _with_heads(ctx, node, value))


def pair(value: Any, default: int | None = None) -> tuple[int, int]:
    """Return a setting of two axes, which one number stands for."""
    given = default if value in (None, ()) else value
    many = list(given) if isinstance(given, (tuple, list)) else [given]
    whole = [n for n in many if isinstance(n, int)]
    if len(whole) != len(many):
        raise Refused(f"{value!r}")
    return (whole[0], whole[-1])


def _after(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Return the zeros behind an axis: what the size of the output needs."""
    return max(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - size - before)


def convolution(ctx: Context, node: Node) -> Any:
    """``conv1d`` and ``conv2d``: channels last, filters turned when the model is packaged."""
    name, weight = str(node.inputs[0]), str(node.inputs[1])
    if not ctx.is_weight(weight):
        raise Refused("a filter that is no weight")
    if isinstance(node.attr("padding"), str):
        raise Refused(f"padding={node.attr('padding')!r}")
    line = node.op == "conv1d"
    source, filters, out = (t.shape for t in (ctx.types[name], ctx.types[weight], node.output.type))
    sizes = [source[2:], out[2:], filters[2:]]
    if not all(isinstance(s, int) for s in (*source[1:], *out[2:])):
        raise Refused("an image of varying size")
    settings = [node.attr(a) for a in ("stride", "dilation", "padding")]
    stride, dilation, before = (pair(s, d) for s, d in zip(settings, (1, 1, 0), strict=True))
    if line:
        stride, dilation, before = (1, stride[1]), (1, dilation[1]), (0, before[1])
        sizes = [(1, *s) for s in sizes]
    numbers: Sequence[Sequence[int]] = [[int(str(n)) for n in s] for s in sizes]
    after = [
        _after(numbers[0][a], numbers[1][a], numbers[2][a], stride[a], dilation[a], before[a])
        for a in (0, 1)
    ]
    if line:
        image = ctx.ops.unsqueeze(ctx.ops.permute(ctx[name], [0, 2, 1]), 1)
        turned = ctx.ops.unsqueeze(ctx.parameter(weight, (2, 1, 0)), 0)
    else:
        image = ctx.image(name)
        turned = ctx.parameter(weight, (2, 3, 1, 0))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    result = ctx.ops.conv2d(
        image,
        turned,
        stride=stride,
        dilation=dilation,
        padding=(before[0], after[0], before[1], after[1]),
        groups=int(node.attr("groups", 1)),
        bias=None if bias is None else ctx[bias],
    )
    if not line:
        return Image(result)
    flat = ctx.ops.squeeze(result, 1)
    return ctx.ops.permute(flat, [0, 2, 1])


def pool(ctx: Context, node: Node) -> Any:
    """``max_pool2d`` and ``avg_pool2d``."""
    if node.output.type.rank != 4:
        raise Refused("an image without a batch")
    kernel = pair(node.attr("kernel_size"))
    settings = {
        "kernel_size": kernel,
        "stride": pair(node.attr("stride") or kernel),
        "padding": pair(node.attr("padding"), 0),
        "ceil_mode": bool(node.attr("ceil_mode", False)),
    }
    if settings["ceil_mode"]:
        raise Refused("ceil_mode=True")
    image = ctx.image(str(node.inputs[0]))
    if node.op == "max_pool2d":
        dilation = pair(node.attr("dilation"), 1)
        return Image(ctx.ops.max_pool2d(image, dilation=dilation, **settings))
    if node.attr("divisor_override") is not None:
        raise Refused("divisor_override")
    padded = bool(node.attr("count_include_pad", True))
    return Image(ctx.ops.avg_pool2d(image, count_boundary=padded, **settings))


def adaptive_pool(ctx: Context, node: Node) -> Any:
    """``adaptive_avg_pool2d`` to sizes that divide the image's."""
    name = str(node.inputs[0])
    height, width = ctx.types[name].shape[-2:]
    tall, wide = node.output.type.shape[-2:]
    sizes = (height, width, tall, wide)
    if node.output.type.rank != 4 or not all(isinstance(s, int) for s in sizes):
        raise Refused("an image of varying size")
    h, w, t, v = (int(str(s)) for s in sizes)
    if h % t or w % v:
        raise Refused(f"windows of different sizes ({h}x{w} to {t}x{v})")
    image = ctx.image(name)
    if (t, v) == (1, 1):
        return Image(ctx.ops.mean(ctx.ops.mean(image, axis=2), axis=1))
    kernel = (h // t, w // v)
    return Image(ctx.ops.avg_pool2d(image, kernel_size=kernel, stride=kernel))


LOWERINGS: dict[str, Lowering] = {
    "linear": linear,
    **dict.fromkeys(("mm", "bmm", "matmul"), matmul),
    "scaled_dot_product_attention": attention,
    "conv1d": convolution,
    "conv2d": convolution,
    "max_pool2d": pool,
    "avg_pool2d": pool,
    "adaptive_avg_pool2d": adaptive_pool,
}
