"""Shape operators: other windows on the same memory, or decompositions into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mojoaccel.ir.dims import Size, floordiv, size_max, size_min, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import View
from mojoaccel.ir.types import TensorType
from mojoaccel.ops.indexing import slice_bounds, window
from mojoaccel.ops.lazy import contiguous_strides, is_contiguous
from mojoaccel.ops.registry import Decompose, OpDef, ViewOp


def axis_of(node: Node, rank: int, attr: str = "dim", default: int = 0) -> int:
    """Return an axis attribute, counted from the front."""
    return int(node.attr(attr, default)) % max(rank, 1)


def view_reshape(node: Node, view: View) -> View | None:
    """``aten.view``: split and merge axes that lie together; None when a copy is needed.

    Walks both shapes from the inside, as PyTorch's `computeStride` does: each run of old axes
    that is dense in itself takes the new axes of the same product.
    """
    shape = node.output.type.shape
    if 0 in shape or 0 in view.shape:
        return replace(view, shape=shape, strides=contiguous_strides(shape))
    old = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n != 1]
    dense = tuple(s for _, s in old) == contiguous_strides(tuple(n for n, _ in old))
    strides: list[Size] = [0] * len(shape)
    target = len(shape) - 1
    while old:
        run, step = old.pop()
        base = step
        while old and old[-1][1] == base * run:
            run = old.pop()[0] * run
        laid: Size = 1
        while target >= 0 and (laid != run or shape[target] == 1):
            strides[target] = laid * base
            laid = laid * shape[target]
            target -= 1
        if laid != run:  # or their products are equal where sizes are dynamic, but look different
            return replace(view, shape=shape, strides=contiguous_strides(shape)) if dense else None
    return replace(view, shape=shape, strides=tuple(strides))


def view_permute(node: Node, view: View) -> View:
    """``aten.permute``, ``transpose``, ``t``."""
    rank = len(view.shape)
    if node.op == "permute":
        order = [int(d) % rank for d in node.attr("dims")]
    elif node.op == "transpose":
        order = list(range(rank))
        a, b = axis_of(node, rank, "dim0"), axis_of(node, rank, "dim1")
        if rank:
            order[a], order[b] = order[b], order[a]
    else:
        order = list(range(rank))[::-1]
    return replace(
        view,
        shape=tuple(view.shape[a] for a in order),
        strides=tuple(view.strides[a] for a in order),
    )


def view_expand(node: Node, view: View) -> View:
    """``aten.expand``: stride 0 along stretched axes."""
    shape = node.output.type.shape
    pad = len(shape) - len(view.shape)
    strides: list[Size] = [0] * pad
    for n, s, want in zip(view.shape, view.strides, shape[pad:], strict=True):
        strides.append(0 if n == 1 and want != 1 else s)
    return replace(view, shape=shape, strides=tuple(strides))


def view_squeeze(node: Node, view: View) -> View:
    """``aten.squeeze`` in every form: drop axes of size 1."""
    rank = len(view.shape)
    dims = node.attr("dim")
    axes = range(rank) if dims is None else dims if isinstance(dims, tuple) else (dims,)
    drop = {int(a) % max(rank, 1) for a in axes}
    drop = {a for a in drop if a < rank and view.shape[a] == 1}
    keep = [a for a in range(rank) if a not in drop]
    return replace(
        view,
        shape=tuple(view.shape[a] for a in keep),
        strides=tuple(view.strides[a] for a in keep),
    )


def view_unsqueeze(node: Node, view: View) -> View:
    """``aten.unsqueeze``: a new axis of size 1."""
    axis = int(node.attr("dim")) % (len(view.shape) + 1)
    shape, strides = list(view.shape), list(view.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 0)
    return replace(view, shape=tuple(shape), strides=tuple(strides))


def view_slice(node: Node, view: View) -> View:
    """``aten.slice``: a range of positions along one axis."""
    axis = axis_of(node, len(view.shape))
    start, _, step = slice_bounds(node, view.shape[axis])
    length = node.output.type.shape[axis]
    cut = window(view, axis, start, length)
    strides = tuple(s * step if a == axis else s for a, s in enumerate(cut.strides))
    return replace(cut, strides=strides)


def view_select(node: Node, view: View) -> View:
    """``aten.select``: one position along one axis."""
    axis = axis_of(node, len(view.shape))
    index = node.attr("index")
    if isinstance(index, int) and index < 0:
        index = view.shape[axis] + index
    cut = window(view, axis, index, 1)
    return replace(
        cut,
        shape=tuple(n for a, n in enumerate(cut.shape) if a != axis),
        strides=tuple(s for a, s in enumerate(cut.strides) if a != axis),
    )


def view_flip(node: Node, view: View) -> View:
    """``aten.flip``: negative strides."""
    offset, strides = view.offset, list(view.strides)
    for dim in node.attr("dims"):
        axis = int(dim) % len(view.shape)
        offset = offset + (view.shape[axis] - 1) * strides[axis]
        strides[axis] = strides[axis] * -1
    return replace(view, offset=offset, strides=tuple(strides))


def diagonal_length(shape: Sequence[Size], a: int, b: int, shift: int) -> Size:
    """Return how many elements the diagonal of axes `a` and `b` has, `shift` above the main one."""
    rows, columns = shape[a] - max(-shift, 0), shape[b] - max(shift, 0)
    return size_max(size_min(rows, columns), 0)


def view_diagonal(node: Node, view: View) -> View:
    """``aten.diagonal``."""
    rank = len(view.shape)
    a, b = axis_of(node, rank, "dim1", 0), axis_of(node, rank, "dim2", 1)
    shift = int(node.attr("offset", 0))
    moved = view.offset + (view.strides[b] * shift if shift >= 0 else view.strides[a] * -shift)
    keep = [i for i in range(rank) if i not in (a, b)]
    length = diagonal_length(view.shape, a, b, shift)
    return replace(
        view,
        shape=(*(view.shape[i] for i in keep), length),
        strides=(*(view.strides[i] for i in keep), view.strides[a] + view.strides[b]),
        offset=moved,
    )


def view_unfold(node: Node, view: View) -> View:
    """``aten.unfold``: overlapping windows along one axis."""
    if not view.shape:  # a scalar has one window
        return replace(view, shape=node.output.type.shape, strides=(1,))
    axis = axis_of(node, len(view.shape), "dimension")
    step = int(node.attr("step"))
    strides = list(view.strides)
    inner = strides[axis]
    strides[axis] = inner * step
    return replace(view, shape=node.output.type.shape, strides=(*strides, inner))


def strided_window(node: Node, view: View) -> View:
    """Return the window that size, stride and offset describe on a contiguous tensor."""
    strides = tuple(node.attr("stride"))
    offset = node.attr("storage_offset") or 0
    return replace(
        view, shape=tuple(node.attr("size")), strides=strides, offset=view.offset + offset
    )


def view_strided(node: Node, view: View) -> View | None:
    """``aten.as_strided`` of a contiguous tensor (the importer refuses others)."""
    return strided_window(node, view) if is_contiguous(view) else None


def identity(node: Node, view: View) -> View:
    """The same window."""
    del node
    return view


def rewrite_split(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite split, split_with_sizes and chunk as slices."""
    x = node.inputs[0]
    assert x is not None
    t = b.types[x]
    axis = axis_of(node, t.rank)
    start: Size = 0
    results = []
    for value in node.outputs:
        length = value.type.shape[axis]
        stop = start + length
        results.append(b.add("slice", [x], value.type, dim=axis, start=start, end=stop, step=1))
        start = stop
    return results


def rewrite_narrow(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.narrow_copy`` as a slice."""
    x = str(node.inputs[0])
    axis = axis_of(node, b.types[x].rank)
    start: Size = node.attr("start")
    if isinstance(start, int) and start < 0:
        start = b.types[x].shape[axis] + start
    stop = start + node.attr("length")
    return [b.add("slice", [x], node.output.type, dim=axis, start=start, end=stop, step=1)]


def rewrite_unbind(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite unbind as selects."""
    x = node.inputs[0]
    assert x is not None
    axis = axis_of(node, b.types[x].rank)
    return [b.add("select", [x], v.type, dim=axis, index=i) for i, v in enumerate(node.outputs)]


def rewrite_stack(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite stack as unsqueezes and a concatenation."""
    t = node.output.type
    axis = axis_of(node, t.rank)
    parts = []
    for name in node.inputs:
        assert name is not None
        shape = list(b.types[name].shape)
        shape.insert(axis, 1)
        parts.append(
            b.add("unsqueeze", [name], TensorType(b.types[name].dtype, tuple(shape)), dim=axis)
        )
    return [b.add("cat", parts, t, dim=axis)]


def rewrite_repeat(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite repeat as unsqueeze, expand and view."""
    x = node.inputs[0]
    assert x is not None
    t = node.output.type
    shape = b.types[x].shape
    repeats: tuple[Any, ...] = tuple(node.attr("repeats"))
    old = (*(1,) * (len(repeats) - len(shape)), *shape)
    split = [s for pair in zip((1,) * len(old), old, strict=True) for s in pair]
    wide = [s for pair in zip(repeats, old, strict=True) for s in pair]
    dtype = t.dtype
    a = b.add("view", [x], TensorType(dtype, tuple(split)), size=tuple(split))
    e = b.add("expand", [a], TensorType(dtype, tuple(wide)), size=tuple(wide))
    return [b.add("view", [e], t, size=t.shape)]


def rewrite_addmm(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite beta * c + alpha * (a @ b)."""
    c, x, y = node.inputs[:3]
    assert c is not None
    t = node.output.type
    inner = "bmm" if node.op == "baddbmm" else "mm"
    out = b.add(inner, [x, y], t)
    alpha, beta = node.attr("alpha", 1), node.attr("beta", 1)
    if alpha != 1:
        out = b.add("mul", [out, None], t, other=alpha)
    if beta == 0:
        return [out]
    if beta != 1:
        c = b.add("mul", [c, None], b.types[c], other=beta)
    return [b.add("add", [out, c], t, alpha=1)]


def rewrite_glu(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite glu as a * sigmoid(b) of the two halves."""
    x = node.inputs[0]
    assert x is not None
    t = node.output.type
    axis = axis_of(node, t.rank, default=-1)
    half = t.shape[axis]
    first = b.add("slice", [x], t, dim=axis, start=0, end=half, step=1)
    second = b.add("slice", [x], t, dim=axis, start=half, end=half * 2, step=1)
    return [b.add("mul", [first, b.add("sigmoid", [second], t)], t)]


def rewrite_channel_shuffle(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite a channel shuffle: channel c of group g becomes channel g of group c."""
    x = node.inputs[0]
    assert x is not None
    t = node.output.type
    groups = int(node.attr("groups"))
    each = floordiv(t.shape[1], groups)
    apart = (t.shape[0], groups, each, *t.shape[2:])
    turned = (t.shape[0], each, groups, *t.shape[2:])
    name = b.add("view", [x], TensorType(t.dtype, apart), size=apart)
    order = (0, 2, 1, *range(3, len(apart)))
    name = b.add("permute", [name], TensorType(t.dtype, turned), dims=order)
    return [b.add("view", [name], t, size=t.shape)]


def total_elements(shape: Sequence[Size]) -> Size:
    """Return the number of elements of a shape."""
    return size_prod(shape)


def view_op(name: str, view: Any, *aten: str) -> OpDef:
    """Make a view record."""
    return OpDef(name, aten or (f"aten.{name}.default",), ViewOp(view))


def composite(name: str, rewrite: Any, *aten: str) -> OpDef:
    """Make a decomposing record."""
    return OpDef(name, aten or (f"aten.{name}.default",), Decompose(rewrite))


OPS = (
    view_op(
        "view",
        view_reshape,
        "aten.view.default",
        "aten.reshape.default",
        "aten._unsafe_view.default",
        "aten.flatten.using_ints",
        "aten.unflatten.int",
        "aten.view_copy.default",
        "aten._reshape_copy.default",
    ),
    view_op("permute", view_permute, "aten.permute.default", "aten.permute_copy.default"),
    view_op("transpose", view_permute, "aten.transpose.int", "aten.transpose_copy.int"),
    view_op("t", view_permute, "aten.t.default", "aten.t_copy.default"),
    view_op(
        "expand",
        view_expand,
        "aten.expand.default",
        "aten.expand_as.default",
        "aten.expand_copy.default",
        "aten.broadcast_to.default",
    ),
    view_op(
        "squeeze",
        view_squeeze,
        "aten.squeeze.dims",
        "aten.squeeze.dim",
        "aten.squeeze.default",
        "aten.squeeze_copy.dims",
        "aten.squeeze_copy.dim",
        "aten.squeeze_copy.default",
    ),
    view_op("unsqueeze", view_unsqueeze, "aten.unsqueeze.default", "aten.unsqueeze_copy.default"),
    view_op("slice", view_slice, "aten.slice.Tensor", "aten.slice_copy.Tensor"),
    view_op("select", view_select, "aten.select.int", "aten.select_copy.int"),
    view_op("flip", view_flip),
    view_op("diagonal", view_diagonal, "aten.diagonal.default", "aten.diagonal_copy.default"),
    view_op("unfold", view_unfold, "aten.unfold.default", "aten.unfold_copy.default"),
    view_op("as_strided", view_strided, "aten.as_strided.default", "aten.as_strided_copy.default"),
    composite(
        "split",
        rewrite_split,
        "aten.split.Tensor",
        "aten.split_with_sizes.default",
        "aten.chunk.default",
        "aten.split_copy.Tensor",
        "aten.split_with_sizes_copy.default",
        "aten.unsafe_split.Tensor",
        "aten.unsafe_split_with_sizes.default",
        "aten.unsafe_chunk.default",
        "aten.tensor_split.sections",
        "aten.tensor_split.indices",
    ),
    composite("unbind", rewrite_unbind, "aten.unbind.int", "aten.unbind_copy.int"),
    composite("narrow_copy", rewrite_narrow),
    composite("stack", rewrite_stack),
    composite("repeat", rewrite_repeat),
    composite("addmm", rewrite_addmm),
    composite("baddbmm", rewrite_addmm),
    composite("glu", rewrite_glu),
    composite(
        "channel_shuffle",
        rewrite_channel_shuffle,
        "aten.channel_shuffle.default",
        "aten.native_channel_shuffle.default",
    ),
)
