"""Matrix products: weights packed ahead into panels, or both operands computed at run time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from mojoaccel.artifact.packing import AMX_PANEL, AMX_SCRATCH, fits_tiles, panel_widths
from mojoaccel.ir.dims import Size, exact_div, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, View
from mojoaccel.ir.types import BF16, F32, F64, DType
from mojoaccel.ops.lazy import Held, Lazy, broadcast_view
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.prefetch import prefetch_pays, touch_of
from mojoaccel.ops.registry import Kernel, OpDef, PointwiseContext, compute_dtype


def accumulate_dtype(dtype: DType) -> DType:
    """Return the type products are summed in."""
    return F64 if dtype == F64 else F32


def add_bias(ctx: KernelContext, lazy: Lazy, node: Node, bias: Held) -> Lazy:
    """Add a vector along the last dim in the epilogue."""
    return ctx.add_epilogue(lazy, node, [bias], _sum)


def _sum(p: PointwiseContext) -> str:
    return p.call("add", p.operand(0), p.operand(1))


def lower_linear(ctx: KernelContext, node: Node) -> None:
    """``aten.linear``: y = x @ w.T + b, w of shape [N, K]."""
    x, w, *rest = node.inputs
    if ctx.type(w).rank == 1:
        product = batched(ctx, node, x, w)
    else:
        product = linear(ctx, node, x, w, transposed=True)
    if rest and rest[0] is not None:
        product = add_bias(ctx, product, node, ctx.get(rest[0]))
    ctx.define(node, product)


def lower_mm(ctx: KernelContext, node: Node) -> None:
    """``aten.mm``, ``aten.bmm``, ``aten.matmul``: products of the last two dims."""
    a, b = node.inputs
    if ctx.is_weight(b) and ctx.type(b).rank == 2 and ctx.type(a).rank >= 2:
        ctx.define(node, linear(ctx, node, a, b, transposed=False))
        return
    ctx.define(node, batched(ctx, node, a, b))


def linear(
    ctx: KernelContext, node: Node, x: str | None, w: str | None, *, transposed: bool
) -> Lazy:
    """Schedule x[..., K] @ W, W packed into panels when it is a weight."""
    t = ctx.type(x)
    acc = accumulate_dtype(t.dtype)
    if not ctx.is_weight(w) or not t.dtype.is_float:
        return _linear_dynamic(ctx, node, x, w, transposed)
    n, k = ctx.type(w).shape if transposed else reversed(ctx.type(w).shape)
    assert isinstance(n, int) and isinstance(k, int)
    assert w is not None
    view = ctx.view(x, accept=rows_of)
    rows = size_prod(view.shape[:-1])
    question, packed = weight_panels(ctx, w, rows, t.dtype, transposed=transposed)
    nr = packed.shape[2]
    assert isinstance(nr, int)
    pairs = len(packed.shape) == 4
    if pairs and exact_div(row_stride(view, k), 2) is None:
        view = ctx.copy(view)
    stride = row_stride(view, k)
    widen = t.dtype != acc and not pairs
    scratch = linear_scratch(k // 2 if pairs else k, nr, acc, widen=widen)
    if pairs and ctx.amx:
        scratch = max(scratch, AMX_SCRATCH)
    rank = len(view.shape)
    shape = (*view.shape[:-1], n)

    touching = prefetch_pays(node)

    def build(store: Closure) -> KernelCall:
        closures = [store, touch_of(store)] if touching else [store]
        return KernelCall(
            "maccel.linear",
            "linear_pairs" if pairs else "linear",
            (("N", n), ("K", k), ("NR", nr), *((("widen", True),) if widen else ())),
            (
                Arg("size", rows),
                Arg("ptr", view),
                Arg("size", stride),
                Arg("ptr", packed),
                *(Arg("closure", c) for c in closures),
            ),
            scratch=scratch,
            flops=rows * (2 * n * k),
            question=question,
        )

    return ctx.pending(
        node,
        build,
        coords=(range(rank - 1), (rank - 1,)),
        dtype=acc,
        work=rows * (n * k) // 16,
        vector_coord=1,
        shape=shape,
    )


def weight_panels(
    ctx: KernelContext, w: str, rows: Size, dtype: DType, *, transposed: bool
) -> tuple[str, View]:
    """Return the question of a product's tile, and its weight as `[panels, K, NR]`.

    Where the target multiplies pairs, bfloat16 weights are `[panels, K / 2, NR, 2]`.
    """
    acc = accumulate_dtype(dtype)
    n, k = ctx.type(w).shape if transposed else reversed(ctx.type(w).shape)
    assert isinstance(n, int) and isinstance(k, int)
    question = f"linear {dtype.name} n={n} k={k} rows={rows}"
    few = isinstance(rows, int) and rows <= FEW_ROWS
    widths = panel_widths(n, ctx.lanes(acc), ctx.simd_bytes, few_rows=few)
    pairs = makes_pairs(ctx, dtype, k) and ctx.type(w).dtype == dtype
    if pairs and ctx.amx and fits_tiles(k // 2):
        widths = [AMX_PANEL]
    nr = ctx.tiles.choose(question, widths)
    order = "nk" if transposed else "kn"
    count = -(-n // nr)
    if pairs:
        return question, ctx.weight(w, f"pairs_{order}", {"nr": nr}, (count, k // 2, nr, 2))
    return question, ctx.weight(w, f"panels_{order}", {"nr": nr}, (count, k, nr))


def makes_pairs(ctx: KernelContext, dtype: DType, depth: int) -> bool:
    """Whether a product of weights over `depth` steps takes them in pairs (``maccel.pairs``)."""
    return ctx.dot_pairs and dtype == BF16 and depth % 2 == 0


def tied_panels(ctx: KernelContext, table: str) -> View | None:
    """Return the panels that linear layers make of a table that only they and embeddings read.

    A language model's output layer often shares the embedding's table; it then lies in the
    artifact once. Looking a row up in panels takes strided reads: 0.6 % of GPT-2's prefill.
    """
    users = ctx.graph.users().get(table, [])
    products = [n for n in users if n.op == "linear" and n.inputs[1] == table]
    alone = all(n in products or n.op == "embedding" for n in users)
    if not products or not alone or not ctx.is_weight(table):
        return None
    x = ctx.type(products[0].inputs[0])
    if x.dtype != ctx.type(table).dtype or not x.dtype.is_float:
        return None
    return weight_panels(ctx, table, size_prod(x.shape[:-1]), x.dtype, transposed=True)[1]


def linear_scratch(k: int, nr: int, acc: DType, *, widen: bool) -> int:
    """Return the scratch bytes per thread of ``maccel.linear.linear`` (its `linear_scratch`)."""
    blocks = -(-k // LINEAR_DEPTH)
    depth = k
    if blocks > 1:
        depth = -(-k // (blocks * LINEAR_CHUNK)) * LINEAR_CHUNK
    elements = 0 if blocks <= 1 else LINEAR_ROWS * LINEAR_PANELS * nr
    if widen:
        elements += depth * (nr + LINEAR_ROWS)
    return elements * acc.size


FEW_ROWS = 2
"""Rows up to which a product only streams its weights."""

LINEAR_DEPTH, LINEAR_ROWS, LINEAR_PANELS, LINEAR_CHUNK = 1024, 128, 8, 128
"""Blocks of ``maccel.linear``: DEPTH, BLOCK_ROWS, BLOCK_PANELS, and CHUNK of ``maccel.gemm``."""


def rows_of(view: View) -> bool:
    """Whether a view is rows at one common distance, each row dense."""
    if not view.shape:
        return False
    if view.strides[-1] != 1 and view.shape[-1] != 1:
        return False
    outer = [(n, s) for n, s in zip(view.shape[:-1], view.strides[:-1], strict=True) if n != 1]
    return all(a[1] == b[1] * b[0] for a, b in pairwise(outer))


def row_stride(view: View, default: Size) -> Size:
    """Return the distance between the rows of a view that `rows_of` accepts."""
    outer = [s for n, s in zip(view.shape[:-1], view.strides[:-1], strict=True) if n != 1]
    return outer[-1] if outer else default


def _linear_dynamic(
    ctx: KernelContext, node: Node, x: str | None, w: str | None, transposed: bool
) -> Lazy:
    weight = ctx.view(w)
    if transposed:
        weight = replace(
            weight,
            shape=(weight.shape[1], weight.shape[0]),
            strides=(weight.strides[1], weight.strides[0]),
        )
    view = ctx.view(x, accept=rows_of)
    k = view.shape[-1]
    rows = size_prod(view.shape[:-1])
    flat = replace(view, shape=(rows, k), strides=(row_stride(view, k), view.strides[-1]))
    rank = len(view.shape)
    domain = (*view.shape[:-1], weight.shape[-1])
    coords = ((), tuple(range(rank - 1)), (rank - 1,))
    return _matmul_call(ctx, node, flat, weight, domain, coords, view.dtype)


def batched(ctx: KernelContext, node: Node, a: str | None, b: str | None) -> Lazy:
    """Schedule a product of two run-time operands with broadcast batch dims."""
    t = node.output.type
    va, vb = ctx.view(a), ctx.view(b)
    vector_a, vector_b = len(va.shape) == 1, len(vb.shape) == 1
    if vector_a:
        va = replace(va, shape=(1, *va.shape), strides=(0, *va.strides))
    if vector_b:
        vb = replace(vb, shape=(*vb.shape, 1), strides=(*vb.strides, 0))
    batch = t.shape[: t.rank - 2 + vector_a + vector_b] if t.rank else ()
    va = broadcast_view(va, (*batch, *va.shape[-2:]))
    vb = broadcast_view(vb, (*batch, *vb.shape[-2:]))
    n_batch = len(batch)
    row = () if vector_a else (n_batch,)
    col = () if vector_b else (n_batch + (not vector_a),)
    return _matmul_call(ctx, node, va, vb, t.shape, (tuple(range(n_batch)), row, col), va.dtype)


def _matmul_call(
    ctx: KernelContext,
    node: Node,
    a: View,
    b: View,
    domain: tuple[Size, ...],
    coords: tuple[tuple[int, ...], ...],
    dtype: DType,
) -> Lazy:
    m, k = a.shape[-2:]
    n = b.shape[-1]
    batch, batch_strides = _flatten_batch(a, b)
    if len(batch) > BATCH_DIMS:  # too many to walk by strides: laid out densely, they are one
        a, b = ctx.copy(a), ctx.copy(b)
        batch, batch_strides = _flatten_batch(a, b)
    acc = accumulate_dtype(dtype) if dtype.is_float else compute_dtype(dtype)

    def build(store: Closure) -> KernelCall:
        sizes: list[Size] = [*batch, m, n, k]
        return KernelCall(
            "maccel.matmul",
            "matmul",
            (("acc", acc),),
            (
                *(Arg("size", s) for s in sizes),
                Arg("ptr", a),
                *(Arg("size", s) for s in (*batch_strides[0], a.strides[-2], a.strides[-1])),
                Arg("ptr", b),
                *(Arg("size", s) for s in (*batch_strides[1], b.strides[-2], b.strides[-1])),
                Arg("closure", store),
            ),
            scratch=matmul_scratch(ctx, acc),
            flops=size_prod([*batch, m, n, k]) * 2,
        )

    return ctx.pending(
        node,
        build,
        coords=coords,
        dtype=acc,
        work=size_prod([*batch, m, n, k]) // 8,
        vector_coord=2,
        shape=domain,
    )


def matmul_scratch(ctx: KernelContext, acc: DType) -> int:
    """Return the scratch bytes per thread of ``maccel.matmul`` (its `matmul_scratch`)."""
    tile = 6 if ctx.simd_bytes == 32 else 12
    return (1024 + 64 * tile) * 2 * ctx.lanes(acc) * acc.size


BATCH_DIMS = 3
"""Batch dims that ``maccel.matmul`` walks with strides of their own."""


def _flatten_batch(a: View, b: View) -> tuple[list[Size], tuple[list[Size], list[Size]]]:
    runs: list[tuple[Size, Size, Size]] = []
    for n, sa, sb in zip(a.shape[:-2], a.strides[:-2], b.strides[:-2], strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == sa * n and runs[-1][2] == sb * n:
            runs[-1] = (runs[-1][0] * n, sa, sb)
        else:
            runs.append((n, sa, sb))
    while len(runs) < BATCH_DIMS:
        runs.insert(0, (1, 0, 0))
    return [r[0] for r in runs], ([r[1] for r in runs], [r[2] for r in runs])


OPS = (
    OpDef("linear", ("aten.linear.default",), Kernel(lower_linear)),
    OpDef("mm", ("aten.mm.default",), Kernel(lower_mm)),
    OpDef("bmm", ("aten.bmm.default",), Kernel(lower_mm)),
    OpDef("matmul", ("aten.matmul.default",), Kernel(lower_mm)),
    OpDef("dot", ("aten.dot.default",), Kernel(lower_mm)),
    OpDef("vdot", ("aten.vdot.default",), Kernel(lower_mm)),
    OpDef("mv", ("aten.mv.default",), Kernel(lower_mm)),
)
