"""Writing at computed positions: scatter, index_put, index_add and their kin.

The result starts as a copy of the operand; `maccel.scattering` then writes the values at positions
that a closure computes from the indices. Where several values meet in one place they are taken in
order: sums do not depend on the number of threads, and the last of several plain writes stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import Arg, KernelCall, View
from mojoaccel.ir.types import BOOL, I64, U8, DType, TensorType
from mojoaccel.ops.indexing import constant, indexed_shape, is_mask, lazy_of, spread
from mojoaccel.ops.lazy import IOTA, Held, Lazy, Program, load_of, used_leaves
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Decompose, Kernel, OpDef, PointwiseContext

SET, ADD, MUL, MIN, MAX = range(5)
"""What happens to the value that a scattered one meets (`maccel.scattering`)."""

REDUCTIONS = {"add": ADD, "sum": ADD, "mean": ADD, "multiply": MUL, "prod": MUL,
              "amin": MIN, "amax": MAX}  # fmt: skip


@dataclass(frozen=True)
class Positions:
    """Where values go: target[base . coordinates + sum(index * stride)] over a domain.

    Attributes:
        domain: Shape of the values.
        groups: Domain axes before, at and after those whose values may meet.
        base: Target stride of each domain axis (0 for the axes the indices replace).
        indices: (index over the domain, target stride, extent) of each indexed axis.
        wrap: Whether negative indices count from the end.
    """

    domain: tuple[Size, ...]
    groups: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    base: tuple[Size, ...]
    indices: tuple[tuple[Held, Size, Size], ...]
    wrap: bool

    @property
    def row_wise(self) -> bool:
        """Whether values along the inner axes go to neighbouring places."""
        inner = self.groups[2]
        step: Size = 1
        for axis in reversed(inner):
            if self.base[axis] != step and self.domain[axis] != 1:
                return False
            step = step * self.domain[axis]
        return step != 1 and not any(depends(h, inner) for h, _, _ in self.indices)

    def program(self) -> Lazy:
        """Return the positions as a lazy int64 value over the domain."""
        program = Program.empty()
        total = program.body.load(program.leaf(View(IOTA, I64, self.domain, self.base)), I64)
        for held, stride, extent in self.indices:
            name = program.body.cast(program.include(held, self.domain), I64)
            name = program.body.guard("wrap" if self.wrap else "check", name, extent)
            if stride != 1:
                name = program.body.call("mul", name, program.body.const(stride, I64))
            total = program.body.call("add", total, name)
        return used_leaves(program.finish(total, self.domain, I64, None, ()))


def depends(held: Held, axes: Sequence[int]) -> bool:
    """Whether a value over a domain differs along any of `axes`."""
    leaves = held.leaves if isinstance(held, Lazy) else (held,)
    return any(v.strides[a] != 0 and v.shape[a] != 1 for v in leaves for a in axes)


def place_values(
    ctx: KernelContext, node: Node, into: View, where: Positions, values: Held, kind: int
) -> None:
    """Append the kernel that writes `values` (over the domain) into the dense view `into`."""
    if 0 in where.domain:
        return
    dtype = into.dtype
    if dtype == BOOL:  # sums and products of truth values are or and and
        dtype, kind = U8, {ADD: MAX, MUL: MIN}.get(kind, kind)
    values = ctx.realize_held(values) if _late(values) else values
    position = load_of(where.program(), where.domain, where.groups, I64, 2)
    load = load_of(values, where.domain, where.groups, dtype, 2)
    sizes = [size_prod(where.domain[a] for a in group) for group in where.groups]
    call = KernelCall(
        "maccel.scattering",
        "scatter_at",
        (("W", ctx.lanes(dtype) if where.row_wise else 1), ("dt", dtype), ("op", kind)),
        (
            *(Arg("size", s) for s in sizes),
            Arg("out", into),
            Arg("size", size_prod(into.shape)),
            Arg("closure", position),
            Arg("closure", load),
        ),
    )
    ctx.append([call], [node], size_prod(where.domain) * 2)


def _late(held: Held) -> bool:
    return isinstance(held, Lazy) and held.kernel is not None


def ready(ctx: KernelContext, name: str | None) -> Held:
    """Return a value that closures can read: in memory, or a program without a kernel."""
    assert name is not None
    held = ctx.get(name)
    return ctx.realize(name) if _late(held) else held


def copied(ctx: KernelContext, node: Node) -> View:
    """Return the node's result buffer, holding a copy of operand 0."""
    name = node.inputs[0]
    assert name is not None
    into = ctx.new_buffer(node.output.name, node.output.type)
    lazy = lazy_of(ctx, name)
    ctx.store(replace(lazy, nodes=(*lazy.nodes, node)), into)
    return into


def at_least_1d(view: View) -> View:
    """View a scalar as one element."""
    return view if view.shape else replace(view, shape=(1,), strides=(1,))


def strides_without(into: View, axes: Sequence[int]) -> tuple[Size, ...]:
    """Return the strides of `into`, 0 along `axes`."""
    return tuple(0 if a in axes else s for a, s in enumerate(into.strides))


def along_axis(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Group the axes before, at and after `axis`."""
    return tuple(range(axis)), (axis,), tuple(range(axis + 1, rank))


def crop(ctx: KernelContext, held: Held, shape: tuple[Size, ...]) -> Held:
    """Take the first shape[a] positions of every axis."""
    view = ctx.realize_held(held)
    strides = view.strides or (0,) * len(shape)
    return replace(view, shape=shape, strides=strides)


# -- scatter ------------------------------------------------------------------------------------


def scatter_positions(ctx: KernelContext, node: Node, into: View) -> Positions:
    """Return where ``aten.scatter`` writes: the index has the values' shape."""
    index = ready(ctx, node.inputs[1])
    if not index.shape:
        index = spread(ctx, index, (1,), 0)
    rank = len(into.shape)
    axis = int(node.attr("dim")) % rank
    indices = ((index, into.strides[axis], into.shape[axis]),)
    base = strides_without(into, (axis,))
    return Positions(tuple(index.shape), along_axis(rank, axis), base, indices, False)


def scatter_values(ctx: KernelContext, node: Node, where: Positions) -> Held:
    """Return the source cut to the index's shape, or the number in `value`."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        kind = TensorType(node.output.type.dtype, where.domain)
        return constant(ctx, node, node.attr("value"), kind)
    source = ready(ctx, node.inputs[2])
    if tuple(source.shape) == where.domain:
        return source
    return crop(ctx, source, where.domain)


def lower_scatter(ctx: KernelContext, node: Node) -> None:
    """``aten.scatter`` with a source or a number, plain, add or multiply; ``scatter_add``."""
    result = copied(ctx, node)
    into = at_least_1d(result)
    where = scatter_positions(ctx, node, into)
    reduce = node.attr("reduce")
    kind = ADD if node.op == "scatter_add" else SET if reduce is None else REDUCTIONS[reduce]
    place_values(ctx, node, into, where, scatter_values(ctx, node, where), kind)
    ctx.define(node, result)


def identity(reduce: str, dtype: DType) -> Any:
    """Return the value that reductions of `reduce` start from."""
    if reduce == "prod":
        return 1
    if reduce not in ("amax", "amin"):
        return 0
    if dtype.is_float:
        return float("-inf") if reduce == "amax" else float("inf")
    if dtype == BOOL:
        return reduce == "amin"
    bits = dtype.size * 8
    low, high = (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return low if reduce == "amax" else high


def reduce_into(
    ctx: KernelContext, node: Node, result: View, where: Positions, values: Held
) -> Held:
    """Combine scattered values by the attribute `reduce`; return the result."""
    reduce = str(node.attr("reduce"))
    into = at_least_1d(result)
    t = node.output.type
    include = bool(node.attr("include_self", True))
    if not include:
        start = constant(ctx, node, identity(reduce, t.dtype), TensorType(t.dtype, where.domain))
        place_values(ctx, node, into, where, start, SET)
    place_values(ctx, node, into, where, values, REDUCTIONS[reduce])
    if reduce != "mean":
        return result
    counts = ctx.new_buffer(f"{node.output.name}_count", TensorType(t.dtype, into.shape))
    ctx.store(constant(ctx, node, 1, TensorType(t.dtype, into.shape)), counts)
    ones = constant(ctx, node, 1, TensorType(t.dtype, where.domain))
    if not include:
        zeros = constant(ctx, node, 0, TensorType(t.dtype, where.domain))
        place_values(ctx, node, counts, where, zeros, SET)
    place_values(ctx, node, counts, where, ones, ADD)

    def divide(p: PointwiseContext) -> str:
        return p.call("div" if p.dtype.is_float else "div_floor", p.operand(0), p.operand(1))

    counts = replace(counts, shape=result.shape, strides=result.strides)
    return ctx.pointwise(node, [result, counts], divide, t)


def lower_scatter_reduce(ctx: KernelContext, node: Node) -> None:
    """``aten.scatter_reduce``: sum, prod, mean, amax or amin, with or without the old value."""
    result = copied(ctx, node)
    where = scatter_positions(ctx, node, at_least_1d(result))
    values = scatter_values(ctx, node, where)
    ctx.define(node, reduce_into(ctx, node, result, where, values))


# -- one index along one axis -------------------------------------------------------------------


def axis_positions(ctx: KernelContext, node: Node, into: View, wrap: bool) -> Positions:
    """Return where ``aten.index_add`` and its kin write: index[k] along one axis."""
    rank = len(into.shape)
    axis = int(node.attr("dim")) % rank
    index = ready(ctx, node.inputs[1])
    count = index.shape[0] if index.shape else 1
    domain = tuple(count if a == axis else n for a, n in enumerate(into.shape))
    index = spread(ctx, index, domain, axis)
    indices = ((index, into.strides[axis], into.shape[axis]),)
    base = strides_without(into, (axis,))
    return Positions(domain, along_axis(rank, axis), base, indices, wrap)


def lower_index_write(ctx: KernelContext, node: Node) -> None:
    """``aten.index_add``, ``index_copy``, ``index_fill``, ``index_reduce``."""
    result = copied(ctx, node)
    into = at_least_1d(result)
    where = axis_positions(ctx, node, into, wrap=node.op == "index_fill")
    t = TensorType(node.output.type.dtype, where.domain)
    values: Held
    if len(node.inputs) < 3 or node.inputs[2] is None:
        values = constant(ctx, node, node.attr("value"), t)
    else:
        values = ready(ctx, node.inputs[2])
        if not values.shape:
            values = spread(ctx, values, where.domain, 0)
    alpha = node.attr("alpha", 1)
    if alpha != 1:
        product = "and_" if t.dtype == BOOL else "mul"
        values = ctx.pointwise(
            node, [values], lambda p: p.call(product, p.operand(0), p.const(alpha)), t
        )
    if node.op == "index_reduce":
        ctx.define(node, reduce_into(ctx, node, result, where, values))
        return
    place_values(ctx, node, into, where, values, ADD if node.op == "index_add" else SET)
    ctx.define(node, result)


# -- index_put ----------------------------------------------------------------------------------


def lower_index_put(ctx: KernelContext, node: Node) -> None:
    """``aten.index_put``: integer tensors select along some axes, values are set or added."""
    *indices, source = node.inputs[1:]
    axes = [a for a, name in enumerate(indices) if name is not None]
    if any(is_mask(ctx.type(indices[a])) for a in axes):
        _put_where(ctx, node, indices, source)
        return
    result = copied(ctx, node)
    domain, first, rank = indexed_shape(ctx, result.shape, indices)
    others = [a for a in range(len(result.shape)) if a not in axes]
    base: list[Size] = [0] * len(domain)
    for position, axis in enumerate(others):
        base[position if position < first else position + rank] = result.strides[axis]
    triples = []
    for axis in axes:
        held = ready(ctx, indices[axis])
        held = spread(ctx, held, domain, first + rank - len(held.shape))
        triples.append((held, result.strides[axis], result.shape[axis]))
    met = tuple(range(first, first + rank))
    groups = (tuple(range(first)), met, tuple(range(first + rank, len(domain))))
    where = Positions(domain, groups, tuple(base), tuple(triples), True)
    kind = ADD if node.attr("accumulate", False) else SET
    place_values(ctx, node, result, where, ready(ctx, source), kind)
    ctx.define(node, result)


def _put_where(
    ctx: KernelContext, node: Node, indices: Sequence[str | None], source: str | None
) -> None:
    """Write one value (per unmasked position) where a boolean mask holds."""
    t = node.output.type
    axes = [a for a, name in enumerate(indices) if name is not None]
    mask_type = ctx.type(indices[axes[0]])
    after = t.rank - axes[0] - mask_type.rank
    values = ready(ctx, source)
    shape = tuple(values.shape)
    many = len(shape) > after and shape[len(shape) - after - 1] != 1
    if len(axes) > 1 or many or mask_type.rank == 0:
        raise ctx.reject(
            node,
            "values written by a boolean mask must not vary along the masked axes",
            "use torch.where or masked_scatter",
        )
    mask = spread(ctx, ready(ctx, indices[axes[0]]), t.shape, axes[0])
    if len(shape) > after:
        cut = len(shape) - after - 1
        wide = (*shape[:cut], *(1,) * mask_type.rank, *shape[cut + 1 :])
        view = ctx.realize_held(values)
        strides = (*view.strides[:cut], *(0,) * mask_type.rank, *view.strides[cut + 1 :])
        values = replace(view, shape=wide, strides=strides)
    accumulate = bool(node.attr("accumulate", False))

    def choose(p: PointwiseContext) -> str:
        old, new = p.operand(0), p.operand(2)
        if accumulate:
            new = p.call("or_" if p.dtype == BOOL else "add", old, new)
        return p.call("select", p.operand(1, dtype=BOOL), new, old, dtype=p.dtype)

    base = ready(ctx, node.inputs[0])
    ctx.define(node, ctx.pointwise(node, [base, mask, values], choose, t))


# -- decompositions -----------------------------------------------------------------------------


def rewrite_put(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.put`` as index_put of the flattened tensor."""
    x, index, source = node.inputs[:3]
    t = node.output.type
    flat = TensorType(t.dtype, (t.numel,))
    count = (b.types[str(index)].numel,)
    line = b.add("view", [x], flat, size=flat.shape)
    where = b.add("view", [index], TensorType(b.types[str(index)].dtype, count), size=count)
    values = b.add("view", [source], TensorType(t.dtype, count), size=count)
    accumulate = node.attr("accumulate", False)
    done = b.add("index_put", [line, where, values], flat, accumulate=accumulate)
    return [b.add("view", [done], t, size=t.shape)]


def rewrite_masked_scatter(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.masked_scatter``: the n-th place of the mask takes the n-th source value."""
    x, mask, source = node.inputs[:3]
    t = node.output.type
    line: tuple[Size, ...] = (t.numel,)
    held = b.add("expand", [mask], TensorType(BOOL, t.shape), size=t.shape)
    flags = b.add("view", [held], TensorType(BOOL, line), size=line)
    counted = b.add("cumsum", [flags], TensorType(I64, line), dim=0, dtype=None)
    place = b.add("sub", [counted, None], TensorType(I64, line), other=1, alpha=1)
    place = b.add("clamp_min", [place, None], TensorType(I64, line), min=0)
    s = b.types[str(source)]
    values = b.add("view", [source], TensorType(s.dtype, (s.numel,)), size=(s.numel,))
    taken = b.add("index", [values, place], TensorType(t.dtype, line))
    shaped = b.add("view", [taken], t, size=t.shape)
    return [b.add("where", [held, shaped, x], t)]


OPS = (
    OpDef(
        "scatter",
        ("aten.scatter.src", "aten.scatter.value", "aten.scatter.reduce",
         "aten.scatter.value_reduce"),
        Kernel(lower_scatter),
    ),
    OpDef("scatter_add", ("aten.scatter_add.default",), Kernel(lower_scatter)),
    OpDef("scatter_reduce", ("aten.scatter_reduce.two",), Kernel(lower_scatter_reduce)),
    OpDef("index_add", ("aten.index_add.default",), Kernel(lower_index_write)),
    OpDef("index_copy", ("aten.index_copy.default",), Kernel(lower_index_write)),
    OpDef(
        "index_fill",
        ("aten.index_fill.int_Tensor", "aten.index_fill.int_Scalar"),
        Kernel(lower_index_write),
    ),
    OpDef("index_reduce", ("aten.index_reduce.default",), Kernel(lower_index_write)),
    OpDef(
        "index_put",
        ("aten.index_put.default", "aten._unsafe_index_put.default"),
        Kernel(lower_index_put),
    ),
    OpDef("put", ("aten.put.default",), Decompose(rewrite_put)),
    OpDef("masked_scatter", ("aten.masked_scatter.default",), Decompose(rewrite_masked_scatter)),
)  # fmt: skip
