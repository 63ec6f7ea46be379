"""Sorting and selection along one axis: values with the positions they came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, Param, View
from mojoaccel.ir.types import BOOL, F32, F64, I64, U8, DType, TensorType
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Decompose, Kernel, OpDef, compute_dtype


def ordered_dtype(dtype: DType) -> DType:
    """Return the type that values are compared in: their computing type, bytes for booleans."""
    return U8 if dtype == BOOL else compute_dtype(dtype)


def row_coords(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Group all other axes as rows, `axis` as columns."""
    return tuple(a for a in range(rank) if a != axis), (axis,)


def with_axis(view: View, axis: int, rank: int) -> View:
    """Give a reduced result its axis of size 1 back."""
    if len(view.shape) == rank:
        return view
    shape, strides = list(view.shape), list(view.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 0)
    return replace(view, shape=tuple(shape), strides=tuple(strides))


def select_rows(
    ctx: KernelContext,
    node: Node,
    function: tuple[str, str],
    params: Sequence[tuple[str, Param]],
    extra: Sequence[Arg],
    pair_bytes: int,
) -> None:
    """Schedule a kernel that maps each row to values and their positions.

    Args:
        ctx: The schedule.
        node: The operator; outputs are the values and the positions.
        function: Mojo module and function.
        params: Compile-time parameters after ``dt``.
        extra: Run-time arguments after the sizes.
        pair_bytes: Scratch bytes per element besides those of the value type.
    """
    t = ctx.type(node.inputs[0])
    axis = int(node.attr("dim", -1)) % t.rank
    coords = row_coords(t.rank, axis)
    dtype = ordered_dtype(t.dtype)
    cols = t.shape[axis]
    rows = size_prod(n for a, n in enumerate(t.shape) if a != axis)
    load = ctx.load_closure(node.inputs[0], coords, dtype=dtype, vector_coord=1)
    results = [ctx.new_buffer(v.name, v.type) for v in node.outputs]
    stores: list[Closure] = []
    for view, kind in zip(results, (dtype, I64), strict=True):
        stores.append(ctx.store_closure(with_axis(view, axis, t.rank), coords, kind, 1))
    call = KernelCall(
        *function,
        (*params[:1], ("dt", dtype), *params[1:]) if params and params[0][0] == "W"
        else (("dt", dtype), *params),
        (
            Arg("size", rows),
            Arg("size", cols),
            *extra,
            Arg("closure", load),
            *(Arg("closure", s) for s in stores),
        ),
        scratch=cols * (pair_bytes + 2 * dtype.size) + 64,
    )  # fmt: skip
    ctx.append([call], [node], t.numel * 8)
    ctx.define(node, *results)


def of_scalar(ctx: KernelContext, node: Node) -> bool:
    """Handle a scalar operand: it is its own order, at position 0."""
    name = node.inputs[0]
    if ctx.type(name).rank:
        return False
    value = ctx.pointwise(node, [ctx.get(str(name))], lambda p: p.operand(0), node.outputs[0].type)
    place = ctx.pointwise(node, [], lambda p: p.const(0), node.outputs[1].type)
    ctx.define(node, value, place)
    return True


RADIX_SIZE = 32768
"""From this length on PyTorch sorts a line of integers by radix, which is stable."""


def lower_sort(ctx: KernelContext, node: Node) -> None:
    """``aten.sort``: NaN last when ascending; stable where PyTorch's is."""
    if of_scalar(ctx, node):
        return
    t = ctx.type(node.inputs[0])
    descending = bool(node.attr("descending", False))
    radix = t.rank == 1 and not t.dtype.is_float and t.dtype != BOOL and not descending
    long = isinstance(t.numel, int) and t.numel >= RADIX_SIZE
    stable = bool(node.attr("stable", False)) or (radix and long)
    function = ("maccel.sorting", "sort_rows") if stable else ("maccel.selection", "introsort_rows")
    select_rows(ctx, node, function, (("descending", descending),), (), 16)


def lower_topk(ctx: KernelContext, node: Node) -> None:
    """``aten.topk``: the k largest or smallest, equal ones where PyTorch's algorithm has them."""
    if of_scalar(ctx, node):
        return
    params = (
        ("W", ctx.lanes(ordered_dtype(ctx.type(node.inputs[0]).dtype))),
        ("largest", bool(node.attr("largest", True))),
        ("sorted", bool(node.attr("sorted", True))),
    )
    select_rows(
        ctx, node, ("maccel.selection", "topk_rows"), params, (Arg("size", node.attr("k")),), 8
    )


def lower_kthvalue(ctx: KernelContext, node: Node) -> None:
    """``aten.kthvalue``: the k-th smallest of each row."""
    if not of_scalar(ctx, node):
        extra = (Arg("size", node.attr("k")),)
        select_rows(ctx, node, ("maccel.selection", "kth_rows"), (), extra, 8)


def lower_median(ctx: KernelContext, node: Node) -> None:
    """``aten.median.dim``, ``aten.nanmedian.dim``: the lower of two middle values."""
    if not of_scalar(ctx, node):
        params = (("ignore_nan", node.op == "nanmedian_dim"),)
        select_rows(ctx, node, ("maccel.selection", "median_rows"), params, (), 8)


def lower_mode(ctx: KernelContext, node: Node) -> None:
    """``aten.mode``: the most frequent value of each row."""
    if not of_scalar(ctx, node):
        select_rows(ctx, node, ("maccel.selection", "mode_rows"), (), (), 8)


def rewrite_median(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite the median of all elements as that of one row."""
    x = node.inputs[0]
    t = node.output.type
    line: tuple[Size, ...] = (b.types[str(x)].numel,)
    flat = b.add("view", [x], TensorType(t.dtype, line), size=line)
    op = "median_dim" if node.op == "median" else "nanmedian_dim"
    return [b.add(op, [flat], (t, TensorType(I64, ())), dim=0, keepdim=False)]


# -- scans --------------------------------------------------------------------------------------


def lower_scan(kind: str) -> Callable[[KernelContext, Node], None]:
    """Return the lowering of a running sum, product or logarithm of sums."""

    def lower(ctx: KernelContext, node: Node) -> None:
        ctx.define(node, scan(ctx, node, kind))

    return lower


def scan(ctx: KernelContext, node: Node, kind: str) -> Lazy:
    """Schedule a scan along one axis; vectors run across it unless it is the innermost."""
    name = node.inputs[0]
    t = node.output.type
    if t.dtype == BOOL:
        raise ctx.reject(node, "a running sum in bool", "give it an integer dtype")
    if t.rank == 0:
        return ctx.pointwise(node, [ctx.get(str(name))], lambda p: p.operand(0), t)
    axis = int(node.attr("dim")) % t.rank
    dtype = compute_dtype(t.dtype)
    coords: tuple[tuple[int, ...], ...]
    coords = (tuple(range(axis)), (axis,), tuple(range(axis + 1, t.rank)))
    sizes = [size_prod(t.shape[a] for a in group) for group in coords]
    # PyTorch carries running values of float32 in float64, those of halves in float32.
    carried = F64 if t.dtype == F32 else dtype
    params: list[tuple[str, Param]] = [
        ("op", kind), ("W", ctx.lanes(carried)), ("dt", dtype), ("carried", carried)
    ]  # fmt: skip
    function = "scan_columns"
    if sizes[2] == 1:
        coords, sizes, function = ((*coords[0], *coords[2]), coords[1]), sizes[:2], "scan_rows"
        del params[1]
    load = ctx.load_closure(name, coords, dtype=dtype)

    def build(store: Closure) -> KernelCall:
        args = (*(Arg("size", s) for s in sizes), Arg("closure", load), Arg("closure", store))
        return KernelCall("maccel.scan", function, tuple(params), args)

    return ctx.pending(node, build, coords=coords, dtype=dtype, work=t.numel * 4)


def lower_extremes(ctx: KernelContext, node: Node) -> None:
    """``aten.cummax`` and ``aten.cummin``: running extremes with the last position of each."""
    if of_scalar(ctx, node):
        return
    t = ctx.type(node.inputs[0])
    axis = int(node.attr("dim")) % t.rank
    dtype = ordered_dtype(t.dtype)
    coords = (tuple(range(axis)), (axis,), tuple(range(axis + 1, t.rank)))
    load = ctx.load_closure(node.inputs[0], coords, dtype=dtype)
    results = [ctx.new_buffer(v.name, v.type) for v in node.outputs]
    call = KernelCall(
        "maccel.scan",
        "scan_extremes",
        (("largest", node.op == "cummax"), ("W", ctx.lanes(I64)), ("dt", dtype)),
        (
            *(Arg("size", size_prod(t.shape[a] for a in group)) for group in coords),
            Arg("closure", load),
            Arg("closure", ctx.store_closure(results[0], coords, dtype)),
            Arg("closure", ctx.store_closure(results[1], coords, I64)),
        ),
    )
    ctx.append([call], [node], t.numel * 4)
    ctx.define(node, *results)


OPS = (
    OpDef("sort", ("aten.sort.default", "aten.sort.stable"), Kernel(lower_sort)),
    OpDef("topk", ("aten.topk.default",), Kernel(lower_topk)),
    OpDef("kthvalue", ("aten.kthvalue.default",), Kernel(lower_kthvalue)),
    OpDef("median_dim", ("aten.median.dim",), Kernel(lower_median)),
    OpDef("nanmedian_dim", ("aten.nanmedian.dim",), Kernel(lower_median)),
    OpDef("median", ("aten.median.default",), Decompose(rewrite_median)),
    OpDef("nanmedian", ("aten.nanmedian.default",), Decompose(rewrite_median)),
    OpDef("mode", ("aten.mode.default",), Kernel(lower_mode)),
    OpDef("cumsum", ("aten.cumsum.default",), Kernel(lower_scan("maccel.reductions:Sum"))),
    OpDef("cumprod", ("aten.cumprod.default",), Kernel(lower_scan("maccel.reductions:Prod"))),
    OpDef(
        "logcumsumexp", ("aten.logcumsumexp.default",), Kernel(lower_scan("maccel.scan:LogAddExp"))
    ),
    OpDef("cummax", ("aten.cummax.default",), Kernel(lower_extremes)),
    OpDef("cummin", ("aten.cummin.default",), Kernel(lower_extremes)),
)
