"""Softmax and the norms: kernels over rows, operands read and results written through closures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mojoaccel.ir.dims import Size, size_max, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, Param, View
from mojoaccel.ir.types import F32, F64, DType, TensorType
from mojoaccel.ops.images import channels_last, channels_last_order
from mojoaccel.ops.lazy import Held, Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype
from mojoaccel.ops.pointwise_nest import storage_order
from mojoaccel.ops.registry import Decompose, Kernel, OpDef, PointwiseContext


def affine(
    ctx: KernelContext, lazy: Lazy, node: Node, weight: Held | None, bias: Held | None
) -> Lazy:
    """Multiply by `weight` and add `bias` in the epilogue; either may be absent."""

    def build(p: PointwiseContext) -> str:
        value = p.operand(0)
        if p.operands[1] is not None:
            value = p.call("mul", value, p.operand(1))
        if p.operands[2] is not None:
            value = p.call("add", value, p.operand(2))
        return value

    if weight is None and bias is None:
        return lazy
    return ctx.add_epilogue(lazy, node, [weight, bias], build)


def optional(ctx: KernelContext, node: Node, position: int) -> Held | None:
    """Return operand `position` if the node has it."""
    name = node.inputs[position] if position < len(node.inputs) else None
    return None if name is None else ctx.get(name)


def row_kernel(
    ctx: KernelContext,
    node: Node,
    module: str,
    function: str,
    *,
    row_axes: Sequence[int],
    col_axes: Sequence[int],
    extra: Sequence[Arg] = (),
    params: Sequence[tuple[str, Param]] = (),
    passes: int = 3,
    acc: DType | None = None,
) -> Lazy:
    """Schedule a kernel that maps each row of an operand to a row of the result."""
    name = node.inputs[0]
    t = ctx.type(name)
    acc = acc or accumulate_dtype(t.dtype)
    coords = (tuple(row_axes), tuple(col_axes))
    load = ctx.load_closure(name, coords, dtype=acc, passes=passes, vector_coord=1)
    rows = size_prod(t.shape[a] for a in row_axes)
    cols = size_prod(t.shape[a] for a in col_axes)

    def build(store: Closure) -> KernelCall:
        return KernelCall(
            module,
            function,
            (("W", ctx.lanes(acc)), ("acc", acc), *params),
            (
                Arg("size", rows),
                Arg("size", cols),
                *extra,
                Arg("closure", load),
                Arg("closure", store),
            ),
            scratch=row_scratch(ctx, rows, cols, acc),
            flops=rows * cols * 8,
        )

    order = (*row_axes, *col_axes)
    return ctx.pending(
        node, build, coords=coords, dtype=acc, work=rows * cols * 2, vector_coord=1, order=order
    )


def row_scratch(ctx: KernelContext, rows: Size, cols: Size, acc: DType) -> Size:
    """Return the scratch bytes per thread of a row kernel.

    It holds a buffered row, or the partial results of rows that all threads share; only fewer rows
    than threads are shared, so 64 bounds them.
    """
    few = rows if isinstance(rows, int) and rows < 64 else 64
    slots = (cols + 256 * ctx.lanes(acc) - 1) // (256 * ctx.lanes(acc))
    return size_max(cols, slots * (3 * few)) * acc.size


def lower_softmax(ctx: KernelContext, node: Node) -> None:
    """``aten.softmax``, ``aten.log_softmax`` along one axis."""
    t = ctx.type(node.inputs[0])
    axis = int(node.attr("dim")) % max(t.rank, 1)
    params = (("logarithm", node.op == "log_softmax"),)
    acc = accumulate_dtype(node.output.type.dtype)  # `dtype` converts before the computation
    if t.rank == 0 or axis == t.rank - 1:
        rows, cols = tuple(range(t.rank - 1)), tuple(range(t.rank))[-1:]
        lazy = row_kernel(
            ctx,
            node,
            "maccel.softmax",
            "softmax",
            row_axes=rows,
            col_axes=cols,
            params=params,
            acc=acc,
        )
        ctx.define(node, lazy)
        return
    groups = (tuple(range(axis)), (axis,), tuple(range(axis + 1, t.rank)))
    ctx.define(
        node, nest_kernel(ctx, node, "maccel.softmax", "softmax_columns", groups, params, acc=acc)
    )


def nest_kernel(
    ctx: KernelContext,
    node: Node,
    module: str,
    function: str,
    groups: Sequence[Sequence[int]],
    params: Sequence[tuple[str, Param]] = (),
    *,
    extra: Sequence[Arg] = (),
    scratch: Size = 0,
    order: Sequence[int] | None = None,
    acc: DType | None = None,
) -> Lazy:
    """Schedule a kernel over three nested groups of axes, the last one consecutive."""
    name = node.inputs[0]
    t = ctx.type(name)
    acc = acc or accumulate_dtype(t.dtype)
    load = ctx.load_closure(name, groups, dtype=acc, passes=3, vector_coord=2)
    sizes = [size_prod(t.shape[a] for a in axes) for axes in groups]

    def build(store: Closure) -> KernelCall:
        return KernelCall(
            module,
            function,
            (("W", ctx.lanes(acc)), ("acc", acc), *params),
            (
                *(Arg("size", n) for n in sizes),
                *extra,
                Arg("closure", load),
                Arg("closure", store),
            ),
            scratch=scratch,
            flops=t.numel * 8,
        )

    return ctx.pending(
        node, build, coords=groups, dtype=acc, work=t.numel * 2, vector_coord=2, order=order
    )


def lower_layer_norm(ctx: KernelContext, node: Node) -> None:
    """``aten.layer_norm``: (x - mean) / sqrt(var + eps) * weight + bias over the last axes."""
    t = ctx.type(node.inputs[0])
    count = len(node.attr("normalized_shape"))
    split = t.rank - count
    eps = Arg("float", float(node.attr("eps", 1e-5)))
    lazy = row_kernel(
        ctx,
        node,
        "maccel.norm",
        "layer_norm",
        row_axes=tuple(range(split)),
        col_axes=tuple(range(split, t.rank)),
        extra=(eps,),
    )
    ctx.define(node, affine(ctx, lazy, node, optional(ctx, node, 1), optional(ctx, node, 2)))


def lower_rms_norm(ctx: KernelContext, node: Node) -> None:
    """``aten.rms_norm``: x / sqrt(mean(x^2) + eps) * weight over the last axes."""
    t = ctx.type(node.inputs[0])
    count = len(node.attr("normalized_shape"))
    split = t.rank - count
    eps = node.attr("eps")
    default = {F64.name: 2.220446049250313e-16}.get(t.dtype.name, 1.1920928955078125e-07)
    lazy = row_kernel(
        ctx,
        node,
        "maccel.norm",
        "rms_norm",
        row_axes=tuple(range(split)),
        col_axes=tuple(range(split, t.rank)),
        extra=(Arg("float", float(default if eps is None else eps)),),
    )
    ctx.define(node, affine(ctx, lazy, node, optional(ctx, node, 1), None))


def per_channel(view: View, rank: int) -> View:
    """View a vector of C numbers as broadcast along every axis but 1."""
    return replace(
        view,
        shape=(view.shape[0], *(1,) * (rank - 2)),
        strides=(view.strides[0], *(0,) * (rank - 2)),
    )


def lower_group_norm(ctx: KernelContext, node: Node) -> None:
    """``aten.group_norm``: normalizes each of `num_groups` groups of channels of each image.

    A channels-last operand stays channels-last; any other is read in row-major order.
    """
    name = node.inputs[0]
    t = ctx.type(name)
    groups = Arg("size", int(node.attr("num_groups")))
    eps = Arg("float", float(node.attr("eps", 1e-5)))
    batch, channels = t.shape[:2]
    space = tuple(range(2, t.rank))
    positions = size_prod(t.shape[2:])
    size = accumulate_dtype(t.dtype).size
    if is_channels_last(ctx, str(name)):
        axes = ((0,), space, (1,))
        scratch = (channels * 2 + batch * (192 * int(node.attr("num_groups")))) * size
        lazy = nest_kernel(
            ctx,
            node,
            "maccel.group_norm",
            "group_norm_channels_last",
            axes,
            extra=(groups, eps),
            scratch=scratch,
            order=channels_last_order(t.rank),
        )
    else:
        scratch = batch * channels * ((positions + 16383) // 16384) * (3 * size)
        lazy = nest_kernel(
            ctx,
            node,
            "maccel.group_norm",
            "group_norm",
            ((0,), (1,), space),
            extra=(groups, eps),
            scratch=scratch,
        )
    parts = [optional(ctx, node, 1), optional(ctx, node, 2)]
    shaped = [None if p is None else per_channel(ctx.realize_held(p), t.rank) for p in parts]
    ctx.define(node, affine(ctx, lazy, node, shaped[0], shaped[1]))


def is_channels_last(ctx: KernelContext, name: str) -> bool:
    """Whether a value lies (or would be stored) with channels innermost."""
    held = ctx.get(name)
    if isinstance(held, Lazy):
        order = held.kernel.order if held.kernel is not None else storage_order(held)
        return len(held.shape) > 2 and list(order)[-1] == 1
    return len(held.shape) > 2 and channels_last(held) and held.shape[1] != 1


def rewrite_batch_norm(b: GraphBuilder, node: Node) -> list[str]:
    """Rewrite inference batch norm as x * scale + shift.

    scale and shift depend on weights alone, so they are folded; they are computed in float64
    because PyTorch's own order of operations is not otherwise matched after folding.
    """
    x, weight, bias, mean, var = node.inputs
    t = node.output.type
    assert x is not None and mean is not None and var is not None
    channels = b.types[mean].shape
    wide = TensorType(F64, channels)

    def widen(name: str) -> str:
        return b.add("to", [name], wide, dtype="float64")

    shifted = b.add("add", [widen(var), None], wide, other=float(node.attr("eps")), alpha=1)
    scale = b.add("rsqrt", [shifted], wide)
    if weight is not None:
        scale = b.add("mul", [scale, widen(weight)], wide)
    shift = b.add("neg", [b.add("mul", [widen(mean), scale], wide)], wide)
    if bias is not None:
        shift = b.add("add", [shift, widen(bias)], wide, alpha=1)
    shape = (channels[0], *(1,) * (t.rank - 2))
    vector = TensorType(t.dtype if t.dtype == F64 else F32, shape)

    def narrow(name: str) -> str:
        flat = b.add("to", [name], TensorType(vector.dtype, channels), dtype=vector.dtype.torch)
        return b.add("view", [flat], vector, size=shape)

    scaled = b.add("mul", [x, narrow(scale)], t)
    result = b.add("add", [scaled, narrow(shift)], t, alpha=1)
    # What the backward pass would need is empty.
    saved = [
        b.add("full", [], o.type, size=o.type.shape, fill_value=0, dtype=o.type.dtype.torch)
        for o in node.outputs[1:]
    ]
    return [result, *saved]


OPS = (
    OpDef("softmax", ("aten.softmax.int", "aten._softmax.default"), Kernel(lower_softmax)),
    OpDef(
        "log_softmax",
        ("aten.log_softmax.int", "aten._log_softmax.default"),
        Kernel(lower_softmax),
    ),
    OpDef("layer_norm", ("aten.layer_norm.default",), Kernel(lower_layer_norm)),
    OpDef("rms_norm", ("aten.rms_norm.default",), Kernel(lower_rms_norm)),
    OpDef("group_norm", ("aten.group_norm.default",), Kernel(lower_group_norm)),
    OpDef(
        "batch_norm",
        (
            "aten._native_batch_norm_legit_no_training.default",
            "aten._batch_norm_no_update.default",
        ),
        Decompose(rewrite_batch_norm),
    ),
)
