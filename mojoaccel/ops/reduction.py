"""Reductions over any set of axes, with their operand computed on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, View
from mojoaccel.ir.types import BOOL, I64, DType
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.pointwise_nest import memory_order
from mojoaccel.ops.registry import Kernel, OpDef, PointwiseContext, compute_dtype


def reduced_axes(node: Node, rank: int) -> tuple[int, ...]:
    """Return the axes an operator reduces: all of them when `dim` is absent or empty."""
    dim = node.attr("dim")
    if dim == () and node.op in ("any", "all"):
        return ()  # these two alone take an empty list literally
    if dim is None or dim == ():
        return tuple(range(rank))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    return tuple(sorted(int(d) % max(rank, 1) for d in dims if rank))


@dataclass(frozen=True)
class Nest:
    """How a reduction walks its operand.

    Attributes:
        load: Reads the operand at (outer, reduced, inner), or (kept, reduced) along rows.
        coords: Operand axes of each of these coordinates.
        sizes: Their sizes.
        columns: Whether vectors run along the kept inner axes instead of the reduced ones.
    """

    load: Closure
    coords: tuple[tuple[int, ...], ...]
    sizes: tuple[Size, ...]
    columns: bool

    def stored(self, node: Node, rank: int, axes: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the result's axes of each coordinate the store sees (all but the reduced)."""
        kept = [a for a in range(rank) if a not in axes]
        keepdim = bool(node.attr("keepdim", False))
        position = {a: (a if keepdim else kept.index(a)) for a in kept}
        return [tuple(position[a] for a in group) for group in (self.coords[0], *self.coords[2:])]


def nest_of(
    ctx: KernelContext,
    node: Node,
    axes: Sequence[int],
    *,
    dtype: DType,
    scale: object = None,
    rows_only: bool = False,
    in_order: bool = False,
    passes: int = 1,
) -> Nest:
    """Choose the nest of a reduction of operand 0 over `axes`.

    The choice is made by memory: when the innermost axis of the operand is kept, vectors run
    along it, else along the reduced axes.

    Args:
        ctx: The schedule.
        node: The operator.
        axes: The reduced axes, ascending.
        dtype: Type of the values handed over.
        scale: Further scalar steps on each value.
        rows_only: The kernel knows rows only.
        in_order: The reduced axes are walked in logical order, as positions along them count.
        passes: How often the kernel reads each value.
    """
    name = node.inputs[0]
    t = ctx.type(name)
    kept = [a for a in range(t.rank) if a not in axes]
    held = ctx.get(str(name))
    if isinstance(held, Lazy) and held.kernel is not None:
        held = ctx.realize(str(name))
    leaf = held if isinstance(held, View) else next((v for v in held.leaves), None)
    order = (
        memory_order(leaf) if leaf is not None and leaf.shape == t.shape else list(range(t.rank))
    )
    order = [a for a in order if t.shape[a] != 1] or order
    inner_kept: list[int] = []
    while order and order[-1] in kept and len(order) > 1:
        inner_kept.insert(0, order.pop())
    if not any(a in axes for a in order):
        order, inner_kept = [*order, *inner_kept], []
    outer = [a for a in kept if a not in inner_kept]
    reduced = list(axes)
    if not in_order:
        reduced.sort(key=lambda a: order.index(a) if a in order else -1)
    columns = bool(inner_kept) and bool(reduced) and not rows_only
    coords: tuple[tuple[int, ...], ...]
    coords = (tuple(outer), tuple(reduced), tuple(inner_kept))
    if not columns:
        coords = (tuple(sorted([*outer, *inner_kept])), tuple(reduced))
    load = ctx.load_closure(
        name,
        coords,
        dtype=dtype,
        passes=passes,
        vector_coord=2 if columns else 1,
        scale=scale,  # type: ignore[arg-type]
    )
    sizes = tuple(size_prod(t.shape[a] for a in group) for group in coords)
    return Nest(load, coords, sizes, columns)


def reduce_held(
    ctx: KernelContext,
    node: Node,
    kind: str,
    axes: Sequence[int],
    *,
    dtype: DType,
    result: DType,
    scale: object = None,
) -> Lazy:
    """Schedule reduction `kind` of operand 0 over `axes`."""
    t = ctx.type(node.inputs[0])
    nest = nest_of(ctx, node, axes, dtype=dtype, scale=scale, in_order=kind.startswith("Arg"))

    def build(store: Closure) -> KernelCall:
        return KernelCall(
            "maccel.reduce",
            "reduce_columns" if nest.columns else "reduce_rows",
            (
                ("op", f"maccel.reductions:{kind}"),
                ("W", ctx.lanes(dtype)),
                ("dt", dtype),
                ("out", result),
            ),
            (
                *(Arg("size", s) for s in nest.sizes),
                Arg("closure", nest.load),
                Arg("closure", store),
            ),
            scratch=262144,
            flops=t.numel,
        )

    return ctx.pending(
        node,
        build,
        coords=nest.stored(node, t.rank, axes),
        dtype=result,
        work=t.numel * 2,
        vector_coord=-1,
    )


def lower_simple(kind: str):  # type: ignore[no-untyped-def]
    """Return the lowering of a reduction without parameters."""

    def lower(ctx: KernelContext, node: Node) -> None:
        t = ctx.type(node.inputs[0])
        out = node.output.type.dtype
        dtype = compute_dtype(out if kind in ("Sum", "Prod", "Mean") else t.dtype)
        result = I64 if kind in ("ArgMax", "ArgMin") else compute_dtype(out)
        if t.dtype == BOOL and kind not in ("Any", "All"):
            dtype = I64 if result == I64 else dtype
        axes = reduced_axes(node, t.rank)
        ctx.define(node, reduce_held(ctx, node, kind, axes, dtype=dtype, result=result))

    return lower


def lower_mean(ctx: KernelContext, node: Node) -> None:
    """``aten.mean``: the sum scaled in the epilogue."""
    t = ctx.type(node.inputs[0])
    axes = reduced_axes(node, t.rank)
    dtype = compute_dtype(node.output.type.dtype)
    lazy = reduce_held(ctx, node, "Sum", axes, dtype=dtype, result=dtype)
    count = size_prod(t.shape[a] for a in axes)

    def divide(p: PointwiseContext) -> str:
        size = p.body.cast(p.body.const(count, I64), p.dtype)
        return p.call("div", p.operand(0), size)

    ctx.define(node, ctx.add_epilogue(lazy, node, [], divide))


OPS = (
    OpDef("sum", ("aten.sum.dim_IntList", "aten.sum.default"), Kernel(lower_simple("Sum"))),
    OpDef("mean", ("aten.mean.dim", "aten.mean.default"), Kernel(lower_mean)),
    OpDef("prod", ("aten.prod.dim_int", "aten.prod.default"), Kernel(lower_simple("Prod"))),
    OpDef("amax", ("aten.amax.default", "aten.max.default"), Kernel(lower_simple("Max"))),
    OpDef("amin", ("aten.amin.default", "aten.min.default"), Kernel(lower_simple("Min"))),
    OpDef(
        "any", ("aten.any.dim", "aten.any.dims", "aten.any.default"), Kernel(lower_simple("Any"))
    ),
    OpDef(
        "all", ("aten.all.dim", "aten.all.dims", "aten.all.default"), Kernel(lower_simple("All"))
    ),
    OpDef("argmax", ("aten.argmax.default",), Kernel(lower_simple("ArgMax"))),
    OpDef("argmin", ("aten.argmin.default",), Kernel(lower_simple("ArgMin"))),
)
