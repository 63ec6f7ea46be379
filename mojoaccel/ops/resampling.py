"""Resampling of channels-last images."""

from __future__ import annotations

from mojoaccel.ir.dims import size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, Param
from mojoaccel.ops.images import channels_last, channels_last_order, image, output_hw
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype
from mojoaccel.ops.registry import Kernel, OpDef


def scales(node: Node) -> tuple[float, float]:
    """Return the scale factors the user gave as (vertical, horizontal), 0 where a size was."""
    factors = node.attr("scale_factors")
    if factors is None:
        names = ("scales_h", "scales_w") if node.attr("scales_h") else ("scales_h", "scales")
        factors = tuple(node.attr(n) or 0.0 for n in names)
    factors = tuple(float(f) for f in factors)
    return (0.0, factors[0]) if len(factors) == 1 else (factors[0], factors[1])


def lower_upsample(ctx: KernelContext, node: Node) -> None:
    """``aten.upsample_*``: nearest, bilinear and bicubic, 1-d as height 1."""
    name = node.inputs[0]
    t = ctx.type(name)
    channels = t.shape[1]
    if not isinstance(channels, int) or t.rank not in (3, 4):
        raise ctx.reject(node, "resampling needs one or two spatial dims and static channels")
    view = ctx.view(name, accept=channels_last, order=channels_last_order(t.rank))
    dtype = accumulate_dtype(t.dtype)
    vertical, horizontal = scales(node)
    function, params = kernel_of(node)
    numel = size_prod(node.output.type.shape)

    def build(store: Closure) -> KernelCall:
        return KernelCall(
            "maccel.resize",
            function,
            (("acc", dtype), ("channels", channels), *params),
            (
                image(view),
                *output_hw(node),
                Arg("float", vertical),
                Arg("float", horizontal),
                Arg("closure", store),
            ),
            flops=numel * 8,
        )

    ctx.define(
        node,
        ctx.pending(
            node,
            build,
            coords=((0,), tuple(range(2, t.rank)), (1,)),
            dtype=dtype,
            work=numel,
            order=channels_last_order(t.rank),
            vector_coord=2,
        ),
    )


def kernel_of(node: Node) -> tuple[str, tuple[tuple[str, Param], ...]]:
    """Return the kernel and its mode parameters."""
    if "nearest" in node.op:
        return "upsample_nearest2d", (("exact", "exact" in node.op),)
    corners = ("align_corners", bool(node.attr("align_corners", False)))
    cubic = "bicubic" in node.op
    return "upsample_bicubic2d" if cubic else "upsample_bilinear2d", (corners,)


NAMES = (
    "upsample_nearest2d",
    "upsample_nearest1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact1d",
    "upsample_bilinear2d",
    "upsample_linear1d",
    "upsample_bicubic2d",
)

OPS = tuple(OpDef(n, (f"aten.{n}.vec", f"aten.{n}.default"), Kernel(lower_upsample)) for n in NAMES)
