"""Convolution tiles that read the image in place, or a padded copy of the strip they lie on.

Where a register tile lies within one output row, the windows of its pixels overlap in memory:
pixel i of kernel row kh starts `i * stride * channels` elements into one stretch of the image.
The tile then multiplies that stretch directly, with the distance of its rows known at compile
time; only tiles that touch the padding copy it (once, not once per tap).
"""

from std.sys import simd_width_of

from maccel.conv_gather import gather_rows, zero_run
from maccel.conv_tile import multiply_first, multiply_tile
from maccel.image import ImageView, Window
from maccel.types import Ptr


@always_inline
def copy_span[
    dt: DType, acc: DType
](source: Ptr[dt], target: Ptr[acc], count: Int):
    """Copies `count` consecutive elements, converting them."""
    comptime lanes = simd_width_of[acc]()
    var i = 0
    while i + lanes <= count:
        target.unsafe_store(i, source.unsafe_load[width=lanes](i).cast[acc]())
        i += lanes
    while i < count:
        target[unsafe_offset=i] = source[unsafe_offset=i].cast[acc]()
        i += 1


@no_inline
def copy_strip[
    dt: DType,
    acc: DType,
    channels: Int,
    window: Window,
    columns: Int,
    stride: Int,
](x: ImageView[dt], n: Int, ih0: Int, iw0: Int, target: Ptr[acc]):
    """Copies the rows of windows, `columns` pixels of each, zero outside the image, `stride` apart.
    """
    var left = max(0, min(columns, -iw0))
    var right = max(left, min(columns, x.width - iw0))
    for kh in range(window.kernel_h):
        var ih = ih0 + kh * window.dilation_h
        var line = target.unsafe_offset(kh * stride)
        if ih < 0 or ih >= x.height:
            zero_run(line, columns * channels)
            continue
        zero_run(line, left * channels)
        copy_span[dt, acc](
            x.data.unsafe_offset(n * x.sn + ih * x.sh + (iw0 + left) * x.sw),
            line.unsafe_offset(left * channels),
            (right - left) * channels,
        )
        zero_run(
            line.unsafe_offset(right * channels), (columns - right) * channels
        )


@fieldwise_init
struct TileSource[vt: DType](Copyable, Movable, TrivialRegisterPassable):
    """Where a tile's rows are: `step` apart by kernel row, in overlapping strips or gathered.
    """

    var data: Ptr[Self.vt]
    var step: Int
    var strip: Bool


@always_inline
def prepare_tile[
    dt: DType,
    vt: DType,
    channels: Int,
    window: Window,
    rows: Int,
    lda: Int,
](
    x: ImageView[dt],
    out_h: Int,
    out_w: Int,
    tile: Int,
    count: Int,
    scratch: Ptr[vt],
) -> TileSource[vt]:
    """Finds, copies or gathers the input of the `count` output pixels from `tile` on.
    """
    comptime columns = (rows - 1) * window.stride_w + window.kernel_w
    comptime stride = columns * channels
    var ow = tile % out_w
    if count == rows and ow + rows <= out_w and x.sw == channels:
        var oh = tile // out_w % out_h
        var n = tile // (out_w * out_h)
        var ih0 = window.top(oh)
        var iw0 = window.left(ow)
        comptime if dt == vt:
            if (
                ih0 >= 0
                and ih0 + (window.kernel_h - 1) * window.dilation_h < x.height
                and iw0 >= 0
                and iw0 + columns <= x.width
            ):
                return TileSource[vt](
                    x.data.unsafe_bitcast[Scalar[vt]]().unsafe_offset(
                        n * x.sn + ih0 * x.sh + iw0 * x.sw
                    ),
                    window.dilation_h * x.sh,
                    True,
                )
        copy_strip[dt, vt, channels, window, columns, stride](
            x, n, ih0, iw0, scratch
        )
        return TileSource[vt](scratch, stride, True)
    gather_rows[dt, vt, channels, window, lda](
        x, out_h, out_w, tile, count, scratch
    )
    zero_run(scratch.unsafe_offset(count * lda), (rows - count) * lda)
    return TileSource[vt](scratch, window.kernel_w * channels, False)


@always_inline
def multiply_source[
    vt: DType,
    //,
    acc: DType,
    wt: DType,
    rows: Int,
    panel: Int,
    pixel_step: Int,
    lda: Int,
](
    source: TileSource[vt],
    kernel_row: Int,
    kernel_rows: Int,
    line: Int,
    count: Int,
    b: Ptr[wt],
    c: Ptr[acc],
):
    """Multiplies some kernel rows of a tile's input by their weights."""
    var a = source.data.unsafe_offset(kernel_row * source.step)
    var first = kernel_row == 0
    if source.strip:
        multiply_tile[acc, wt, rows, panel, pixel_step](
            a, b, c, line, first, kernel_rows, source.step
        )
    else:
        multiply_first[acc, wt, rows, panel, lda](
            a, b, c, line * kernel_rows, count, first
        )
