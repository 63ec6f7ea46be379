"""Reductions made of others, and those with kernels of their own: moments, norms, distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mojoaccel.ir.dims import Size, size_min
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, Param
from mojoaccel.ir.types import BOOL, I64, TensorType
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.reduction import nest_of, reduced_axes
from mojoaccel.ops.registry import Decompose, Kernel, OpDef, compute_dtype


def correction_of(node: Node) -> float:
    """Return what is subtracted from the number of values: 1 unless said otherwise."""
    value = node.attr("correction")
    if value is None:
        return 1.0 if node.attr("unbiased", True) else 0.0
    return float(value)


def moment_kernel(
    ctx: KernelContext,
    node: Node,
    function: str,
    extra: Sequence[Arg],
    *,
    rows_only: bool,
    passes: int,
) -> Lazy:
    """Schedule a kernel of ``maccel.variance`` over the node's axes."""
    t = ctx.type(node.inputs[0])
    dtype = compute_dtype(node.output.type.dtype)
    axes = reduced_axes(node, t.rank)
    nest = nest_of(ctx, node, axes, dtype=dtype, rows_only=rows_only, passes=passes)
    lanes = ctx.lanes(dtype)
    params: tuple[tuple[str, Param], ...] = (("W", lanes), ("acc", dtype))
    sizes = tuple(Arg("size", s) for s in nest.sizes)
    # Rows shared by all threads keep three words a block; there are fewer than threads then.
    blocks: Size = (nest.sizes[1] + 256 * lanes - 1) // (256 * lanes)
    scratch = 0 if nest.columns else size_min(nest.sizes[0], 256) * blocks * (3 * dtype.size)

    def build(store: Closure) -> KernelCall:
        name = function if rows_only else f"{function}_{'columns' if nest.columns else 'rows'}"
        args = (*sizes, *extra, Arg("closure", nest.load), Arg("closure", store))
        return KernelCall("maccel.variance", name, params, args, scratch, t.numel * 4)

    coords = nest.stored(node, t.rank, axes)
    return ctx.pending(node, build, coords=coords, dtype=dtype, work=t.numel * 4)


def lower_variance(ctx: KernelContext, node: Node) -> None:
    """``aten.var`` and ``aten.std`` in every form."""
    if not node.output.type.dtype.is_float:
        raise ctx.reject(node, f"the variance of {node.output.type.dtype} values")
    extra = (Arg("float", correction_of(node)),)
    lazy = moment_kernel(ctx, node, "variance", extra, rows_only=False, passes=2)
    if node.op == "std":
        lazy = ctx.add_epilogue(lazy, node, [], lambda p: p.call("sqrt", p.operand(0)))
    ctx.define(node, lazy)


def lower_logsumexp(ctx: KernelContext, node: Node) -> None:
    """``aten.logsumexp``: rows of any axes."""
    ctx.define(node, moment_kernel(ctx, node, "logsumexp_rows", (), rows_only=True, passes=2))


# -- decompositions -----------------------------------------------------------------------------


def axes_of(node: Node, *, empty_is_all: bool = True) -> dict[str, Any]:
    """Return the attributes ``dim`` and ``keepdim`` for the reductions a node is made of."""
    dim = node.attr("dim")
    if dim == () and empty_is_all:
        dim = None
    return {"dim": dim, "keepdim": bool(node.attr("keepdim", False))}


def rewrite_moments(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite var_mean and std_mean as two reductions."""
    x = node.inputs[0]
    first, second = (v.type for v in node.outputs)
    where = axes_of(node)
    spread = b.add(node.op[:3], [x], first, correction=correction_of(node), **where)
    return [spread, b.add("mean", [x], second, dtype=None, **where)]


def rewrite_extreme(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite max.dim and min.dim as the extreme and its first position."""
    x = node.inputs[0]
    values, places = (v.type for v in node.outputs)
    kind = node.op.removesuffix("_dim")
    dim, keepdim = node.attr("dim"), bool(node.attr("keepdim", False))
    found = b.add(f"a{kind}", [x], values, dim=(dim,), keepdim=keepdim)
    source = b.types[str(x)]
    if source.dtype == BOOL:  # positions are found among numbers
        x = b.add("to", [x], TensorType(I64, source.shape), dtype="int64")
    return [found, b.add(f"arg{kind}", [x], places, dim=dim, keepdim=keepdim)]


def rewrite_aminmax(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite aminmax as two reductions."""
    x = node.inputs[0]
    dim = node.attr("dim")
    where = {"dim": () if dim is None else (dim,), "keepdim": bool(node.attr("keepdim", False))}
    names = ("amin", "amax")
    return [b.add(op, [x], v.type, **where) for op, v in zip(names, node.outputs, strict=True)]


def rewrite_count(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite count_nonzero as the sum of comparisons."""
    x = node.inputs[0]
    shape = b.types[str(x)].shape
    flags = b.add("ne", [x, None], TensorType(BOOL, shape), other=0)
    return [b.add("sum", [flags], node.output.type, dtype=None, **axes_of(node))]


def rewrite_nansum(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite nansum as the sum of what is not NaN."""
    x = str(node.inputs[0])
    t = b.types[x]
    if t.dtype.is_float:
        missing = b.add("isnan", [x], TensorType(BOOL, t.shape))
        x = b.add("masked_fill", [x, missing, None], t, value=0)
    return [b.add("sum", [x], node.output.type, dtype=node.attr("dtype"), **axes_of(node))]


def rewrite_norm(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.norm`` as ``linalg_vector_norm``."""
    p = node.attr("p")
    order = 2.0 if p is None else float(p)
    where = axes_of(node)
    dtype = node.attr("dtype")
    return [
        b.add("linalg_vector_norm", node.inputs, node.output.type, ord=order, dtype=dtype, **where)
    ]


def vector_norm(b: GraphBuilder, x: str, t: TensorType, order: float, where: dict[str, Any]) -> str:
    """Build the norm of order `order` over the axes in `where`; the result has type `t`."""
    shape = b.types[x].shape
    wide = TensorType(t.dtype, shape)
    if b.types[x].dtype != t.dtype:
        x = b.add("to", [x], wide, dtype=t.dtype.torch)
    if order == 0:
        flags = b.add("ne", [x, None], TensorType(BOOL, shape), other=0)
        count = b.add("to", [flags], wide, dtype=t.dtype.torch)
        return b.add("sum", [count], t, dtype=None, **where)
    size = b.add("abs", [x], wide)
    if order in (float("inf"), float("-inf")):
        name = "amax" if order > 0 else "amin"
        dim = where["dim"]
        dims = () if dim is None else dim if isinstance(dim, tuple) else (dim,)
        return b.add(name, [size], t, dim=dims, keepdim=where["keepdim"])
    if order == 1:
        return b.add("sum", [size], t, dtype=None, **where)
    if order == 2:
        squares = b.add("mul", [x, x], wide)
        return b.add("sqrt", [b.add("sum", [squares], t, dtype=None, **where)], t)
    powers = b.add("pow", [size, None], wide, exponent=order)
    total = b.add("sum", [powers], t, dtype=None, **where)
    return b.add("pow", [total, None], t, exponent=1.0 / order)


def rewrite_vector_norm(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.linalg_vector_norm`` by its order: 2, 1, inf, -inf, 0 or p.

    Halves are summed in float32, as their sum's rounding would be the norm's error.
    """
    x = str(node.inputs[0])
    t = node.output.type
    order = float(node.attr("ord", 2))
    inner = TensorType(compute_dtype(t.dtype), t.shape)
    found = vector_norm(b, x, inner, order, axes_of(node))
    return [found if inner == t else b.add("to", [found], t, dtype=t.dtype.torch)]


def rewrite_dist(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten.dist`` as the norm of the difference."""
    x, y = (b.types[str(i)] for i in node.inputs[:2])
    t = node.output.type
    wide = TensorType(t.dtype, broadcast_shape(x.shape, y.shape))
    apart = b.add("sub", node.inputs[:2], wide, alpha=1)
    where = {"dim": None, "keepdim": False}
    return [vector_norm(b, apart, t, float(node.attr("p", 2)), where)]


def broadcast_shape(x: Sequence[Size], y: Sequence[Size]) -> tuple[Size, ...]:
    """Return the shape that two shapes broadcast to."""
    rank = max(len(x), len(y))
    pairs = zip((*(1,) * (rank - len(x)), *x), (*(1,) * (rank - len(y)), *y), strict=True)
    return tuple(b if a == 1 else a for a, b in pairs)


def rewrite_cdist(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten._cdist_forward`` as the norms of all differences."""
    x, y = (str(i) for i in node.inputs[:2])
    t = node.output.type
    rows, columns, width = t.shape[-2], t.shape[-1], b.types[x].shape[-1]
    left = _unsqueeze(b, x, b.types[x].rank - 1)
    right = _unsqueeze(b, y, b.types[y].rank - 2)
    wide = TensorType(t.dtype, (*t.shape[:-2], rows, columns, width))
    apart = b.add("sub", [left, right], wide, alpha=1)
    return [vector_norm(b, apart, t, float(node.attr("p", 2)), {"dim": (-1,), "keepdim": False})]


def rewrite_pdist(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten._pdist_forward`` as the norms of the differences of each pair of rows."""
    x = str(node.inputs[0])
    t = node.output.type
    rows, width = b.types[x].shape
    if not isinstance(rows, int):
        from mojoaccel.errors import error

        raise error("MA302", "pdist of a dynamic number of rows", loc=node.loc)
    parts = []
    for i in range(rows - 1):
        kind = TensorType(t.dtype, (rows - 1 - i, width))
        first = b.add(
            "slice", [x], TensorType(t.dtype, (1, width)), dim=0, start=i, end=i + 1, step=1
        )
        rest = b.add("slice", [x], kind, dim=0, start=i + 1, end=rows, step=1)
        parts.append(b.add("sub", [first, rest], kind, alpha=1))
    if not parts:
        return [b.add("full", [], t, size=t.shape, fill_value=0, dtype=t.dtype.torch)]
    apart = b.add("cat", parts, TensorType(t.dtype, (*t.shape, width)), dim=0)
    return [vector_norm(b, apart, t, float(node.attr("p", 2)), {"dim": (-1,), "keepdim": False})]


def _unsqueeze(b: GraphBuilder, x: str, axis: int) -> str:
    t = b.types[x]
    shape = (*t.shape[:axis], 1, *t.shape[axis:])
    return b.add("unsqueeze", [x], TensorType(t.dtype, shape), dim=axis)


def composite(
    name: str, rewrite: Callable[[GraphBuilder, Node], Sequence[str]], *aten: str
) -> OpDef:
    """Make a decomposing record; overloads are given without ``aten.``."""
    return OpDef(name, tuple(f"aten.{a}" for a in aten), Decompose(rewrite))


OPS = (
    OpDef(
        "var", ("aten.var.correction", "aten.var.dim", "aten.var.default"), Kernel(lower_variance)
    ),
    OpDef(
        "std", ("aten.std.correction", "aten.std.dim", "aten.std.default"), Kernel(lower_variance)
    ),
    OpDef("logsumexp", ("aten.logsumexp.default",), Kernel(lower_logsumexp)),
    composite(
        "var_mean", rewrite_moments, "var_mean.correction", "var_mean.dim", "var_mean.default"
    ),
    composite(
        "std_mean", rewrite_moments, "std_mean.correction", "std_mean.dim", "std_mean.default"
    ),
    composite("max_dim", rewrite_extreme, "max.dim"),
    composite("min_dim", rewrite_extreme, "min.dim"),
    composite("aminmax", rewrite_aminmax, "aminmax.default"),
    composite("count_nonzero", rewrite_count, "count_nonzero.dim_IntList", "count_nonzero.default"),
    composite("nansum", rewrite_nansum, "nansum.default"),
    composite(
        "norm", rewrite_norm, "norm.ScalarOpt_dim", "norm.ScalarOpt_dim_dtype",
        "norm.ScalarOpt_dtype", "norm.Scalar",
    ),
    composite("linalg_vector_norm", rewrite_vector_norm, "linalg_vector_norm.default"),
    composite("dist", rewrite_dist, "dist.default"),
    composite("cdist", rewrite_cdist, "_cdist_forward.default", "cdist.default"),
    composite("pdist", rewrite_pdist, "_pdist_forward.default"),
)  # fmt: skip
