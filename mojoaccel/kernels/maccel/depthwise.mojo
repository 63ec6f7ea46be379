"""Depthwise convolution of channels-last images, and convolution with narrow groups.

The reduction over a group's channels is too short to feed a matrix product, so the kernel
vectorises over output channels and keeps several output columns in registers: each input value is
loaded once per kernel row and multiplied into every output column it contributes to. A group of
several channels takes one such round per input channel, which a shuffle spreads over its group.
"""

from std.sys import simd_width_of

from maccel.depthwise_tile import depthwise_columns, depthwise_tile
from maccel.image import ImageView
from maccel.team import Team
from maccel.types import Ptr

comptime GROUP_VECTORS = 4
"""Channel vectors that are visited before moving on along the row: whole 256-byte stretches."""


@always_inline
def convolve_channels[
    dt: DType,
    acc: DType,
    wt: DType,
    in_channels: Int,
    multiplier: Int,
    group: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Runs this thread's share of a depthwise (`group` 1) or narrow grouped convolution.
    """
    comptime lanes = simd_width_of[acc]()
    comptime channels = in_channels * multiplier
    comptime stretch = GROUP_VECTORS * lanes
    comptime stretches = (channels + stretch - 1) // stretch
    comptime columns = depthwise_columns[kernel_w]()
    comptime span = (columns - 1) * stride_w + (kernel_w - 1) * dilation_w + 1

    @always_inline
    def tile[
        w: Int, inside: Bool
    ](n: Int, oh: Int, ow: Int, channel: Int) {imm}:
        depthwise_tile[
            dt,
            acc,
            wt,
            multiplier,
            group,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            pad_h,
            pad_w,
            dilation_h,
            dilation_w,
            w,
            inside,
            S,
        ](
            x,
            weights.unsafe_offset(
                channel // lanes * (kernel_h * group * kernel_w * lanes)
                + channel % lanes
            ),
            n,
            oh,
            ow,
            out_w,
            channel,
            store,
        )

    var mine = team.share(x.count * out_h * stretches)
    for item in range(mine.begin, mine.end):
        var row = item // stretches
        var n = row // out_h
        var oh = row % out_h
        var first = item % stretches * stretch
        var last = min(first + stretch, channels)
        for ow in range(0, out_w, columns):
            var iw0 = ow * stride_w - pad_w
            var inside = (
                iw0 >= 0 and iw0 + span <= x.width and ow + columns <= out_w
            )
            var channel = first
            if inside:
                while channel + lanes <= last:
                    tile[lanes, True](n, oh, ow, channel)
                    channel += lanes
            else:
                while channel + lanes <= last:
                    tile[lanes, False](n, oh, ow, channel)
                    channel += lanes
            # Only the last group has channels left over; 8, 4 and 1 at a time.
            comptime if channels % lanes != 0:
                comptime if lanes > 8 and channels % lanes >= 8:
                    if channel + 8 <= last:
                        tile[8, False](n, oh, ow, channel)
                        channel += 8
                comptime if lanes > 4 and channels % lanes % 8 >= 4:
                    if channel + 4 <= last:
                        tile[4, False](n, oh, ow, channel)
                        channel += 4
                while channel < last:
                    tile[1, False](n, oh, ow, channel)
                    channel += 1


@always_inline
def depthwise_conv2d[
    dt: DType,
    acc: DType,
    wt: DType,
    in_channels: Int,
    multiplier: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves each channel of channels-last images with `multiplier` filters of its own.

    `y[n, oh, ow, o] = sum over kh, kw of x[n, oh*stride - pad + kh*dilation, ..., o //
    multiplier] * w[o, 0, kh, kw]` (PyTorch `aten.convolution` with groups = input channels).
    Weights are packed as [ceil(OC/lanes)][KH*KW][lanes], zero padded. A multiplier above 1 is
    correct but gathers its inputs one by one. Rows in the vertical padding are skipped.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        in_channels: Channels of the input.
        multiplier: Output channels per input channel.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Rows of zeros above; those below follow from `out_h`.
        pad_w: Columns of zeros at the left; those at the right follow from `out_w`.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        weights: Packed weights.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """
    convolve_channels[
        dt,
        acc,
        wt,
        in_channels,
        multiplier,
        1,
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
        S,
    ](team, x, weights, out_h, out_w, store)


@always_inline
def grouped_conv2d[
    dt: DType,
    acc: DType,
    wt: DType,
    channels: Int,
    group: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves groups of few channels, as many out as in, of channels-last images.

    The same function as `conv2d` with `groups = channels / group`, faster while groups are no
    wider than 16 channels or so. Weights are packed as [OC/lanes][KH][group][KW][lanes]; channels
    must be whole vectors, and a group a divisor or a multiple of the SIMD width.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        channels: Channels of the input and of the output.
        group: Channels per group.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Rows of zeros above; those below follow from `out_h`.
        pad_w: Columns of zeros at the left; those at the right follow from `out_w`.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        weights: Packed weights.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """
    comptime lanes = simd_width_of[acc]()
    comptime assert channels % lanes == 0, "channels must be whole vectors"
    comptime assert group % lanes == 0 or lanes % group == 0, "group width"
    convolve_channels[
        dt,
        acc,
        wt,
        channels,
        1,
        group,
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
        S,
    ](team, x, weights, out_h, out_w, store)
