"""Convolutions over channels-last images; kernels of one dimension run with height 1."""

from __future__ import annotations

from dataclasses import replace

from mojoaccel.artifact.packing_conv import conv_panels, conv_scratch_bytes
from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, Param, View
from mojoaccel.ir.types import DType
from mojoaccel.ops.images import (
    channels_last,
    channels_last_order,
    image,
    image_kernel,
    pair,
    same_padding,
    with_height,
)
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype
from mojoaccel.ops.plane_convolution import Settings, convolve
from mojoaccel.ops.registry import Kernel, OpDef, PointwiseContext


def lower_convolution(ctx: KernelContext, node: Node) -> None:
    """``aten.conv1d``, ``aten.conv2d``, ``aten.convolution``: dense, grouped or depthwise."""
    x, w, *rest = node.inputs
    weight = ctx.type(w)
    spatial = weight.rank - 2
    kernel = tuple(int(str(k)) for k in weight.shape[2:])
    stride = pair(node.attr("stride", 1), spatial)
    dilation = pair(node.attr("dilation", 1), spatial)
    padding = node.attr("padding", 0)
    if padding == "same":
        pads = same_padding(kernel, dilation)
    else:
        pads = (0,) * spatial if padding == "valid" else pair(padding, spatial)
    assert w is not None
    if not ctx.is_weight(w):
        raise ctx.reject(node, "convolution with a weight computed at run time")
    if ctx.type(x).rank != weight.rank:
        raise ctx.reject(node, "an input without a batch")
    groups = int(node.attr("groups", 1))
    settings = (stride, pads, dilation)
    if node.attr("transposed", False):
        if spatial == 3:
            raise ctx.reject(node, "a transposed convolution of volumes")
        product = convolve_transposed(ctx, node, x, w, settings, groups)
    elif spatial == 3:
        product = convolve_volume(ctx, node, x, w, settings, groups)
    else:
        product = convolve(ctx, node, x, w, settings, groups)
    if rest and rest[0] is not None:
        product = add_channel_bias(ctx, product, node, rest[0])
    ctx.define(node, product)


def add_channel_bias(ctx: KernelContext, lazy: Lazy, node: Node, bias: str) -> Lazy:
    """Add one number per channel (axis 1) in the epilogue."""
    view = ctx.view(bias)
    spatial = len(lazy.shape) - 2
    shaped = replace(
        view, shape=(view.shape[0], *(1,) * spatial), strides=(view.strides[0], *(0,) * spatial)
    )

    def total(p: PointwiseContext) -> str:
        return p.call("add", p.operand(0), p.operand(1))

    return ctx.add_epilogue(lazy, node, [shaped], total)


def packed_panels(
    ctx: KernelContext,
    w: str,
    layout: str,
    per_group: tuple[int, int, int],
    groups: int,
    acc: DType,
) -> tuple[View, int, int]:
    """Pack a weight in panels; return it, the panel's width and the scratch bytes of one tile.

    Args:
        ctx: The context.
        w: The weight.
        layout: Name of the packing.
        per_group: Input channels and output channels of a group, and taps of the kernel.
        groups: Number of groups.
        acc: Type of sums.
    """
    inputs, outputs, taps = per_group
    lanes = ctx.lanes(acc)
    panel = conv_panels(outputs, lanes)[0]
    shape = (groups, -(-outputs // panel), taps * inputs, panel)
    packed = ctx.weight(w, layout, {"groups": groups, "panel": panel}, shape)
    scratch = conv_scratch_bytes(
        shape,
        lanes=lanes,
        registers=16 if ctx.simd_bytes == 32 else 32,
        itemsize=acc.size,
        weight_itemsize=ctx.type(w).dtype.size,
        one_tile=True,
    )
    return packed, panel, scratch


def convolve_transposed(
    ctx: KernelContext, node: Node, x: str | None, w: str, settings: Settings, groups: int
) -> Lazy:
    """Schedule a transposed convolution of one or two axes."""
    rank = ctx.type(x).rank
    view = ctx.view(x, accept=channels_last, order=channels_last_order(rank))
    acc = accumulate_dtype(view.dtype)
    in_channels, outputs, *taps = (int(str(n)) for n in ctx.type(w).shape)
    kernel = with_height(taps, 1)
    per_group = (in_channels // groups, outputs, kernel[0] * kernel[1])
    packed, panel, scratch = packed_panels(ctx, w, "conv_transpose", per_group, groups, acc)
    fills = (("stride", settings[0], 1), ("pad", settings[1], 0), ("dilation", settings[2], 1))
    named = [("kernel", kernel), *((n, with_height(v, fill)) for n, v, fill in fills)]
    params: tuple[tuple[str, Param], ...] = (
        ("in_channels", in_channels),
        ("out_channels", outputs * groups),
        *((f"{n}_{a}", v) for n, hw in named for a, v in zip("hw", hw, strict=True)),
        ("groups", groups),
        ("panel", panel),
    )
    return image_kernel(
        ctx,
        node,
        "maccel.conv_transpose",
        "conv_transpose2d",
        params,
        (image(view), Arg("ptr", packed)),
        dtype=acc,
        scratch=scratch,
        macs=size_prod([*ctx.type(x).shape, outputs * kernel[0] * kernel[1]]),
    )


def volume(view: View) -> Arg:
    """Return the ``VolumeView`` of a channels-last [N, C, D, H, W] window."""
    (n, _, d, h, w), (sn, _, sd, sh, sw) = view.shape, view.strides
    sizes: list[Size] = [n, h, w, sd, sh, sw]
    fields = (Arg("ptr", view), *(Arg("size", s) for s in sizes))
    planes = Arg("struct", ("maccel.image", "ImageView", fields))
    parts = (planes, Arg("size", d), Arg("size", sn))
    return Arg("struct", ("maccel.conv3d", "VolumeView", parts))


def convolve_volume(
    ctx: KernelContext, node: Node, x: str | None, w: str, settings: Settings, groups: int
) -> Lazy:
    """Schedule a convolution of three axes."""
    view = ctx.view(x, accept=channels_last, order=channels_last_order(5))
    acc = accumulate_dtype(view.dtype)
    out_channels, inputs, *kernel = (int(str(n)) for n in ctx.type(w).shape)
    taps = kernel[0] * kernel[1] * kernel[2]
    per_group = (inputs, out_channels // groups, taps)
    packed, panel, scratch = packed_panels(ctx, w, "conv", per_group, groups, acc)
    named = zip(("kernel", "stride", "pad", "dilation"), (kernel, *settings), strict=True)
    params: tuple[tuple[str, Param], ...] = (
        ("in_channels", inputs * groups),
        ("out_channels", out_channels),
        *((f"{n}_{a}", v) for n, dhw in named for a, v in zip("dhw", dhw, strict=True)),
        ("groups", groups),
        ("panel", panel),
    )
    shape = node.output.type.shape
    macs = size_prod([*shape, inputs * taps])

    def build(store: Closure) -> KernelCall:
        sizes = (Arg("size", n) for n in shape[2:])
        args = (volume(view), Arg("ptr", packed), *sizes, Arg("closure", store))
        acc_params = (("acc", acc), *params)
        return KernelCall(
            "maccel.conv3d", "conv3d", acc_params, args, scratch=scratch, flops=macs * 2
        )

    return ctx.pending(
        node,
        build,
        coords=((0,), (2, 3, 4), (1,)),
        dtype=acc,
        work=macs // 16,
        order=channels_last_order(5),
        vector_coord=2,
    )


OPS = (
    OpDef(
        "conv2d",
        ("aten.conv2d.default", "aten.conv2d.padding"),
        Kernel(lower_convolution),
    ),
    OpDef(
        "conv1d",
        ("aten.conv1d.default", "aten.conv1d.padding"),
        Kernel(lower_convolution),
    ),
    OpDef("convolution", ("aten.convolution.default",), Kernel(lower_convolution)),
)
