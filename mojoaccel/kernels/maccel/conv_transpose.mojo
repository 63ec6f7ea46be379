"""Transposed convolution of channels-last images, in gather form.

An output pixel receives tap k where `output + pad - k * dilation` is a multiple of the stride, so
output pixels with the same remainder (a phase) share their taps. Each phase is an ordinary matrix
product over its own taps: no zeros are inserted and no output is added to twice.
"""

from std.sys import simd_width_of

from maccel.conv_gather import copy_or_zero, zero_run
from maccel.conv_partition import partition_tiles, row_elements
from maccel.conv_store import store_tile
from maccel.conv_tile import multiply_first, tile_rows
from maccel.image import ImageView
from maccel.team import Team
from maccel.types import Ptr


@always_inline
def conv_transpose2d[
    dt: DType,
    acc: DType,
    wt: DType,
    in_channels: Int,
    out_channels: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    groups: Int,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Spreads every input pixel over the output (PyTorch `aten.convolution` with transposed).

    `y[n, oh, ow, o] = sum of x[n, ih, iw, c] * w[c, o, kh, kw]` over all `oh = ih*stride - pad +
    kh*dilation` (columns alike); `output_padding` only changes the size that the caller gives.
    Weights are packed as [groups][ceil(OC/groups/panel)][KH*KW*IC/groups][panel], zero padded.
    Scratch per thread: as `conv2d` with one tile a block.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Vertical padding, taken away from the output.
        pad_w: Horizontal padding, taken away from the output.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        groups: Independent groups of channels.
        panel: Output channels in a packed weight panel, a multiple of the SIMD width.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        weights: Packed weights.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """
    comptime group_in = in_channels // groups
    comptime group_out = out_channels // groups
    comptime taps = kernel_h * kernel_w
    comptime rows = tile_rows[acc, panel]()
    comptime lda = row_elements[acc, taps * group_in]()
    comptime group_panels = (group_out + panel - 1) // panel
    comptime assert panel % simd_width_of[acc]() == 0, "panel: whole vectors"
    var a = team.scratch[acc]()
    var c = a.unsafe_offset(rows * lda)

    for phase in range(stride_h * stride_w):
        var oh0 = phase // stride_w
        var ow0 = phase % stride_w
        var across = max(0, (out_w - ow0 + stride_w - 1) // stride_w)
        var down = max(0, (out_h - oh0 + stride_h - 1) // stride_h)
        var pixels = x.count * down * across
        if pixels == 0:
            continue
        var part = partition_tiles[rows](
            team, pixels, groups * group_panels, 8, 4
        )
        for group in range(
            part.panels.begin // group_panels,
            (part.panels.end + group_panels - 1) // group_panels,
        ):
            var first_panel = max(part.panels.begin, group * group_panels)
            var end_panel = min(part.panels.end, (group + 1) * group_panels)
            for tile in range(part.pixels.begin, part.pixels.end, rows):
                var here = min(rows, part.pixels.end - tile)
                # Rows of the taps that this phase has, in order.
                for r in range(rows):
                    var row = a.unsafe_offset(r * lda)
                    if r >= here:
                        zero_run(row, taps * group_in)
                        continue
                    var m = tile + r
                    var image = x.data.unsafe_offset(
                        m // (down * across) * x.sn + group * group_in
                    )
                    var oh = oh0 + m // across % down * stride_h
                    var ow = ow0 + m % across * stride_w
                    for k in range(taps):
                        var h = oh + pad_h - k // kernel_w * dilation_h
                        var w = ow + pad_w - k % kernel_w * dilation_w
                        if h % stride_h != 0 or w % stride_w != 0:
                            continue
                        var ih = h // stride_h
                        var iw = w // stride_w
                        copy_or_zero[dt, acc, group_in](
                            image.unsafe_offset(ih * x.sh + iw * x.sw),
                            row,
                            ih >= 0
                            and ih < x.height
                            and iw >= 0
                            and iw < x.width,
                        )
                        row = row.unsafe_offset(group_in)
                for p in range(first_panel, end_panel):
                    var used = 0
                    for k in range(taps):
                        var h = oh0 + pad_h - k // kernel_w * dilation_h
                        var w = ow0 + pad_w - k % kernel_w * dilation_w
                        if h % stride_h != 0 or w % stride_w != 0:
                            continue
                        var b = weights.unsafe_offset(
                            (p * taps + k) * group_in * panel
                        )
                        var at = a.unsafe_offset(used * group_in)
                        multiply_first[acc, wt, rows, panel, lda](
                            at, b, c, group_in, here, used == 0
                        )
                        used += 1
                    if used == 0:
                        zero_run(c, rows * panel)
                    var col = (p - group * group_panels) * panel

                    @always_inline
                    def spread[
                        w: Int
                    ](n: Int, pixel: Int, channel: Int, v: SIMD[acc, w]) {
                        imm
                    } -> None:
                        var oh = oh0 + pixel // across * stride_h
                        var ow = ow0 + pixel % across * stride_w
                        store[w](n, oh * out_w + ow, channel, v)

                    store_tile[acc, panel](
                        c,
                        tile,
                        here,
                        down * across,
                        group * group_out + col,
                        min(panel, group_out - col),
                        spread,
                    )
