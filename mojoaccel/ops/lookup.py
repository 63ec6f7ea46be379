"""Looking values up: binary search, bags of embeddings, counting and membership."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import Arg, KernelCall, View
from mojoaccel.ir.types import BOOL, I64, DType, TensorType
from mojoaccel.ops.indexing import constant
from mojoaccel.ops.lazy import Held, load_of
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Decompose, Kernel, OpDef, compute_dtype
from mojoaccel.ops.scattering import ready
from mojoaccel.ops.sorting import ordered_dtype

# -- binary search ------------------------------------------------------------------------------


def lower_search(ctx: KernelContext, node: Node) -> None:
    """``aten.searchsorted`` and ``aten.bucketize``, of tensors or one number."""
    bucketize = node.op == "bucketize"
    first, second, sorter = (*node.inputs, None, None)[:3]
    bounds_name, values_name = (second, first) if bucketize else (first, second)
    if sorter is not None:  # tracing gathers the bounds; a graph from elsewhere may not
        raise ctx.reject(node, "searchsorted with a sorter", "gather the sequence first")
    bounds = ready(ctx, bounds_name)
    t = node.output.type
    values: Held
    if values_name is None:
        kind = TensorType(bounds.dtype, t.shape)
        values = constant(ctx, node, node.attr("self"), kind)
    else:
        values = ready(ctx, values_name)
    count = bounds.shape[-1]
    shared = len(bounds.shape) == 1
    axes = tuple(range(t.rank))
    coords = ((), axes) if shared else (axes[:-1], axes[-1:])
    dtype = ordered_dtype(_wider(bounds.dtype, values.dtype))
    rows = 1 if shared else size_prod(t.shape[:-1])
    bound_axes = ((), (0,)) if shared else coords
    right = bool(node.attr("right", False)) or node.attr("side") == "right"
    into = ctx.new_buffer(node.output.name, t)
    call = KernelCall(
        "maccel.lookup",
        "search_rows",
        (("dt", dtype), ("right", right)),
        (
            Arg("size", rows),
            Arg("size", t.numel if shared else t.shape[-1]),
            Arg("size", count),
            Arg("closure", load_of(bounds, tuple(bounds.shape), bound_axes, dtype, 1)),
            Arg("closure", load_of(values, t.shape, coords, dtype, 1)),
            Arg("closure", ctx.store_closure(into, coords, I64, 1)),
        ),
    )
    ctx.append([call], [node], t.numel * 16)
    ctx.define(node, into)


def _wider(a: DType, b: DType) -> DType:
    if a.is_float != b.is_float:
        return a if a.is_float else b
    return a if a.size >= b.size else b


# -- bags of embeddings -------------------------------------------------------------------------


def lower_embedding_bag(ctx: KernelContext, node: Node) -> None:
    """``aten.embedding_bag``: sums, means or maxima of table rows, bag by bag."""
    table, index, starts = node.inputs[:3]
    factors = node.inputs[3] if len(node.inputs) > 3 else None
    users = ctx.graph.users()
    for value in node.outputs[1:]:
        if users.get(value.name) or value.name in ctx.graph.outputs:
            raise ctx.reject(node, "only the first result of embedding_bag is computed")
    t = node.output.type
    dtype = compute_dtype(t.dtype)
    weight = ready(ctx, table)
    indices, begins = ready(ctx, index), ready(ctx, starts)
    count: Size = indices.shape[0]
    ones = constant(ctx, node, 1, TensorType(dtype, (count,)))
    scale = ones if factors is None else ready(ctx, factors)
    into = ctx.new_buffer(node.output.name, t)
    padding = int(node.attr("padding_idx", -1) if node.attr("padding_idx") is not None else -1)
    rows = weight.shape[0]
    if padding < -1 or (padding == -1 and _wraps(node)):
        padding = padding + int(str(rows))
    line = ((0,),)
    call = KernelCall(
        "maccel.lookup",
        "embedding_bags",
        (("W", ctx.lanes(dtype)), ("dt", dtype), ("mode", int(node.attr("mode", 0)))),
        (
            Arg("size", t.shape[0]),
            Arg("size", t.shape[1]),
            Arg("size", count),
            Arg("size", begins.shape[0]),
            Arg("size", rows),
            Arg("size", padding),
            Arg("closure", load_of(indices, tuple(indices.shape), line, I64, 0)),
            Arg("closure", load_of(begins, tuple(begins.shape), line, I64, 0)),
            Arg("closure", load_of(scale, (count,), line, dtype, 0)),
            Arg("closure", load_of(weight, tuple(weight.shape), ((0,), (1,)), dtype, 1)),
            Arg("closure", ctx.store_closure(into, ((0,), (1,)), dtype, 1)),
            Arg("status"),
        ),
    )
    ctx.append([call], [node], count * t.shape[1] * 2)
    ctx.define(node, into, *(_unused(v.type) for v in node.outputs[1:]))


def _wraps(node: Node) -> bool:
    """Whether -1 is the last row: only the overload with an optional padding index wraps it."""
    return node.origin.startswith("embedding_bag") and node.attr("padding_idx") is not None


def _unused(t: TensorType) -> View:
    """Return a place for a result that nothing reads."""
    return View("@unused", t.dtype, t.shape, (0,) * t.rank)


# -- counting and membership --------------------------------------------------------------------


def rewrite_histc(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.histc``: the bin of each element, then a scattered sum of ones.

    An element outside the range goes to an extra bin that is cut off; the upper edge belongs to
    the last bin.
    """
    x = node.inputs[0]
    t = node.output.type
    bins = int(str(t.shape[0]))
    line = TensorType(t.dtype, (b.types[str(x)].numel,))
    flags = TensorType(BOOL, line.shape)
    x = b.add("view", [x], line, size=line.shape)
    low, high = _edges(b, node, x, t.dtype)
    scalar = TensorType(t.dtype, ())
    width = b.add("sub", [high, low], scalar, alpha=1)
    shifted = b.add("sub", [x, low], line, alpha=1)
    scaled = b.add("mul", [shifted, None], line, other=bins)
    place = b.add("to", [b.add("div", [scaled, width], line)], TensorType(I64, line.shape),
                  dtype="int64")  # fmt: skip
    place = b.add("clamp_max", [place, None], TensorType(I64, line.shape), max=bins - 1)
    inside = b.add(
        "bitwise_and", [b.add("ge", [x, low], flags), b.add("le", [x, high], flags)], flags
    )
    place = b.add("where", [inside, place, None], TensorType(I64, line.shape), other=bins)
    more = TensorType(t.dtype, (bins + 1,))
    empty = b.add("full", [], more, size=(bins + 1,), fill_value=0, dtype=t.dtype.torch)
    ones = b.add("full", [], line, size=line.shape, fill_value=1, dtype=t.dtype.torch)
    counted = b.add("scatter_add", [empty, place, ones], more, dim=0)
    return [b.add("slice", [counted], t, dim=0, start=0, end=bins, step=1)]


def _edges(b: GraphBuilder, node: Node, x: str, dtype: DType) -> tuple[str, str]:
    """Return the range as scalars: as given, else that of the data (widened if it is a point)."""
    t, flag = TensorType(dtype, ()), TensorType(BOOL, ())
    low, high = float(node.attr("min", 0)), float(node.attr("max", 0))
    if low < high:
        made = [b.add("full", [], t, size=(), fill_value=v, dtype=dtype.torch) for v in (low, high)]
        return made[0], made[1]
    least = b.add("amin", [x], t, dim=(), keepdim=False)
    most = b.add("amax", [x], t, dim=(), keepdim=False)
    if low == high and low != 0:
        least = b.add("full", [], t, size=(), fill_value=low, dtype=dtype.torch)
        most = least
    point = b.add("eq", [least, most], flag)
    below = b.add("sub", [least, None], t, other=1, alpha=1)
    above = b.add("add", [most, None], t, other=1, alpha=1)
    return b.add("where", [point, below, least], t), b.add("where", [point, above, most], t)


def rewrite_isin(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.isin``: any of the comparisons with all test elements."""
    x, tests = [*node.inputs, None][:2]
    t = node.output.type
    invert = bool(node.attr("invert", False))
    if x is None or tests is None:
        one = node.attr("element")  # a number looked for in a tensor, or the other way round
        source = str(x or tests)
        other = node.attr("test_element") if one is None else one
        found = b.add("eq", [source, None], TensorType(BOOL, b.types[source].shape), other=other)
        if one is not None:
            found = b.add("any", [found], t)
    else:
        dtype = b.types[x].dtype
        column = (*t.shape, 1)
        line = (b.types[tests].numel,)
        x = b.add("view", [x], TensorType(dtype, column), size=column)
        tests = b.add("view", [tests], TensorType(b.types[tests].dtype, line), size=line)
        equal = b.add("eq", [x, tests], TensorType(BOOL, (*t.shape, *line)))
        found = b.add("any", [equal], t, dim=t.rank, keepdim=False)
    return [b.add("logical_not", [found], t)] if invert else [found]


OPS = (
    OpDef(
        "searchsorted",
        ("aten.searchsorted.Tensor", "aten.searchsorted.Scalar"),
        Kernel(lower_search),
    ),
    OpDef("bucketize", ("aten.bucketize.Tensor", "aten.bucketize.Scalar"), Kernel(lower_search)),
    OpDef(
        "embedding_bag",
        (
            "aten.embedding_bag.padding_idx",
            "aten.embedding_bag.default",
            "aten._embedding_bag.default",
            "aten._embedding_bag_forward_only.default",
        ),
        Kernel(lower_embedding_bag),
    ),
    OpDef("histc", ("aten.histc.default",), Decompose(rewrite_histc)),
    OpDef(
        "isin",
        ("aten.isin.Tensor_Tensor", "aten.isin.Tensor_Scalar", "aten.isin.Scalar_Tensor"),
        Decompose(rewrite_isin),
    ),
)
