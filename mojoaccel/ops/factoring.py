"""Factorisations of small matrices: LU, QR, Cholesky, eigen- and singular values, exponentials."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg
from mojoaccel.ir.types import BOOL, F64, I32, TensorType
from mojoaccel.ops.indexing import window
from mojoaccel.ops.lazy import Held
from mojoaccel.ops.linalg_calls import coords, matrix_in, matrix_out, run, spare, square_of
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Foreign, Kernel, OpDef, PointwiseContext


def lower_cholesky(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_cholesky_ex`` and ``aten.cholesky``: L, or its transpose with `upper`."""
    a = node.inputs[0]
    n, _ = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    upper = bool(node.attr("upper", False))
    into, store = matrix_out(ctx, node.output, swap=upper)
    if len(node.outputs) == 2:
        view, info = matrix_out(ctx, node.outputs[1], matrix=0)
    else:
        view, info = into, spare(ctx, node, "info", TensorType(node.output.type.dtype, batch), 0)
    run(
        ctx,
        node,
        "cholesky",
        (size_prod(batch), n),
        [matrix_in(ctx, a, batch, swap=upper), store, info],
        elements=n * n,
    )
    ctx.define(node, *([into, view][: len(node.outputs)]))


def lower_qr(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_qr`` in every mode."""
    a = node.inputs[0]
    rows, cols = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    mode = str(node.attr("mode", "reduced"))
    width = rows if mode == "complete" else min(rows, cols)
    q, r = node.outputs
    into_r, store_r = matrix_out(ctx, r)
    into_q, store_q = (
        matrix_out(ctx, q) if mode != "r" else (ctx.new_buffer(q.name, q.type), store_r)
    )
    run(
        ctx,
        node,
        "qr",
        (size_prod(batch), rows, cols, width),
        [matrix_in(ctx, a, batch), store_q, store_r],
        elements=rows * cols + min(rows, cols) + rows * width,
        params=(("with_q", mode != "r"),),
    )
    ctx.define(node, into_q, into_r)


def lower_geqrf(ctx: KernelContext, node: Node) -> None:
    """``aten.geqrf``: R and the reflections in one matrix, and their factors."""
    a = node.inputs[0]
    rows, cols = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    packed, factors = node.outputs
    into, store = matrix_out(ctx, packed)
    into_tau, store_tau = matrix_out(ctx, factors, matrix=1)
    run(
        ctx,
        node,
        "geqrf",
        (size_prod(batch), rows, cols),
        [matrix_in(ctx, a, batch), store, store_tau],
        elements=rows * cols + min(rows, cols),
    )
    ctx.define(node, into, into_tau)


def lower_householder_product(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_householder_product``: the first columns of Q."""
    a, tau = node.inputs[:2]
    _, cols = square_of(ctx, node, a)
    lower_reflections(ctx, node, (a, tau, tau), cols, swap=False, product=True)


def lower_ormqr(ctx: KernelContext, node: Node) -> None:
    """``aten.ormqr``: Q C, or C Q, which is the transpose of Q^T C^T."""
    _, _, other = node.inputs
    right = not node.attr("left", True)
    width = ctx.type(other).shape[-2 if right else -1]
    forward = bool(node.attr("transpose", False)) != right
    lower_reflections(ctx, node, node.inputs, width, swap=right, forward=forward)


def lower_reflections(
    ctx: KernelContext,
    node: Node,
    operands: Sequence[str | None],
    width: Size,
    *,
    swap: bool,
    product: bool = False,
    forward: bool = False,
) -> None:
    """Multiply by the Q of reflections (reflections, factors, matrix)."""
    a, tau, other = operands
    rows, cols = square_of(ctx, node, a)
    count = int(str(ctx.type(tau).shape[-1]))
    batch = node.output.type.shape[:-2]
    into, store = matrix_out(ctx, node.output, swap=swap)
    load_tau = matrix_in(ctx, tau, batch, matrix=1)
    load_other = load_tau if product else matrix_in(ctx, other, batch, swap=swap)
    run(
        ctx,
        node,
        "householder",
        (size_prod(batch), rows, cols, count, width),
        [matrix_in(ctx, a, batch), load_tau, load_other, store],
        elements=rows * cols + count + rows * width,
        params=(("product", product), ("forward", forward)),
    )
    ctx.define(node, into)


def lower_eigh(ctx: KernelContext, node: Node) -> None:
    """``aten._linalg_eigh``: eigenvalues, ascending, and eigenvectors as columns."""
    a = node.inputs[0]
    n, _ = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    values, vectors = node.outputs
    into, store = matrix_out(ctx, values, matrix=1)
    if node.attr("compute_v", True):
        columns, store_vectors = matrix_out(ctx, vectors, swap=True)
    else:
        columns = ctx.new_buffer(vectors.name, vectors.type)
        full = TensorType(vectors.type.dtype, (*batch, n, n))
        store_vectors = spare(ctx, node, "vectors", full, 2)
    run(
        ctx,
        node,
        "eigh",
        (size_prod(batch), n),
        [matrix_in(ctx, a, batch), store, store_vectors],
        elements=2 * n * n,
        params=(("lower", str(node.attr("UPLO", "L")).upper() == "L"),),
    )
    ctx.define(node, into, columns)


def lower_svd(ctx: KernelContext, node: Node) -> None:
    """``aten._linalg_svd``: U, S, Vh; a wide matrix is decomposed transposed."""
    a = node.inputs[0]
    rows, cols = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    u, s, vh = node.outputs
    vectors = bool(node.attr("compute_uv", True))
    tall = rows >= cols
    length, count = max(rows, cols), min(rows, cols)
    width = length if node.attr("full_matrices", False) and vectors else count
    values, store_values = matrix_out(ctx, s, matrix=1)
    if vectors:
        left, store_u = matrix_out(ctx, u, swap=True)  # (position, element) are (column, row)
        right, store_v = matrix_out(ctx, vh)
    else:
        left, right = (ctx.new_buffer(v.name, v.type) for v in (u, vh))
        store_u = store_v = store_values
    run(
        ctx,
        node,
        "svd",
        (size_prod(batch), length, count, width),
        [
            matrix_in(ctx, a, batch, swap=tall),
            store_u if tall else store_v,
            store_values,
            store_v if tall else store_u,
        ],
        elements=length * width + count * count + count,
        params=(("vectors", vectors),),
    )
    ctx.define(node, left, values, right)


def lower_matrix_exp(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_matrix_exp``."""
    a = node.inputs[0]
    n, _ = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    into, store = matrix_out(ctx, node.output)
    run(
        ctx,
        node,
        "matrix_exp",
        (size_prod(batch), n),
        [matrix_in(ctx, a, batch), store],
        elements=3 * n * n,
    )
    ctx.define(node, into)


def lower_lu_factor(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_lu_factor_ex``: LU, pivots, info."""
    a = node.inputs[0]
    rows, cols = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    pivot = bool(node.attr("pivot", True))
    outs = [
        matrix_out(ctx, value, matrix=matrix)
        for value, matrix in zip(node.outputs, (2, 1, 0), strict=True)
    ]
    run(
        ctx,
        node,
        "lu_factor",
        (size_prod(batch), rows, cols),
        [matrix_in(ctx, a, batch), *(c for _, c in outs)],
        elements=rows * cols + min(rows, cols),
        params=(("pivot", pivot),),
    )
    ctx.define(node, *(view for view, _ in outs))


def lower_lu(ctx: KernelContext, node: Node) -> None:
    """``aten.linalg_lu``: P, L, U."""
    a = node.inputs[0]
    rows, cols = square_of(ctx, node, a)
    batch = ctx.type(a).shape[:-2]
    dtype = node.outputs[1].type.dtype
    lu = temporary(ctx, node, "lu", TensorType(dtype, (*batch, rows, cols)))
    pivots = temporary(ctx, node, "pivots", TensorType(I32, (*batch, min(rows, cols))))
    info = temporary(ctx, node, "info", TensorType(I32, batch))
    stores = [
        Arg("closure", ctx.store_closure(ctx.view(name), coords(ctx.type(name).rank, m), F64))
        for name, m in ((lu, 2), (pivots, 1), (info, 0))
    ]
    run(
        ctx,
        node,
        "lu_factor",
        (size_prod(batch), rows, cols),
        [matrix_in(ctx, a, batch), *stores],
        elements=rows * cols + min(rows, cols),
        params=(("pivot", bool(node.attr("pivot", True))),),
    )
    ctx.define(node, *unpack(ctx, node, lu, pivots))


def temporary(ctx: KernelContext, node: Node, label: str, t: TensorType) -> str:
    """Make memory for a value that is no output; return its name."""
    name = f"{node.output.name}_{label}"
    ctx.types[name] = t
    ctx.held[name] = ctx.new_buffer(name, t)
    return name


def lower_lu_unpack(ctx: KernelContext, node: Node) -> None:
    """``aten.lu_unpack``: P, L, U from packed factors and pivots."""
    lu, pivots = (str(name) for name in node.inputs[:2])
    ctx.define(node, *unpack(ctx, node, lu, pivots))


def unpack(ctx: KernelContext, node: Node, lu: str, pivots: str) -> list[Held]:
    """Return P, L and U; those not asked for are empty."""
    p, lower, upper = node.outputs
    into, store = matrix_out(ctx, p) if p.type.rank >= 2 else (ctx.new_buffer(p.name, p.type), None)
    if store is not None:
        n, count = p.type.shape[-1], ctx.type(pivots).shape[-1]
        batch = p.type.shape[:-2]
        run(
            ctx,
            node,
            "permutation",
            (size_prod(batch), n, count),
            [matrix_in(ctx, pivots, batch, matrix=1), store],
            elements=int(str(n)) ** 2,
        )
    results: list[Held] = [into]
    for value, build in ((lower, below), (upper, above)):
        view = ctx.view(lu)
        if value.type.rank < 2:
            results.append(ctx.new_buffer(value.name, value.type))
            continue
        rank = len(view.shape)
        for axis in (rank - 2, rank - 1):
            view = window(view, axis, 0, value.type.shape[axis])
        results.append(ctx.pointwise(node, [view], build, value.type))
    return results


def below(p: PointwiseContext) -> str:
    """What lies below the diagonal, ones on it."""
    row, col = p.body.index(p.result.rank - 2), p.body.index(p.result.rank - 1)
    inside = p.call("lt", col, row, dtype=BOOL)
    one = p.body.cast(p.call("eq", col, row, dtype=BOOL), p.dtype)
    return p.call("select", inside, p.operand(0), one, dtype=p.dtype)


def above(p: PointwiseContext) -> str:
    """What lies on and above the diagonal."""
    row, col = p.body.index(p.result.rank - 2), p.body.index(p.result.rank - 1)
    inside = p.call("ge", col, row, dtype=BOOL)
    return p.call("select", inside, p.operand(0), p.const(0), dtype=p.dtype)


_NOT_SYMMETRIC = Foreign(
    "eigenvalues of matrices that need not be symmetric",
    "use torch.linalg.eigh for symmetric matrices",
)
_RAW = Foreign("the factors L D L^T", "use torch.linalg.lu_factor, or cholesky")

OPS = (
    OpDef("linalg_lu_factor_ex", ("aten.linalg_lu_factor_ex.default",), Kernel(lower_lu_factor)),
    OpDef("linalg_lu", ("aten.linalg_lu.default",), Kernel(lower_lu)),
    OpDef("lu_unpack", ("aten.lu_unpack.default",), Kernel(lower_lu_unpack)),
    OpDef("linalg_cholesky_ex", ("aten.linalg_cholesky_ex.default",), Kernel(lower_cholesky)),
    OpDef("cholesky", ("aten.cholesky.default",), Kernel(lower_cholesky)),
    OpDef("linalg_qr", ("aten.linalg_qr.default",), Kernel(lower_qr)),
    OpDef("_linalg_eigh", ("aten._linalg_eigh.default",), Kernel(lower_eigh)),
    OpDef("_linalg_svd", ("aten._linalg_svd.default",), Kernel(lower_svd)),
    OpDef("linalg_matrix_exp", ("aten.linalg_matrix_exp.default",), Kernel(lower_matrix_exp)),
    OpDef("linalg_eig", ("aten.linalg_eig.default",), _NOT_SYMMETRIC),
    OpDef(
        "linalg_eigvals",
        ("aten.linalg_eigvals.default", "aten._linalg_eigvals.default"),
        _NOT_SYMMETRIC,
    ),
    OpDef("geqrf", ("aten.geqrf.default",), Kernel(lower_geqrf)),
    OpDef("ormqr", ("aten.ormqr.default",), Kernel(lower_ormqr)),
    OpDef(
        "linalg_householder_product",
        ("aten.linalg_householder_product.default",),
        Kernel(lower_householder_product),
    ),
    OpDef("linalg_ldl_factor_ex", ("aten.linalg_ldl_factor_ex.default",), _RAW),
)
