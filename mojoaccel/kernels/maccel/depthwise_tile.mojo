"""The register tile of depthwise and narrow grouped convolution: columns times channels."""

from std.math import fma
from std.sys import CompilationTarget, simd_width_of
from std.utils.index import IndexList

from maccel.image import ImageView
from maccel.types import Ptr


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
    dt: DType, acc: DType, multiplier: Int, group: Int, member: Int, w: Int
](pixel: Ptr[dt], channel: Int, at: Int) -> SIMD[acc, w]:
    """Loads the inputs of output channels channel..channel+w-1: their groups' channel `member`
    (a shuffle) or `at` (a broadcast).
    """
    comptime if multiplier > 1:
        var v = SIMD[acc, w](0)
        comptime for i in range(w):
            v[i] = pixel[unsafe_offset=(channel + i) // multiplier].cast[acc]()
        return v
    elif group == 1:
        return pixel.unsafe_load[width=w](channel).cast[acc]()
    elif group >= w:
        return SIMD[acc, w](
            pixel[unsafe_offset=channel // group * group + at].cast[acc]()
        )
    else:
        return (
            pixel.unsafe_load[width=w](channel)
            .cast[acc]()
            .shuffle[spread_member[w, group, member]()]()
        )


def spread_member[w: Int, group: Int, member: Int]() -> IndexList[w]:
    """Returns the shuffle that gives every lane its group's lane `member`."""
    var mask = IndexList[w]()
    for lane in range(w):
        mask[lane] = lane // group * group + member
    return mask


@always_inline
def add_member[
    dt: DType,
    acc: DType,
    wt: DType,
    multiplier: Int,
    group: Int,
    member: Int,
    kernel_w: Int,
    stride_w: Int,
    dilation_w: Int,
    w: Int,
    inside: Bool,
](
    x: ImageView[dt],
    line: Ptr[dt],
    iw0: Int,
    channel: Int,
    at: Int,
    taps: Ptr[wt],
    mut sums: Array[SIMD[acc, w], depthwise_columns[kernel_w]()],
):
    """Adds one kernel row of one channel of the groups to the sums of a tile of columns.
    """
    comptime lanes = simd_width_of[acc]()
    comptime V = SIMD[acc, w]
    comptime columns = depthwise_columns[kernel_w]()
    comptime span = (columns - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    var weights = Array[V, kernel_w](fill=V(0))
    comptime for kw in range(kernel_w):
        weights[kw] = taps.unsafe_load[width=w](kw * lanes).cast[acc]()
    comptime for i in range(span):
        # Skip input columns that no tap reaches (strides beyond the kernel).
        comptime if column_used[i, columns, kernel_w, stride_w, dilation_w]():
            var here = True
            comptime if not inside:
                here = iw0 + i >= 0 and iw0 + i < x.width
            if here:
                var v = load_channels[dt, acc, multiplier, group, member, w](
                    line.unsafe_offset(i * x.sw), channel, at
                )
                comptime for kw in range(kernel_w):
                    comptime to = i - kw * dilation_w
                    comptime if (
                        to >= 0
                        and to % stride_w == 0
                        and to // stride_w < columns
                    ):
                        sums[to // stride_w] = fma(
                            v, weights[kw], sums[to // stride_w]
                        )


@always_inline
def depthwise_tile[
    dt: DType,
    acc: DType,
    wt: DType,
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
        multiplier: Output channels per input channel, if `group` is 1.
        group: Channels per group.
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
    var sums = Array[V, columns](fill=V(0))
    var ih0 = oh * stride_h - pad_h
    var iw0 = ow * stride_w - pad_w
    var image = x.data.unsafe_offset(n * x.sn)
    for kh in range(kernel_h):
        var ih = ih0 + kh * dilation_h
        if ih < 0 or ih >= x.height:
            continue
        var line = image.unsafe_offset(ih * x.sh + iw0 * x.sw)
        # A broadcast takes any member at run time; a shuffle is fixed at compile time.
        comptime if group >= w and group > 1:
            for member in range(group):
                add_member[
                    dt,
                    acc,
                    wt,
                    multiplier,
                    group,
                    0,
                    kernel_w,
                    stride_w,
                    dilation_w,
                    w,
                    inside,
                ](
                    x,
                    line,
                    iw0,
                    channel,
                    member,
                    filter.unsafe_offset(
                        (kh * group + member) * kernel_w * lanes
                    ),
                    sums,
                )
        else:
            comptime for member in range(group):
                add_member[
                    dt,
                    acc,
                    wt,
                    multiplier,
                    group,
                    member,
                    kernel_w,
                    stride_w,
                    dilation_w,
                    w,
                    inside,
                ](
                    x,
                    line,
                    iw0,
                    channel,
                    member,
                    filter.unsafe_offset(
                        (kh * group + member) * kernel_w * lanes
                    ),
                    sums,
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
