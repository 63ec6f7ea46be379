"""Solving with small matrices: systems, inverses, determinants, pseudo-inverses.

Kernels take whole matrices, one thread each, and compute in float64. What LAPACK reports by an
exception (a singular matrix) is an ``info`` output or an infinite result here: a compiled model
does not raise.
"""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node, Value
from mojoaccel.ir.plan import Arg, Body, Closure, ScalarOp, View
from mojoaccel.ir.types import BOOL, F64, I64, TensorType
from mojoaccel.ops.lazy import IOTA, broadcast_view
from mojoaccel.ops.linalg_calls import coords, matrix_in, matrix_out, run, spare, square_of
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Decompose, Kernel, OpDef


def lower_det(ctx: KernelContext, node: Node) -> None:
    """``aten._linalg_det`` and ``aten._linalg_slogdet``, with the factors they come from."""
    a = node.inputs[0]
    n, _ = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    scalar = TensorType(node.output.type.dtype, batch)
    logarithm = node.op == "_linalg_slogdet"
    first = 2 if logarithm else 1
    values = [matrix_out(ctx, v, matrix=0) for v in node.outputs[:first]]
    factors = [
        matrix_out(ctx, v, matrix=m) for v, m in zip(node.outputs[first:], (2, 1), strict=True)
    ]
    unused = [spare(ctx, node, f"rest{k}", scalar, 0) for k in range(1 if logarithm else 2)]
    found = [c for _, c in values]
    order = [*found, *unused] if logarithm else [*unused, *found]
    run(
        ctx,
        node,
        "determinant",
        (size_prod(batch), n),
        [matrix_in(ctx, a, batch), *order, *(c for _, c in factors)],
        elements=n * n + n,
    )
    ctx.define(node, *(view for view, _ in (*values, *factors)))


def one_closure(n: int, batch: Sequence[Size]) -> Arg:
    """Return a closure that reads identity matrices."""
    shape = (*batch, n, n)
    rank = len(shape)
    body = Body(
        (
            ScalarOp("v0", "load", (0,), I64),
            ScalarOp("v1", "load", (1,), I64),
            ScalarOp("v2", "eq", ("v0", "v1"), BOOL),
            ScalarOp("v3", "cast", ("v2",), F64),
        ),
        ("v3",),
    )
    leaves = tuple(
        View(IOTA, I64, shape, tuple(int(a == axis) for a in range(rank)))
        for axis in (rank - 2, rank - 1)
    )
    return Arg("closure", Closure("load", shape, coords(rank), leaves, (), body))


def lower_inverse(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_inv_ex``: the inverse and info."""
    a = node.inputs[0]
    n, _ = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    result, info = (matrix_out(ctx, v, matrix=m) for v, m in zip(node.outputs, (2, 0), strict=True))
    run(
        ctx,
        node,
        "solve",
        (size_prod(batch), n, n),
        [matrix_in(ctx, a, batch), one_closure(n, batch), result[1], info[1]],
        elements=2 * n * n + n,
    )
    ctx.define(node, result[0], info[0])


def right_side(ctx: KernelContext, node: Node, a: str | None, b: str | None) -> int:
    """Return 1 if `b` is a batch of vectors as `aten._linalg_solve_ex` understands it, else 2."""
    ta, tb = ctx.type(a), ctx.type(b)
    vector = tb.rank == 1 or (ta.rank - 1 == tb.rank and tb.shape == ta.shape[:-1])
    return 1 if vector else 2


def lower_solve(ctx: KernelContext, node: Node) -> None:
    """``aten._linalg_solve_ex``: A X = B, or X A = B with ``left=False``."""
    a, b = node.inputs[:2]
    n, _ = square_of(ctx, node, a)
    result, lu, pivots, info = node.outputs
    used = ctx.graph.users()
    if any(v.name in used or v.name in ctx.graph.outputs for v in (lu, pivots)):
        raise ctx.reject(
            node, "the factors of a solved system", "factor with torch.linalg.lu_factor first"
        )
    matrix = right_side(ctx, node, a, b)
    left = bool(node.attr("left", True)) or matrix == 1
    out = result.type
    batch = out.shape[:-matrix]
    cols: Size = 1
    if matrix == 2:
        cols = out.shape[-1] if left else out.shape[-2]
    into, store = vector_out(ctx, result, matrix, swap=not left)
    view, store_info = matrix_out(ctx, info, matrix=0)
    if info.type.shape != batch:  # a batch of right sides for one matrix
        view = ctx.new_buffer(f"{info.name}_wide", TensorType(info.type.dtype, batch))
        store_info = Arg("closure", ctx.store_closure(view, coords(len(batch), 0), F64))
        raise_if_used(ctx, node, info)
    run(
        ctx,
        node,
        "solve",
        (size_prod(batch), n, cols),
        [
            matrix_in(ctx, a, batch, swap=not left),
            vector_in(ctx, b, batch, matrix, swap=not left),
            store,
            store_info,
        ],
        elements=(cols + n + 1) * n,
    )
    ctx.held[result.name] = into
    ctx.held[info.name] = view


def raise_if_used(ctx: KernelContext, node: Node, value: Value) -> None:
    """Refuse an output of a broadcast system that has another shape than its solutions."""
    if value.name in ctx.graph.users() or value.name in ctx.graph.outputs:
        raise ctx.reject(node, "info of a system that is broadcast")


def vector_in(
    ctx: KernelContext, name: str | None, batch: Sequence[Size], matrix: int, swap: bool = False
) -> Arg:
    """Return a closure that reads right sides: matrices, or vectors as single columns."""
    if matrix == 2:
        return matrix_in(ctx, name, batch, swap=swap)
    shape = (*batch, ctx.type(name).shape[-1])
    where = (tuple(range(len(shape) - 1)), (len(shape) - 1,), ())
    return Arg("closure", ctx.load_closure(name, where, dtype=F64, shape=shape))


def vector_out(
    ctx: KernelContext, value: Value, matrix: int, swap: bool = False
) -> tuple[View, Arg]:
    """Make an output like the right sides that `vector_in` reads."""
    if matrix == 2:
        return matrix_out(ctx, value, swap=swap)
    into = ctx.new_buffer(value.name, value.type)
    rank = value.type.rank
    where = (tuple(range(rank - 1)), (rank - 1,), ())
    return into, Arg("closure", ctx.store_closure(into, where, F64))


def lower_triangular(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_solve_triangular`` and ``aten.triangular_solve``."""
    if node.op == "triangular_solve":
        b, a = node.inputs[:2]
        left, flip = True, bool(node.attr("transpose", False))
    else:
        a, b = node.inputs[:2]
        left = bool(node.attr("left", True))
        flip = not left
    upper = bool(node.attr("upper", True)) != flip
    n, _ = square_of(ctx, node, a)
    out = node.output.type
    batch = out.shape[:-2]
    cols = out.shape[-1] if left else out.shape[-2]
    into, store = matrix_out(ctx, node.output, swap=not left)
    run(
        ctx,
        node,
        "solve_triangular",
        (size_prod(batch), n, cols),
        [matrix_in(ctx, a, batch, swap=flip), matrix_in(ctx, b, batch, swap=not left), store],
        elements=(cols + n) * n,
        params=(("upper", upper), ("unit", bool(node.attr("unitriangular", False)))),
    )
    rest = [_expanded(ctx, a, v) for v in node.outputs[1:]]
    ctx.define(node, into, *rest)


def _expanded(ctx: KernelContext, name: str | None, value: Value) -> View:
    return broadcast_view(ctx.view(name), value.type.shape)


def lower_lu_solve(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_lu_solve``: A X = B by given factors, with `adjoint` A^T, or from the right."""
    lu, pivots, b = node.inputs[:3]
    left, adjoint = bool(node.attr("left", True)), bool(node.attr("adjoint", False))
    n, _ = square_of(ctx, node, lu)
    out = node.output.type
    batch = out.shape[:-2]
    cols = out.shape[-1] if left else out.shape[-2]
    transposed = adjoint == left
    into, store = matrix_out(ctx, node.output, swap=not left)
    run(
        ctx,
        node,
        "lu_solve",
        (size_prod(batch), n, cols),
        [
            matrix_in(ctx, lu, batch, swap=transposed),
            matrix_in(ctx, pivots, batch, matrix=1),
            matrix_in(ctx, b, batch, swap=not left),
            store,
        ],
        elements=(cols + n) * n,
        params=(("transposed", transposed),),
    )
    ctx.define(node, into)


def lower_cholesky_solve(ctx: KernelContext, node: Node) -> None:
    """``aten.cholesky_solve``, and ``aten.cholesky_inverse`` as the solution for the identity."""
    inverse = node.op == "cholesky_inverse"
    b, factor = (None, node.inputs[0]) if inverse else node.inputs[:2]
    n, _ = square_of(ctx, node, factor)
    out = node.output.type
    batch, cols = out.shape[:-2], out.shape[-1]
    upper = bool(node.attr("upper", False))
    into, store = matrix_out(ctx, node.output)
    right = one_closure(n, batch) if inverse else matrix_in(ctx, b, batch)
    run(
        ctx,
        node,
        "cholesky_solve",
        (size_prod(batch), n, cols),
        [
            matrix_in(ctx, factor, batch, swap=upper),
            matrix_in(ctx, factor, batch, swap=not upper),
            right,
            store,
        ],
        elements=(cols + n) * n,
    )
    ctx.define(node, into)


def rewrite_pinv(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite the pseudo-inverse by singular values, small ones counting as zero.

    With `hermitian` by eigenvalues, the lower triangle alone counting, as in PyTorch.
    """
    a, *tolerances = node.inputs
    assert a is not None
    t = b.types[a]
    *batch, rows, cols = t.shape
    if 0 in (rows, cols):
        return [b.add("zeros", [], node.output.type, size=node.output.type.shape)]
    count = min(int(str(rows)), int(str(cols)))
    values = TensorType(t.dtype, (*batch, count))
    one = TensorType(t.dtype, (*batch, 1))
    left = TensorType(t.dtype, (*batch, rows, count))
    right = TensorType(t.dtype, (*batch, cols, count))
    if node.attr("hermitian", False):
        s = b.add("_linalg_eigh", [a], (values, left), UPLO="L", compute_v=True)
        u = v = b.nodes[-1].outputs[1].name
        size = b.add("abs", [s], values)
    else:
        flat = TensorType(t.dtype, (*batch, count, cols))
        u = b.add("_linalg_svd", [a], (left, values, flat), full_matrices=False, compute_uv=True)
        s, vh = (output.name for output in b.nodes[-1].outputs[1:])
        v = b.add("transpose", [vh], right, dim0=-2, dim1=-1)
        size = s
    largest = b.add("amax", [size], one, dim=(-1,), keepdim=True)
    limit = _cutoff(b, largest, one, tolerances, max(int(str(rows)), int(str(cols))))
    keep = b.add("gt", [size, limit], TensorType(BOOL, values.shape))
    inverse = b.add("reciprocal", [s], values)
    kept = b.add("where", [keep, inverse, None], values, other=0.0)
    row = TensorType(t.dtype, (*batch, 1, count))
    factors = b.add("unsqueeze", [kept], row, dim=len(batch))
    scaled = b.add("mul", [v, factors], right)
    uh = b.add("transpose", [u], TensorType(t.dtype, (*batch, count, rows)), dim0=-2, dim1=-1)
    return [b.add("matmul", [scaled, uh], node.output.type)]


def _cutoff(
    b: GraphBuilder, largest: str, one: TensorType, tolerances: Sequence[str | None], longest: int
) -> str:
    """Return max(atol, rtol * largest singular value) with PyTorch's defaults."""
    atol, rtol = (*tolerances, None, None)[:2]
    default = longest * (2.0**-52 if one.dtype == F64 else 2.0**-23)

    def column(name: str) -> str:
        t = b.types[name]
        return b.add("unsqueeze", [name], TensorType(t.dtype, (*t.shape, 1)), dim=t.rank)

    if rtol is not None:
        relative = b.add("mul", [largest, column(rtol)], one)
    else:
        relative = b.add("mul", [largest, None], one, other=default)
    if atol is None:
        return relative
    absolute = column(atol)
    if rtol is None:  # a positive atol replaces the default rtol
        some = b.add("gt", [absolute, None], TensorType(BOOL, b.types[absolute].shape), other=0.0)
        relative = b.add("where", [some, None, relative], one, self=0.0)
    return b.add("maximum", [absolute, relative], one)


OPS = (
    OpDef("_linalg_det", ("aten._linalg_det.default",), Kernel(lower_det)),
    OpDef("_linalg_slogdet", ("aten._linalg_slogdet.default",), Kernel(lower_det)),
    OpDef("linalg_inv_ex", ("aten.linalg_inv_ex.default",), Kernel(lower_inverse)),
    OpDef("_linalg_solve_ex", ("aten._linalg_solve_ex.default",), Kernel(lower_solve)),
    OpDef(
        "linalg_solve_triangular",
        ("aten.linalg_solve_triangular.default",),
        Kernel(lower_triangular),
    ),
    OpDef("triangular_solve", ("aten.triangular_solve.default",), Kernel(lower_triangular)),
    OpDef("linalg_lu_solve", ("aten.linalg_lu_solve.default",), Kernel(lower_lu_solve)),
    OpDef("cholesky_solve", ("aten.cholesky_solve.default",), Kernel(lower_cholesky_solve)),
    OpDef("cholesky_inverse", ("aten.cholesky_inverse.default",), Kernel(lower_cholesky_solve)),
    OpDef(
        "linalg_pinv",
        ("aten.linalg_pinv.atol_rtol_tensor",),
        Decompose(rewrite_pinv),
    ),
)
