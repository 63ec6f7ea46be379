"""Reading and writing at computed positions: index, gather, embedding, concatenation, padding.

Reads are ``gather`` steps of the scalar program, so they fuse with whatever follows. Writes that
cover a window (concatenation, padding, slice_scatter) are stores into a view of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mojoaccel.ir.dims import Size, size_max, size_min
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import View
from mojoaccel.ir.types import BOOL, I64, U8, TensorType
from mojoaccel.ops.lazy import Held, Lazy, Program, as_lazy, map_leaves, used_leaves
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import tied_panels
from mojoaccel.ops.pointwise_nest import storage_order
from mojoaccel.ops.registry import Decompose, Kernel, OpDef, compute_dtype


def spread(ctx: KernelContext, held: Held, shape: Sequence[Size], first: int) -> Held:
    """View `held` over `shape`, its axes lying at `first`, broadcast along all others."""

    def widen(view: View) -> View:
        strides: list[Size] = [0] * len(shape)
        pad = first
        for i, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)):
            strides[pad + i] = 0 if n == 1 and shape[pad + i] != 1 else s
        return replace(view, shape=tuple(shape), strides=tuple(strides))

    if isinstance(held, Lazy):
        mapped = map_leaves(held, widen)
        if mapped is not None:
            return mapped
        held = ctx.realize_held(held)
    return widen(held)


def read_at(
    ctx: KernelContext,
    node: Node,
    source: View,
    indices: Sequence[tuple[Held, Size, Size]],
    *,
    wrap: bool = False,
) -> Lazy:
    """Return source[...] where each (index, stride, extent) moves the position by index*stride.

    Args:
        ctx: The schedule.
        node: The operator.
        source: Window whose shape is the result's; indexed axes have stride 0.
        indices: Integer values over the result's shape, how far one step moves, and the number of
            valid positions.
        wrap: Whether negative indices count from the end; else they are out of range.
    """
    t = node.output.type
    program = Program.empty()
    triples: list[tuple[str, Size, Size | None]] = []
    for index, stride, extent in indices:
        late = isinstance(index, Lazy) and index.kernel is not None
        held = ctx.realize_held(index) if late else index
        name = program.include(held, t.shape)
        name = program.body.cast(name, I64)
        if wrap:
            triples.append((name, stride, extent))
        else:
            triples.append((program.body.guard("check", name, extent), stride, None))
    leaf = program.leaf(source)
    value = program.body._push("gather", (leaf, *triples), source.dtype)
    value = program.body.cast(value, compute_dtype(source.dtype))
    nodes = tuple(n for h, _, _ in indices if isinstance(h, Lazy) for n in h.nodes)
    lazy = program.finish(value, t.shape, t.dtype, None, (*dict.fromkeys(nodes), node))
    return used_leaves(lazy)


def lower_embedding(ctx: KernelContext, node: Node) -> None:
    """``aten.embedding``: rows of a table."""
    table, index = node.inputs[:2]
    assert table is not None and index is not None
    t = node.output.type
    panels = tied_panels(ctx, table)
    if panels is not None:
        ctx.define(node, _read_panels(ctx, node, panels, index))
        return
    weight = ctx.view(table)
    source = View(
        weight.buffer,
        weight.dtype,
        t.shape,
        (*(0,) * (t.rank - 1), weight.strides[1]),
        weight.offset,
    )
    held = spread(ctx, ctx.get(index), t.shape, 0)
    ctx.define(node, read_at(ctx, node, source, [(held, weight.strides[0], weight.shape[0])]))


def _read_panels(ctx: KernelContext, node: Node, panels: View, index: str) -> Lazy:
    """Read rows of a table that lies in panels: row r is column r % NR of panel r // NR."""
    t = node.output.type
    count, depth, width = panels.shape[:3]
    rows = ctx.type(node.inputs[0]).shape[0]
    held = spread(ctx, ctx.get(index), t.shape, 0)
    line = TensorType(I64, t.shape)

    def part(function: str) -> Lazy:
        return ctx.pointwise(
            node, [held], lambda p: p.call(function, p.operand(0), p.const(width)), line
        )

    def column(function: str) -> Lazy:
        axis = t.rank - 1
        return ctx.pointwise(
            node, [], lambda p: p.call(function, p.body.index(axis), p.const(2)), line
        )

    pairs = len(panels.shape) == 4
    strides: tuple[Size, ...] = (*(0,) * (t.rank - 1), 0 if pairs else panels.strides[1])
    source = View(panels.buffer, panels.dtype, t.shape, strides, panels.offset)
    places: list[tuple[Held, Size, Size]] = [
        (held, 0, rows),  # moves nothing; panels are padded, so only this bounds the index
        (part("floor_divide"), panels.strides[0], count),
        (part("remainder"), panels.strides[2], width),
    ]
    if pairs:
        places += [
            (column("floor_divide"), panels.strides[1], depth),
            (column("remainder"), panels.strides[3], 2),
        ]
    return read_at(ctx, node, source, places)


def lower_index(ctx: KernelContext, node: Node) -> None:
    """``aten.index.Tensor``: integer tensors select along some axes (NumPy's advanced indexing)."""
    source, *indices = node.inputs
    view = ctx.view(source)
    axes = [a for a, name in enumerate(indices) if name is not None]
    types = [ctx.type(indices[a]) for a in axes]
    if any(is_mask(t) for t in types):
        raise ctx.reject(
            node,
            "indexing by a boolean mask gives a size known only at run time",
            "use torch.where or multiply by the mask",
        )
    t = node.output.type
    _, first, rank = indexed_shape(ctx, view.shape, indices)
    others = [a for a in range(len(view.shape)) if a not in axes]
    strides: list[Size] = [0] * t.rank
    for position, axis in enumerate(others):
        where = position if position < first else position + rank
        strides[where] = view.strides[axis]
    window = View(view.buffer, view.dtype, t.shape, tuple(strides), view.offset)
    triples = []
    for axis, kind in zip(axes, types, strict=True):
        name = indices[axis]
        assert name is not None
        held = spread(ctx, ctx.get(name), t.shape, first + rank - kind.rank)
        triples.append((held, view.strides[axis], view.shape[axis]))
    ctx.define(node, read_at(ctx, node, window, triples, wrap=True))


def rewrite_take(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.take`` as an index of the flattened tensor."""
    x, index = node.inputs
    t = b.types[str(x)]
    line = TensorType(t.dtype, (t.numel,))
    flat = b.add("view", [x], line, size=line.shape)
    return [b.add("index", [flat, index], node.output.type)]


def is_mask(t: TensorType) -> bool:
    """Whether an index tensor selects by truth value."""
    return t.dtype in (BOOL, U8)


def indexed_shape(
    ctx: KernelContext, shape: Sequence[Size], indices: Sequence[str | None]
) -> tuple[tuple[Size, ...], int, int]:
    """Return the shape that integer indices select from `shape`, and where their dims lie in it.

    Index tensors at neighbouring axes put their broadcast shape there, others in front.

    Returns:
        The shape, the first of the index dims and their number.
    """
    axes = [a for a, name in enumerate(indices) if name is not None]
    shapes = [ctx.type(indices[a]).shape for a in axes]
    rank = max(len(s) for s in shapes)
    met: list[Size] = [1] * rank
    for found in shapes:
        for i, n in enumerate(found):
            at = rank - len(found) + i
            met[at] = n if met[at] == 1 else met[at]
    first = axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0
    others = [n for a, n in enumerate(shape) if a not in axes]
    return (*others[:first], *met, *others[first:]), first, rank


def lower_gather(ctx: KernelContext, node: Node) -> None:
    """``aten.gather`` and ``aten.index_select``: one index along one axis."""
    source, index = node.inputs
    assert index is not None
    view = ctx.view(source)
    t = node.output.type
    rank = len(view.shape)
    axis = int(node.attr("dim")) % max(rank, 1)
    if 0 in t.shape:  # whatever the ranks are
        ctx.define(node, constant(ctx, node, 0, t))
        return
    held = ctx.get(index)
    if rank == 0:  # a scalar has one position, 0
        view = replace(view, shape=(1,), strides=(0,))
    if node.op == "index_select":
        if t.rank == 0 and held.shape:
            held = replace(ctx.view(index), shape=(), strides=())
        held = spread(ctx, held, t.shape, axis if t.rank else 0)
    strides = tuple(0 if a == axis else s for a, s in enumerate(view.strides))[: t.rank]
    window = View(view.buffer, view.dtype, t.shape, strides, view.offset)
    ctx.define(node, read_at(ctx, node, window, [(held, view.strides[axis], view.shape[axis])]))


def window(view: View, axis: int, start: Size, length: Size) -> View:
    """Return `length` positions of `view` along `axis` from `start`."""
    shape = tuple(length if a == axis else n for a, n in enumerate(view.shape))
    return replace(view, shape=shape, offset=view.offset + start * view.strides[axis])


def lazy_of(ctx: KernelContext, name: str) -> Lazy:
    """Return a value as a program, without storing it."""
    held = ctx.get(name)
    return as_lazy(held) if isinstance(held, View) else held


def lower_cat(ctx: KernelContext, node: Node) -> None:
    """``aten.cat``: each operand is computed straight into its part of the result."""
    t = node.output.type
    names = [i for i in node.inputs if i is not None and not _is_legacy_empty(ctx.type(i), t)]
    axis = int(node.attr("dim", 0)) % max(t.rank, 1)
    lazies = [lazy_of(ctx, n) for n in names]
    first = lazies[0]
    order = first.kernel.order if first.kernel is not None else storage_order(first)
    into = ctx.new_buffer(node.output.name, t, order)
    start: Size = 0
    for name, part in zip(names, lazies, strict=True):
        length = ctx.type(name).shape[axis]
        lazy = part
        if part.dtype != t.dtype:
            wanted = TensorType(t.dtype, part.shape)
            lazy = ctx.pointwise(node, [part], lambda p: p.operand(0), wanted)
        ctx.store(replace(lazy, nodes=(*lazy.nodes, node)), window(into, axis, start, length))
        start = start + length
    ctx.define(node, into)


def _is_legacy_empty(t: TensorType, result: TensorType) -> bool:
    return t.shape == (0,) and result.rank != 1


def constant(ctx: KernelContext, node: Node, value: Any, t: TensorType) -> Lazy:
    """Return a value that is `value` everywhere."""
    return ctx.pointwise(node, [], lambda p: p.const(value), t)


def lower_pad(ctx: KernelContext, node: Node) -> None:
    """``aten.constant_pad_nd``: the frame is filled, the inside computed in place."""
    name = node.inputs[0]
    assert name is not None
    t = node.output.type
    pads = list(node.attr("pad"))
    lazy = lazy_of(ctx, name)
    crops = [(axis, *_crop(pads, t.rank, axis)) for axis in range(t.rank)]
    if any(_negative(a) or _negative(b) for _, a, b in crops):
        view = ctx.realize(name)
        for axis, before, after in crops:
            cut = 0 if not _negative(before) else before * -1
            end = 0 if not _negative(after) else after * -1
            view = window(view, axis, cut, view.shape[axis] - cut - end)
        lazy = as_lazy(view)
    order = lazy.kernel.order if lazy.kernel is not None else storage_order(lazy)
    into = ctx.new_buffer(node.output.name, t, order)
    if any(p != 0 for p in pads):
        ctx.store(constant(ctx, node, node.attr("value", 0), t), into)
    inside = into
    for axis, before, after in crops:
        start = 0 if _negative(before) else before
        stop = 0 if _negative(after) else after
        inside = window(inside, axis, start, inside.shape[axis] - start - stop)
    ctx.store(replace(lazy, nodes=(*lazy.nodes, node)), inside)
    ctx.define(node, into)


def _crop(pads: Sequence[Size], rank: int, axis: int) -> tuple[Size, Size]:
    k = 2 * (rank - 1 - axis)
    return (pads[k], pads[k + 1]) if k < len(pads) else (0, 0)


def _negative(size: Size) -> bool:
    return isinstance(size, int) and size < 0


def slice_bounds(node: Node, extent: Size) -> tuple[Size, Size, int]:
    """Return start, length and step of a slice's attributes over `extent` positions."""
    step = int(node.attr("step", 1) or 1)

    def clamp(value: Any, default: Size) -> Size:
        if value is None:
            return default
        if isinstance(value, int) and value >= 2**62:
            return extent
        if isinstance(value, int) and value < 0:
            return size_max(extent + value, 0)
        if value in (extent, 0):
            return value  # type: ignore[no-any-return]
        return size_min(value, extent)

    start, end = clamp(node.attr("start"), 0), clamp(node.attr("end"), extent)
    return start, (end - start + (step - 1)) // step, step


def lower_slice_scatter(ctx: KernelContext, node: Node) -> None:
    """``aten.slice_scatter`` and ``aten.select_scatter``: a copy with one window replaced."""
    base, source = node.inputs
    assert base is not None and source is not None
    t = node.output.type
    axis = int(node.attr("dim", 0)) % t.rank
    into = ctx.new_buffer(node.output.name, t)
    ctx.store(lazy_of(ctx, base), into)
    lazy = lazy_of(ctx, source)
    if node.op == "select_scatter":
        index = node.attr("index")
        where = index + t.shape[axis] if isinstance(index, int) and index < 0 else index
        inside = window(into, axis, where, 1)
        shape = tuple(n for a, n in enumerate(inside.shape) if a != axis)
        strides = tuple(s for a, s in enumerate(inside.strides) if a != axis)
        inside = replace(inside, shape=shape, strides=strides)
    else:
        start, length, step = slice_bounds(node, t.shape[axis])
        inside = window(into, axis, start, length)
        strides = tuple(s * step if a == axis else s for a, s in enumerate(inside.strides))
        inside = replace(inside, strides=strides)
    value = ctx.pointwise(node, [lazy], lambda p: p.operand(0), TensorType(t.dtype, inside.shape))
    ctx.store(value, inside)
    ctx.define(node, into)


OPS = (
    OpDef("embedding", ("aten.embedding.default",), Kernel(lower_embedding)),
    OpDef("index", ("aten.index.Tensor", "aten._unsafe_index.Tensor"), Kernel(lower_index)),
    OpDef("take", ("aten.take.default",), Decompose(rewrite_take)),
    OpDef("gather", ("aten.gather.default",), Kernel(lower_gather)),
    OpDef("index_select", ("aten.index_select.default",), Kernel(lower_gather)),
    OpDef("cat", ("aten.cat.default", "aten.concat.default"), Kernel(lower_cat)),
    OpDef("constant_pad_nd", ("aten.constant_pad_nd.default",), Kernel(lower_pad)),
    OpDef("slice_scatter", ("aten.slice_scatter.default",), Kernel(lower_slice_scatter)),
    OpDef("select_scatter", ("aten.select_scatter.default",), Kernel(lower_slice_scatter)),
)
