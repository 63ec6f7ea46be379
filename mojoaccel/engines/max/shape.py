"""Operators that move, pick, join and make values."""

from __future__ import annotations

from typing import Any

import numpy as np

from mojoaccel.engines.max.lowering import Context, Lowering, Refused
from mojoaccel.ir.graph import Node
from mojoaccel.ir.types import I64


def rank(ctx: Context, node: Node) -> int:
    """Return the number of axes of the first operand."""
    return ctx.types[str(node.inputs[0])].rank


def axis(ctx: Context, node: Node, attr: str = "dim") -> int:
    """Return an axis counted from the front."""
    return int(node.attr(attr)) % max(1, rank(ctx, node))


def reshape(ctx: Context, node: Node) -> Any:
    """The same elements in another shape, which the trace knows."""
    return ctx.ops.reshape(ctx[node.inputs[0]], ctx.shape(node.output.name))


def transpose(ctx: Context, node: Node) -> Any:
    """Exchange two axes."""
    x = ctx[node.inputs[0]]
    if not rank(ctx, node):
        return x
    return ctx.ops.transpose(x, axis(ctx, node, "dim0"), axis(ctx, node, "dim1"))


def permute(ctx: Context, node: Node) -> Any:
    """Reorder the axes; an image whose channels are asked for last is there already."""
    name = str(node.inputs[0])
    order = [int(d) % rank(ctx, node) for d in node.attr("dims")]
    if order == [0, 2, 3, 1] and name in ctx.images:
        return ctx.images[name]
    return ctx.ops.permute(ctx[name], order)


def expand(ctx: Context, node: Node) -> Any:
    """Repeat axes of size 1."""
    return ctx.ops.broadcast_to(ctx[node.inputs[0]], ctx.shape(node.output.name))


def select(ctx: Context, node: Node) -> Any:
    """One position along an axis."""
    index, at = node.attr("index"), axis(ctx, node)
    if not isinstance(index, int):
        raise Refused(f"the position {index}")
    size = ctx.types[str(node.inputs[0])].shape[at]
    if isinstance(size, int):
        index %= size
    return ctx.ops.slice_tensor(ctx[node.inputs[0]], [*[slice(None)] * at, index, ...])


def cut(ctx: Context, node: Node) -> Any:
    """A range along an axis, whose ends PyTorch clips to it."""
    at = axis(ctx, node)
    size, out = ctx.types[str(node.inputs[0])].shape[at], node.output.type.shape[at]
    start, end = node.attr("start") or 0, node.attr("end")
    step = node.attr("step", 1)
    if size == out:
        return ctx[node.inputs[0]]
    if not isinstance(start, int) or not isinstance(step, int):
        raise Refused(f"a slice from {start} by {step}")
    if start < 0 and not isinstance(size, int):
        raise Refused("a slice counted from the end of a varying axis")
    if isinstance(size, int):
        start = max(0, start + size) if start < 0 else min(start, size)
        end = size if end is None else end
        if not isinstance(end, int):
            raise Refused(f"a slice up to {end}")
        end = max(start, min(end + size if end < 0 else end, size))
        part: Any = slice(start, end, step)
    elif isinstance(out, int):
        part = (slice(start, start + out * step, step), out)
    else:
        raise Refused("a slice of varying length of a varying axis")
    return ctx.ops.slice_tensor(ctx[node.inputs[0]], [*[slice(None)] * at, part, ...])


def cat(ctx: Context, node: Node) -> Any:
    """Join along an axis; PyTorch leaves out empty vectors."""
    at = int(node.attr("dim", 0)) % max(1, node.output.type.rank)
    names = [str(i) for i in node.inputs if i and ctx.types[i].shape != (0,)]
    dtype = node.output.type.dtype
    return ctx.ops.concat([ctx.cast(ctx[n], dtype) for n in names], axis=at)


def pad(ctx: Context, node: Node) -> Any:
    """Pad by a number; PyTorch lists the last axis first."""
    amounts = list(node.attr("pad"))
    if not all(isinstance(a, int) and a >= 0 for a in amounts):
        raise Refused(f"padding by {amounts}")
    pairs = [amounts[i : i + 2] for i in range(0, len(amounts), 2)]
    pairs += [[0, 0]] * (rank(ctx, node) - len(pairs))
    flat = [n for pair in reversed(pairs) for n in pair]
    value = ctx.number(node.attr("value") or 0, node.output.type.dtype)
    return ctx.ops.pad(ctx[node.inputs[0]], flat, value=value)


def wrapped(ctx: Context, index: str, size: Any) -> Any:
    """Return positions with negative ones counted from the end."""
    positions = ctx.cast(ctx[index], I64)
    extent = ctx.number(size, I64)
    below = ctx.ops.greater(ctx.number(0, I64), positions)
    return ctx.ops.where(below, ctx.ops.add(positions, extent), positions)


def embedding(ctx: Context, node: Node) -> Any:
    """Rows of a table."""
    table, index = node.inputs[:2]
    return ctx.ops.gather(ctx[table], ctx[index], axis=0)


def index_select(ctx: Context, node: Node) -> Any:
    """Positions along an axis."""
    source, positions = str(node.inputs[0]), str(node.inputs[1])
    at = axis(ctx, node)
    places = wrapped(ctx, positions, ctx.types[source].shape[at])
    return ctx.ops.gather(ctx[source], places, axis=at)


def index(ctx: Context, node: Node) -> Any:
    """Positions along the leading axes, one tensor of them an axis."""
    source, *places = node.inputs
    shape = ctx.types[str(source)].shape
    while places and places[-1] is None:
        places.pop()
    if not places or any(p is None for p in places):
        raise Refused("indices that leave out a leading axis")
    if any(ctx.types[str(p)].dtype != I64 for p in places):
        raise Refused("a mask as an index")
    tail = len(shape) - len(places)
    lead = ctx.shape(node.output.name)[: node.output.type.rank - tail]
    found = [wrapped(ctx, str(p), size) for p, size in zip(places, shape, strict=False)]
    if len(found) == 1:
        return ctx.ops.gather(ctx[source], found[0], axis=0)
    spread = [ctx.ops.broadcast_to(f, lead) if lead else f for f in found]
    return ctx.ops.gather_nd(ctx[source], ctx.ops.stack(spread, axis=-1))


def arange(ctx: Context, node: Node) -> Any:
    """Equally spaced numbers."""
    start, end, step = node.attr("start") or 0, node.attr("end"), node.attr("step") or 1
    dtype = node.output.type.dtype
    if all(isinstance(n, (int, float)) for n in (start, end, step)):
        made = np.arange(start, end, step)
        return ctx.ops.constant(made.astype(dtype.numpy), ctx.dtype(dtype), ctx.device)
    if start != 0 or step != 1:
        raise Refused("a range of varying start or step")
    counted = ctx.ops.range(
        0, ctx.dim(end), 1, ctx.dim(end), dtype=ctx.dtype(I64), device=ctx.device
    )
    return ctx.cast(counted, dtype)


def filled(attr: str, default: float | None = None) -> Lowering:
    """A tensor of one number."""

    def lowering(ctx: Context, node: Node) -> Any:
        return ctx.full(node.attr(attr) if default is None else default, node.output.name)

    return lowering


def triangle(ctx: Context, node: Node) -> Any:
    """Keep what is on one side of a diagonal."""
    *_, rows, columns = node.output.type.shape
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Refused("a triangle of varying size")
    ones = np.ones((rows, columns), np.bool_)
    side = np.tril if node.op == "tril" else np.triu
    mask = side(ones, int(node.attr("diagonal", 0)))
    kept = ctx.ops.constant(mask, device=ctx.device)
    zero = ctx.number(0, node.output.type.dtype)
    return ctx.ops.where(kept, ctx[node.inputs[0]], zero)


def upsample_nearest(ctx: Context, node: Node) -> Any:
    """Repeat each pixel a whole number of times."""
    *_, height, width = ctx.types[str(node.inputs[0])].shape
    *_, tall, wide = node.output.type.shape
    sizes = (height, width, tall, wide)
    if not all(isinstance(s, int) for s in sizes):
        raise Refused("an image of varying size")
    times = (int(str(tall)) // int(str(height)), int(str(wide)) // int(str(width)))
    if (int(str(height)) * times[0], int(str(width)) * times[1]) != (tall, wide):
        raise Refused("a scale that is no whole number")
    lead = ctx.shape(str(node.inputs[0]))[:2]
    spread = ctx.ops.reshape(ctx[node.inputs[0]], [*lead, height, 1, width, 1])
    spread = ctx.ops.broadcast_to(spread, [*lead, height, times[0], width, times[1]])
    return ctx.ops.reshape(spread, ctx.shape(node.output.name))


def top(ctx: Context, node: Node) -> Any:
    """The largest values along an axis, and where they are."""
    if not node.attr("largest", True):
        raise Refused("the smallest values")
    return ctx.ops.top_k(ctx[node.inputs[0]], int(node.attr("k")), axis(ctx, node))


def cumulative_sum(ctx: Context, node: Node) -> Any:
    """Running sums along an axis."""
    x = ctx.cast(ctx[node.inputs[0]], node.output.type.dtype)
    return ctx.ops.cumsum(x, axis=axis(ctx, node)) if rank(ctx, node) else x


def extreme_position(ctx: Context, node: Node) -> Any:
    """Where the largest (smallest) value along an axis is; the first of equals."""
    function = ctx.ops.argmax if node.op == "argmax" else ctx.ops.argmin
    x = ctx[node.inputs[0]]
    if node.attr("dim") is None:
        x = ctx.ops.reshape(x, [-1])
        at = 0
    else:
        at = axis(ctx, node)
    if not ctx.types[str(node.inputs[0])].dtype.is_float:
        raise Refused("whole numbers")
    return ctx.ops.reshape(function(x, axis=at), ctx.shape(node.output.name))


RESHAPES = ("view", "unsqueeze", "squeeze")
LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(RESHAPES, reshape),
    "transpose": transpose,
    "t": lambda ctx, node: ctx.ops.transpose(ctx[node.inputs[0]], 0, 1),
    "permute": permute,
    "expand": expand,
    "select": select,
    "slice": cut,
    "cat": cat,
    "constant_pad_nd": pad,
    "embedding": embedding,
    "index_select": index_select,
    "index": index,
    "arange": arange,
    "full": filled("fill_value"),
    "full_like": filled("fill_value"),
    "new_full": filled("fill_value"),
    "scalar_tensor": filled("s"),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), filled("", 0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), filled("", 1)),
    "tril": triangle,
    "triu": triangle,
    "upsample_nearest2d": upsample_nearest,
    "topk": top,
    "cumsum": cumulative_sum,
    "argmax": extreme_position,
    "argmin": extreme_position,
}
