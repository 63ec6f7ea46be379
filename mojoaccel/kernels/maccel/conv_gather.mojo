"""Gathers the input values under a convolution's window into rows for the register tile."""

from std.sys import simd_width_of

from maccel.image import ImageView, Window
from maccel.types import Ptr


@always_inline
def copy_run[
    dt: DType, acc: DType, count: Int
](source: Ptr[dt], target: Ptr[acc]):
    """Copies `count` consecutive elements, converting them; reads nothing beyond.
    """
    comptime lanes = simd_width_of[acc]()
    comptime whole = count // lanes
    comptime rest = count % lanes
    comptime if whole <= 16:
        comptime for i in range(whole):
            target.unsafe_store(
                i * lanes,
                source.unsafe_load[width=lanes](i * lanes).cast[acc](),
            )
    else:
        for i in range(whole):
            target.unsafe_store(
                i * lanes,
                source.unsafe_load[width=lanes](i * lanes).cast[acc](),
            )
    comptime if whole > 0 and rest > 0:
        # The last vector overlaps the one before: two moves instead of a ladder.
        target.unsafe_store(
            count - lanes,
            source.unsafe_load[width=lanes](count - lanes).cast[acc](),
        )
    elif rest > 0:
        comptime half = 16 if rest >= 16 else (
            8 if rest >= 8 else (4 if rest >= 4 else min(rest, 2))
        )
        target.unsafe_store(0, source.unsafe_load[width=half](0).cast[acc]())
        target.unsafe_store(
            rest - half,
            source.unsafe_load[width=half](rest - half).cast[acc](),
        )


@always_inline
def copy_or_zero[
    dt: DType, acc: DType, count: Int
](source: Ptr[dt], target: Ptr[acc], inside: Bool):
    """Copies `count` elements, or writes zeros if the tap lies in the padding.
    """
    if inside:
        copy_run[dt, acc, count](source, target)
    else:
        zero_run(target, count)


@always_inline
def zero_run[acc: DType](target: Ptr[acc], count: Int):
    """Writes `count` zeros."""
    comptime lanes = simd_width_of[acc]()
    var i = 0
    while i + lanes <= count:
        target.unsafe_store(i, SIMD[acc, lanes](0))
        i += lanes
    while i < count:
        target[unsafe_offset=i] = 0
        i += 1


@no_inline
def gather_rows[
    dt: DType,
    acc: DType,
    channels: Int,
    window: Window,
    lda: Int,
](
    x: ImageView[dt],
    out_h: Int,
    out_w: Int,
    first_pixel: Int,
    count: Int,
    target: Ptr[acc],
):
    """Writes the windows of `count` output pixels as rows of [kernel_h][kernel_w][channels].

    A whole kernel row is one run of memory where neighbouring pixels touch (undilated, ungrouped
    and dense images), which is what makes the three-channel first layer cheap.

    Args:
        x: Input; its data points at the first channel of the group.
        out_h: Height of the output.
        out_w: Width of the output.
        first_pixel: Index of the first output pixel, counted over the batch.
        count: Number of output pixels.
        target: Rows, `lda` elements apart.
    """
    var in_image = first_pixel % (out_h * out_w)
    var n = first_pixel // (out_h * out_w)
    var oh = in_image // out_w
    var ow = in_image % out_w
    var touching = window.dilation_w == 1 and x.sw == channels
    comptime line = window.kernel_w * channels
    for r in range(count):
        var row = target.unsafe_offset(r * lda)
        var iw0 = window.left(ow)
        var ih0 = window.top(oh)
        var image = x.data.unsafe_offset(n * x.sn)
        var last = iw0 + (window.kernel_w - 1) * window.dilation_w
        var whole = iw0 >= 0 and last < x.width
        for kh in range(window.kernel_h):
            var ih = ih0 + kh * window.dilation_h
            var taps = row.unsafe_offset(kh * line)
            if ih < 0 or ih >= x.height:
                zero_run(taps, line)
                continue
            var source = image.unsafe_offset(ih * x.sh)
            if whole and touching:
                copy_run[dt, acc, line](source.unsafe_offset(iw0 * x.sw), taps)
            else:
                for kw in range(window.kernel_w):
                    var iw = iw0 + kw * window.dilation_w
                    copy_or_zero[dt, acc, channels](
                        source.unsafe_offset(iw * x.sw),
                        taps.unsafe_offset(kw * channels),
                        iw >= 0 and iw < x.width,
                    )
        ow += 1
        if ow == out_w:
            ow = 0
            oh += 1
            if oh == out_h:
                oh = 0
                n += 1
