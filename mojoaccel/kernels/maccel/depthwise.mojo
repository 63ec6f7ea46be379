"""Depthwise convolution of channels-last images: every channel has its own filter.

There is no reduction over channels to feed a matrix product, so the kernel vectorises over
channels and keeps several output columns in registers: each input value is loaded once per kernel
row and multiplied into every output column it contributes to.
"""

from std.math import fma
from std.sys import CompilationTarget, simd_width_of

from maccel.image import ImageView
from maccel.team import Team
from maccel.types import Ptr

comptime GROUP_VECTORS = 4
"""Channel vectors that are visited before moving on along the row: whole 256-byte stretches."""


@always_inline
def depthwise_columns[kernel_w: Int]() -> Int:
    """Returns the output columns in a register tile: they, one row of the filter and one input
    must fit in the register file."""
    comptime if CompilationTarget.has_avx512f() or not CompilationTarget.is_x86():
        return 14 if kernel_w <= 7 else 7
    else:
        return 8 if kernel_w <= 5 else 5


@always_inline
def load_channels[
    dt: DType, acc: DType, multiplier: Int, w: Int
](pixel: Ptr[dt], channel: Int) -> SIMD[acc, w]:
    """Loads the inputs of output channels channel..channel+w-1."""
    comptime if multiplier == 1:
        return pixel.unsafe_load[width=w](channel).cast[acc]()
    else:
        var v = SIMD[acc, w](0)
        comptime for i in range(w):
            v[i] = pixel[unsafe_offset=(channel + i) // multiplier].cast[acc]()
        return v


@always_inline
def depthwise_tile[
    dt: DType,
    acc: DType,
    wt: DType,
    multiplier: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    w: Int,
    inside: Bool,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    x: ImageView[dt],
    filter: Ptr[wt],
    n: Int,
    oh: Int,
    ow: Int,
    out_w: Int,
    channel: Int,
    store: S,
):
    """Computes one tile of output columns for `w` channels.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        multiplier: Output channels per input channel.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Rows of zeros above.
        pad_w: Columns of zeros at the left.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        w: Channels.
        inside: The tile is whole and touches no horizontal padding.
        S: Epilogue.

    Args:
        x: Input.
        filter: Weights of the block of channels, a vector per tap.
        n: Image.
        oh: Output row.
        ow: First output column.
        out_w: Width of the output.
        channel: First output channel.
        store: Epilogue.
    """
    comptime lanes = simd_width_of[acc]()
    comptime V = SIMD[acc, w]
    comptime columns = depthwise_columns[kernel_w]()
    comptime span = (columns - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    var sums = Array[V, columns](fill=V(0))
    var ih0 = oh * stride_h - pad_h
    var iw0 = ow * stride_w - pad_w
    var image = x.data.unsafe_offset(n * x.sn)
    for kh in range(kernel_h):
        var ih = ih0 + kh * dilation_h
        if ih < 0 or ih >= x.height:
            continue
        var line = image.unsafe_offset(ih * x.sh + iw0 * x.sw)
        var taps = filter.unsafe_offset(kh * kernel_w * lanes)
        var weights = Array[V, kernel_w](fill=V(0))
        comptime for kw in range(kernel_w):
            weights[kw] = taps.unsafe_load[width=w](kw * lanes).cast[acc]()
        comptime for i in range(span):
            # Skip input columns that no tap reaches (strides beyond the kernel).
            comptime if column_used[
                i, columns, kernel_w, stride_w, dilation_w
            ]():
                var here = True
                comptime if not inside:
                    here = iw0 + i >= 0 and iw0 + i < x.width
                if here:
                    var v = load_channels[dt, acc, multiplier, w](
                        line.unsafe_offset(i * x.sw), channel
                    )
                    comptime for kw in range(kernel_w):
                        comptime at = i - kw * dilation_w
                        comptime if (
                            at >= 0
                            and at % stride_w == 0
                            and at // stride_w < columns
                        ):
                            sums[at // stride_w] = fma(
                                v, weights[kw], sums[at // stride_w]
                            )
    comptime for c in range(columns):
        if inside or ow + c < out_w:
            store[w](n, oh * out_w + ow + c, channel, sums[c])


def column_used[
    i: Int, columns: Int, kernel_w: Int, stride_w: Int, dilation_w: Int
]() -> Bool:
    """Tells whether a tile reads its input column `i`."""
    for kw in range(kernel_w):
        var at = i - kw * dilation_w
        if at >= 0 and at % stride_w == 0 and at // stride_w < columns:
            return True
    return False


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
    comptime lanes = simd_width_of[acc]()
    comptime channels = in_channels * multiplier
    comptime group = GROUP_VECTORS * lanes
    comptime groups = (channels + group - 1) // group
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
                channel // lanes * (kernel_h * kernel_w * lanes)
                + channel % lanes
            ),
            n,
            oh,
            ow,
            out_w,
            channel,
            store,
        )

    var mine = team.share(x.count * out_h * groups)
    for item in range(mine.begin, mine.end):
        var row = item // groups
        var n = row // out_h
        var oh = row % out_h
        var first = item % groups * group
        var last = min(first + group, channels)
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
