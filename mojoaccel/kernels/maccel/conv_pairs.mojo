"""Convolution of bfloat16 images, two channels or two elements of a window at a time."""

from maccel.amx import fits_tiles
from maccel.conv import conv2d
from maccel.conv_gather import gather_rows, zero_run
from maccel.conv_partition import partition_tiles, row_elements
from maccel.conv_store import store_tile
from maccel.conv_tile import multiply_tile, tile_rows
from maccel.conv_tiles import conv2d_tiles
from maccel.image import ImageView, Window
from maccel.pairs import PAIR, as_pairs
from maccel.team import Team
from maccel.tiles import PANEL
from maccel.types import F32, Ptr


@always_inline
def conv2d_pairs[
    acc: DType,
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
    A: def[w: Int](Int, Int, Int) -> None,
](
    team: Team,
    x: ImageView[DType.bfloat16],
    weights: Ptr[DType.bfloat16],
    out_h: Int,
    out_w: Int,
    store: S,
    ahead: A,
):
    """Convolves bfloat16 images two channels at a time (see `pairs`), by AMX tiles where the target
    has them and the channels fill them.

    The parameters are those of `conv2d`; channels of a group and strides of the image are even.
    Weights are packed ahead as [groups][panels][KH*KW*IC/groups/2][panel][2].
    """
    var image = ImageView[PAIR](
        as_pairs(x.data),
        x.count,
        x.height,
        x.width,
        x.sn // 2,
        x.sh // 2,
        x.sw // 2,
    )
    comptime depth = kernel_h * kernel_w * (in_channels // 2)
    comptime if groups == 1 and panel == PANEL and fits_tiles[depth]():

        @always_inline
        def rebound[w: Int](n: Int, pixel: Int, c: Int, v: F32[w]) {imm}:
            store[w](n, pixel, c, rebind[SIMD[acc, w]](v))

        conv2d_tiles[
            in_channels // 2,
            out_channels,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            pad_h,
            pad_w,
            dilation_h,
            dilation_w,
        ](team, image, as_pairs(weights), out_h, out_w, rebound)
        return
    conv2d[
        PAIR,
        acc,
        PAIR,
        in_channels // 2,
        out_channels,
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
        groups,
        panel,
    ](
        team,
        image,
        as_pairs(weights),
        out_h,
        out_w,
        store,
        ahead,
    )


@always_inline
def conv2d_odd_pairs[
    acc: DType,
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
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[DType.bfloat16],
    weights: Ptr[DType.bfloat16],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves images whose channels do not pair up: windows are gathered, their elements pair up.

    The parameters are those of `conv2d`, in one group. Weights are packed ahead as
    [panels][depth/2][panel][2], the window filled up with a zero to an even depth. Meant for the
    few channels of a first layer: a sum over the whole window stays in registers. Measured on 3
    channels, 7x7, 224x224 to 64 (2 threads, Zen 4): 706 us; widened to float32 1387 us.
    """
    comptime H = DType.bfloat16
    comptime window = Window(
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
    )
    comptime depth = window.taps() * in_channels
    comptime pairs = (depth + 1) // 2
    comptime rows = tile_rows[acc, panel]()
    comptime lda = row_elements[PAIR, pairs]()
    comptime panels = (out_channels + panel - 1) // panel
    var image_pixels = out_h * out_w
    var pixels = x.count * image_pixels
    if pixels <= 0:
        return
    var part = partition_tiles[rows](team, pixels, panels, 4, 2)
    var a = team.scratch[PAIR]()
    var windows = a.unsafe_bitcast[BFloat16]()
    var c = team.scratch[acc]().unsafe_offset(rows * lda)
    for tile in range(part.pixels.begin, part.pixels.end, rows):
        var here = min(rows, part.pixels.end - tile)
        gather_rows[H, H, in_channels, window, 2 * lda](
            x, out_h, out_w, tile, here, windows
        )
        comptime if depth % 2 == 1:
            for row in range(here):
                windows[unsafe_offset=row * 2 * lda + depth] = 0
        # The last tile is computed whole: no stale denormals in its spare rows.
        zero_run(a.unsafe_offset(here * lda), (rows - here) * lda)
        for p in range(part.panels.begin, part.panels.end):
            multiply_tile[acc, PAIR, rows, panel, lda](
                a,
                as_pairs(weights.unsafe_offset(p * pairs * 2 * panel)),
                c,
                pairs,
                True,
            )
            store_tile[acc, panel, S](
                c,
                tile,
                here,
                image_pixels,
                p * panel,
                min(panel, out_channels - p * panel),
                store,
            )
