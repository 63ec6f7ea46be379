"""Products made of other products: sums, bilinear forms, integer products, mixtures of experts."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall
from mojoaccel.ir.types import TensorType
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype, batched, matmul_scratch
from mojoaccel.ops.registry import Decompose, Kernel, OpDef


def rewrite_addmv(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite beta * c + alpha * (a @ x); `addbmm` sums its products over the batch."""
    c, x, y = node.inputs[:3]
    assert c is not None and x is not None and y is not None
    t = node.output.type
    if node.op == "addbmm":
        outer, inner = b.types[x].shape, b.types[y].shape
        each = TensorType(t.dtype, (outer[0], outer[1], inner[2]))
        out = b.add("bmm", [x, y], each)
        out = b.add("sum", [out], TensorType(t.dtype, each.shape[1:]), dim=(0,), keepdim=False)
    else:
        out = b.add("mv", [x, y], TensorType(t.dtype, b.types[x].shape[:1]))
    return [add_scaled(b, out, c, t, node.attr("alpha", 1), node.attr("beta", 1))]


def add_scaled(
    b: GraphBuilder, product: str, c: str, t: TensorType, alpha: float, beta: float
) -> str:
    """Append beta * c + alpha * product; with beta = 0, c is not read (it may hold NaN)."""
    inner = b.types[product]
    if alpha != 1:
        product = b.add("mul", [product, None], inner, other=alpha)
    if beta == 0:
        return product
    if beta != 1:
        c = b.add("mul", [c, None], b.types[c], other=beta)
    return b.add("add", [product, c], t, alpha=1)


def rewrite_addmm_activation(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten._addmm_activation``: relu or exact gelu of an addmm."""
    t = node.output.type
    total = b.add("addmm", node.inputs, t, alpha=node.attr("alpha", 1), beta=node.attr("beta", 1))
    if node.attr("use_gelu", False):
        return [b.add("gelu", [total], t, approximate="none")]
    return [b.add("relu", [total], t)]


def rewrite_trilinear(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten._trilinear``: the sum over some axes of three tensors' products.

    As `torch.nn.functional.bilinear` calls it (rows, weight, rows) it is two matrix products; any
    other form multiplies and sums.
    """
    t = node.output.type
    parts: list[str] = []
    for name, key in zip(node.inputs, ("expand1", "expand2", "expand3"), strict=True):
        part = str(name)
        for axis in sorted(int(a) for a in node.attr(key)):
            shape = list(b.types[part].shape)
            shape.insert(axis, 1)
            wide = TensorType(b.types[part].dtype, tuple(shape))
            part = b.add("unsqueeze", [part], wide, dim=axis)
        parts.append(part)
    shapes = [b.types[p].shape for p in parts]
    axes = tuple(sorted(int(a) for a in node.attr("sumdim")))
    rank = len(shapes[0])
    single = (shapes[0][1:2], shapes[0][3:], shapes[1][:1], shapes[2][1:2], shapes[2][2:3])
    if axes == (2, 3) and rank == 4 and all(s == (1,) for s in single):
        x, w, y = shapes
        if (x[0], x[2], w[3]) == (y[0], w[2], y[3]):
            return [_bilinear(b, parts, t)]
    pair = parts[0]
    for other in parts[1:]:
        both = zip(b.types[pair].shape, b.types[other].shape, strict=True)
        product = TensorType(t.dtype, tuple(y if x == 1 else x for x, y in both))
        pair = b.add("mul", [pair, other], product)
    return [b.add("sum", [pair], t, dim=axes, keepdim=False) if axes else pair]


def _bilinear(b: GraphBuilder, parts: Sequence[str], t: TensorType) -> str:
    """Contract x [N, 1, I, 1], w [1, O, I, J] and y [N, 1, 1, J] over I and J."""
    x, w, y = parts
    rows, width = b.types[x].shape[0], b.types[x].shape[2]
    outputs, across = b.types[w].shape[1], b.types[w].shape[3]
    dtype = t.dtype

    def view(name: str, shape: tuple[Size, ...]) -> str:
        return b.add("view", [name], TensorType(dtype, shape), size=shape)

    # [O, I, J] -> [I, O * J], so that one product serves all outputs.
    flat = TensorType(dtype, (width, outputs, across))
    weight = b.add("permute", [view(w, (outputs, width, across))], flat, dims=(1, 0, 2))
    left = view(x, (rows, width))
    table = view(weight, (width, outputs * across))
    first = b.add("mm", [left, table], TensorType(dtype, (rows, outputs * across)))
    column = view(y, (rows, across, 1))
    second = b.add(
        "bmm",
        [view(first, (rows, outputs, across)), column],
        TensorType(dtype, (rows, outputs, 1)),
    )
    return view(second, t.shape)


def rewrite_int_mm(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``aten._int_mm``: int8 operands, int32 sums."""
    t = node.output.type
    wide = [
        b.add("to", [name], TensorType(t.dtype, b.types[name].shape), dtype=t.dtype.torch)
        for name in node.inputs
        if name is not None
    ]
    return [b.add("mm", wide, t)]


def lower_grouped(ctx: KernelContext, node: Node) -> None:
    """``aten._grouped_mm``, ``transformers::grouped_mm_fallback``: each expert's own rows.

    Forms: rows [S, K] in groups against [E, K, N], and a plain batch without offsets.
    """
    a, b, *rest = node.inputs
    offsets = rest[0] if rest else None
    bias = rest[1] if len(rest) > 1 else None
    if bias is not None:
        raise ctx.reject(node, "a grouped product with a bias")
    ta, tb = ctx.type(a), ctx.type(b)
    if offsets is None and ta.rank == 3 and tb.rank == 3:
        ctx.define(node, batched(ctx, node, a, b))
        return
    if offsets is None or ta.rank != 2 or tb.rank != 3:
        raise ctx.reject(
            node,
            f"a grouped product of ranks {ta.rank} and {tb.rank}",
            "pass rows [S, K], matrices [E, K, N] and the ends of the groups",
        )
    va, vb, ends = ctx.view(a), ctx.view(b), ctx.view(offsets)
    m, k = va.shape
    n = vb.shape[2]
    acc = accumulate_dtype(ta.dtype)
    work = size_prod([m, n, k])

    def build(store: Closure) -> KernelCall:
        return KernelCall(
            "maccel.grouped",
            "grouped_matmul",
            (("acc", acc),),
            (
                *(Arg("size", s) for s in (vb.shape[0], m, n, k)),
                Arg("ptr", va),
                *(Arg("size", s) for s in va.strides),
                Arg("ptr", vb),
                *(Arg("size", s) for s in vb.strides),
                Arg("ptr", ends),
                Arg("size", ends.strides[0]),
                Arg("closure", store),
            ),
            scratch=matmul_scratch(ctx, acc),
            flops=work * 2,
        )

    ctx.define(
        node,
        ctx.pending(node, build, coords=((0,), (1,)), dtype=acc, work=work // 8, vector_coord=1),
    )


OPS = (
    OpDef("addmv", ("aten.addmv.default",), Decompose(rewrite_addmv)),
    OpDef("addbmm", ("aten.addbmm.default",), Decompose(rewrite_addmv)),
    OpDef(
        "_addmm_activation",
        ("aten._addmm_activation.default",),
        Decompose(rewrite_addmm_activation),
    ),
    OpDef("_trilinear", ("aten._trilinear.default",), Decompose(rewrite_trilinear)),
    OpDef("_int_mm", ("aten._int_mm.default",), Decompose(rewrite_int_mm)),
    OpDef(
        "_grouped_mm",
        ("aten._grouped_mm.default", "transformers.grouped_mm_fallback.default"),
        Kernel(lower_grouped),
    ),
)
