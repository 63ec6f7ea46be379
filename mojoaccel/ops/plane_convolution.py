"""Forward convolutions over one or two axes: which kernel computes which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mojoaccel.artifact.packing import AMX_PANEL, fits_tiles
from mojoaccel.artifact.packing_conv import (
    conv_panels,
    conv_scratch_bytes,
    conv_tile_rows,
    conv_tiles_scratch,
)
from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Param, View
from mojoaccel.ir.types import BF16, F32, DType
from mojoaccel.ops.images import (
    channels_last,
    channels_last_order,
    even_strides,
    image,
    image_kernel,
    with_height,
)
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype, makes_pairs
from mojoaccel.ops.winograd import winograd_pays, winograd_scratch_bytes

LONGEST_SUM = 768
"""Longest window that `conv2d_odd_pairs` adds up in registers."""

Settings = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Stride, padding and dilation of each spatial axis."""


@dataclass(frozen=True)
class Convolution:
    """A convolution of channels-last images.

    Attributes:
        node: Its node.
        view: The images.
        weight: Name of the weight.
        sizes: Channels of the input and of the output.
        per_group: Channels of the input in a group.
        groups: Number of groups.
        kernel: Height and width of the kernel.
        stride: Vertical and horizontal.
        padding: Above and at the left.
        dilation: Vertical and horizontal.
    """

    node: Node
    view: View
    weight: str
    sizes: tuple[int, int]
    per_group: int
    groups: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def acc(self) -> DType:
        """Type of sums."""
        return accumulate_dtype(self.view.dtype)

    @property
    def window(self) -> tuple[tuple[str, Param], ...]:
        """Parameters of the kernels that say what an output pixel reads."""
        named = (
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("pad", self.padding),
            ("dilation", self.dilation),
        )
        return tuple((f"{n}_{a}", v) for n, hw in named for a, v in zip("hw", hw, strict=True))

    @property
    def channels(self) -> tuple[tuple[str, Param], ...]:
        """Parameters of the kernels for the channels."""
        return (("in_channels", self.sizes[0]), ("out_channels", self.sizes[1]))

    @property
    def macs(self) -> Size:
        """Multiply-adds of the direct sum."""
        return size_prod([*self.node.output.type.shape, self.per_group * math.prod(self.kernel)])

    @property
    def question(self) -> str:
        """What the best tile depends on."""
        shape = "x".join(str(n) for n in self.view.shape)
        form = ",".join(str(v) for _, v in self.window)
        name = self.view.dtype.name
        return f"conv {name} {shape} out={self.sizes[1]} groups={self.groups} form={form}"


def convolve(
    ctx: KernelContext, node: Node, x: str | None, w: str, settings: Settings, groups: int
) -> Lazy:
    """Schedule a convolution; the result is channels-last."""
    out_channels, per_group, *taps = (int(str(n)) for n in ctx.type(w).shape)
    stride, padding, dilation = settings
    conv = Convolution(
        node,
        ctx.view(x, accept=channels_last, order=channels_last_order(ctx.type(x).rank)),
        w,
        (per_group * groups, out_channels),
        per_group,
        groups,
        kernel=with_height(taps, 1),
        stride=with_height(stride, 1),
        padding=with_height(padding, 0),
        dilation=with_height(dilation, 1),
    )
    if per_group == 1 and groups > 1:
        return convolve_depthwise(ctx, conv)
    if suits_grouped(conv, ctx.lanes(conv.acc)):
        return convolve_grouped(ctx, conv)
    pairs = makes_pairs(ctx, conv.view.dtype, per_group) and even_strides(conv.view)
    depth = math.prod(conv.kernel) * per_group // (2 if pairs else 1)
    amx = pairs and ctx.amx and groups == 1 and fits_tiles(depth)
    if not amx and suits_gathered(ctx, conv, pairs):
        return convolve_gathered(ctx, conv)
    return convolve_dense(ctx, conv, depth, pairs=pairs, amx=amx)


def convolve_depthwise(ctx: KernelContext, conv: Convolution) -> Lazy:
    """Convolve every channel on its own."""
    lanes = ctx.lanes(conv.acc)
    in_channels, out_channels = conv.sizes
    shape = (-(-out_channels // lanes), math.prod(conv.kernel), lanes)
    packed = ctx.weight(conv.weight, "depthwise", {"lanes": lanes}, shape)
    multiplier = out_channels // conv.groups
    return image_kernel(
        ctx,
        conv.node,
        "maccel.depthwise",
        "depthwise_conv2d",
        (("in_channels", in_channels), ("multiplier", multiplier), *conv.window),
        (image(conv.view), Arg("ptr", packed)),
        dtype=conv.acc,
        scratch=0,
        macs=conv.macs * 2,
    )


def suits_grouped(conv: Convolution, lanes: int) -> bool:
    """Whether groups are of few channels: measured 2 to 8 times faster than the dense kernel."""
    in_channels, out_channels = conv.sizes
    return (
        out_channels == in_channels
        and conv.per_group in (2, 4, 8, 16)
        and out_channels % lanes == 0
        and (lanes % conv.per_group == 0 or conv.per_group % lanes == 0)
    )


def convolve_grouped(ctx: KernelContext, conv: Convolution) -> Lazy:
    """Convolve groups of few channels."""
    lanes = ctx.lanes(conv.acc)
    channels = conv.sizes[1]
    kh, kw = conv.kernel
    shape = (channels // lanes, kh, conv.per_group, kw, lanes)
    packed = ctx.weight(conv.weight, "grouped", {"lanes": lanes}, shape)
    return image_kernel(
        ctx,
        conv.node,
        "maccel.depthwise",
        "grouped_conv2d",
        (("channels", channels), ("group", conv.per_group), *conv.window),
        (image(conv.view), Arg("ptr", packed)),
        dtype=conv.acc,
        scratch=0,
        macs=conv.macs,
    )


def suits_gathered(ctx: KernelContext, conv: Convolution, pairs: bool) -> bool:
    """Whether to multiply windows of bfloat16 whose elements pair up though channels do not.

    Args:
        ctx: The context.
        conv: The convolution.
        pairs: Whether its channels pair up; only AMX gathers those too.
    """
    most = math.inf if ctx.amx else LONGEST_SUM if ctx.dot_pairs and not pairs else 0
    narrow = conv.view.dtype == ctx.type(conv.weight).dtype == BF16
    return conv.groups == 1 and narrow and 16 <= math.prod(conv.kernel) * conv.per_group <= most


def convolve_gathered(ctx: KernelContext, conv: Convolution) -> Lazy:
    """Convolve what neither pairs up nor fills AMX tiles: windows filled up with zeros."""
    out_channels = conv.sizes[1]
    lanes = ctx.lanes(F32)
    step, panel = (32, AMX_PANEL) if ctx.amx else (2, conv_panels(out_channels, lanes)[0])
    depth = -(-math.prod(conv.kernel) * conv.per_group // step) * step
    shape = (1, -(-out_channels // panel), depth // 2, panel)
    settings = {"depth": depth, "panel": panel}
    packed = ctx.weight(conv.weight, "conv_gathered", settings, (*shape, 2))
    params = (*conv.channels, *conv.window)
    if ctx.amx:
        module, function = "maccel.conv_tiles", "conv2d_gathered"
        scratch = conv_tiles_scratch(depth // 2)
    else:
        module, function = "maccel.conv_pairs", "conv2d_odd_pairs"
        params = (*params, ("panel", panel))
        scratch = conv_scratch_bytes(shape, lanes=lanes, registers=32, one_tile=True)
    return image_kernel(
        ctx,
        conv.node,
        module,
        function,
        params,
        (image(conv.view), Arg("ptr", packed)),
        dtype=F32,
        scratch=scratch,
        macs=conv.macs,
    )


def convolve_dense(
    ctx: KernelContext, conv: Convolution, depth: int, *, pairs: bool, amx: bool
) -> Lazy:
    """Convolve by register tiles, directly or by Winograd's filtering.

    Args:
        ctx: The context.
        conv: The convolution.
        depth: Length of a sum.
        pairs: Channels are multiplied two at a time.
        amx: By AMX tiles.
    """
    acc, groups = conv.acc, conv.groups
    lanes = ctx.lanes(acc)
    in_channels, out_channels = conv.sizes
    widths = [AMX_PANEL] if amx else conv_panels(out_channels // groups, lanes)
    panel = ctx.tiles.choose(conv.question, widths)
    shape = (groups, -(-(out_channels // groups) // panel), depth, panel)
    packed = ctx.weight(
        conv.weight,
        "conv_pairs" if pairs else "conv",
        {"groups": groups, "panel": panel},
        (*shape, *((2,) if pairs else ())),
    )
    registers = 16 if ctx.simd_bytes == 32 else 32
    winograd = uses_winograd(conv, (conv_tile_rows(panel, lanes, registers) + 1) // 2)
    params: tuple[tuple[str, Param], ...]
    if winograd:
        module, function = "maccel.winograd", "conv2d_winograd"
        pads = (("pad_h", conv.padding[0]), ("pad_w", conv.padding[1]))
        params = (*conv.channels, *pads, ("panel", panel))
        scratch = winograd_scratch_bytes(in_channels, panel, lanes, registers, acc.size)
    else:
        module, function = (
            ("maccel.conv_pairs", "conv2d_pairs") if pairs else ("maccel.conv", "conv2d")
        )
        params = (*conv.channels, *conv.window, ("groups", groups), ("panel", panel))
        scratch = conv_scratch_bytes(
            shape,
            lanes=lanes,
            registers=registers,
            itemsize=acc.size,
            weight_itemsize=4 if pairs else conv.view.dtype.size,
        )
    if amx:
        scratch = conv_tiles_scratch(depth)
    return image_kernel(
        ctx,
        conv.node,
        module,
        function,
        params,
        (image(conv.view), Arg("ptr", packed)),
        dtype=acc,
        scratch=scratch,
        macs=conv.macs,
        question=conv.question,
        ahead=not winograd,
    )


def uses_winograd(conv: Convolution, half_rows: int) -> bool:
    """Whether Winograd's filtering computes it; `half_rows` is half of a register tile."""
    form = (conv.kernel, conv.stride, conv.dilation)
    whole = conv.groups == 1 and conv.view.dtype == conv.acc
    return whole and winograd_pays(conv.node.output.type.shape, conv.sizes, form, half_rows)
