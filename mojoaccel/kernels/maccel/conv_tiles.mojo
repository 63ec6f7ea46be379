"""Convolution of channels-last bfloat16 images by AMX tiles, two channels at a time.

Output pixels are the rows of `multiply_grid`. A dense pointwise convolution reads the image as a
matrix. Otherwise, where tiles fit the lines of the output, a tile lies within one line: the windows
of its pixels then overlap in memory, and the tile reads them in place, or from a copy of their
strip where the padding touches them. The rest is gathered, one window after the other.
"""

from maccel.amx import TILE_ROWS, TILE_STEPS, tile_steps
from maccel.conv_gather import gather_rows, zero_run
from maccel.conv_partition import row_elements
from maccel.conv_store import store_tile
from maccel.conv_strip import copy_strip
from maccel.image import ImageView, Window
from maccel.pairs import PAIR, as_pairs
from maccel.team import Team
from maccel.tile_grid import (
    BLOCK,
    BLOCK_BYTES,
    Grid,
    multiply_grid,
    tiles_scratch,
)
from maccel.tiles import F, PANEL, Rows
from maccel.types import F32, Ptr

comptime STRIP_ROWS = 12
"""Pixels that a tile within one line must have; lower tiles waste the columns they load."""


@always_inline
def gathered_tiles[depth: Int]() -> Int:
    """Returns how many double tiles of gathered windows of `depth` pairs a thread keeps.
    """
    comptime bytes = 8 * TILE_ROWS * row_elements[PAIR, depth]()
    return max(1, min(BLOCK, BLOCK_BYTES // bytes))


@always_inline
def conv2d_tiles[
    channels: Int,
    out_channels: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    S: def[w: Int](Int, Int, Int, SIMD[F, w]) -> None,
](
    team: Team,
    x: ImageView[PAIR],
    weights: Ptr[PAIR],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves images of pairs of channels; the parameters are those of `conv2d`, in one group.

    Weights are packed as [panels][KH*KW*channels][PANEL].

    Parameters:
        channels: Pairs of channels of the input.
        out_channels: Channels of the output.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Rows of zeros above.
        pad_w: Columns of zeros at the left.
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
    comptime line = kernel_w * channels
    comptime depth = kernel_h * line
    comptime lda = row_elements[PAIR, depth]()
    comptime panels = (out_channels + PANEL - 1) // PANEL
    comptime most = gathered_tiles[depth]()
    comptime dense = window.taps() == 1 and pad_h + pad_w == 0
    comptime strips = (
        not dense and window.overlaps() and tile_steps[line]() >= 8
    )
    var image_pixels = out_h * out_w
    var pixels = x.count * image_pixels
    if pixels <= 0:
        return

    @always_inline
    def finish(c: Ptr[F], first: Int, height: Int, panel: Int) {imm}:
        store_tile[F, PANEL, S](
            c,
            first,
            height,
            image_pixels,
            panel * PANEL,
            min(PANEL, out_channels - panel * PANEL),
            store,
        )

    comptime if dense:
        # Without stride the whole batch may be one matrix; with it, every line is.
        var even = (
            stride_h * stride_w == 1
            and x.sh == x.width * x.sw
            and (x.sn == x.height * x.sh or x.count == 1)
        )
        var matrix = Grid(1, pixels) if even else Grid(x.count * out_h, out_w)
        if even or matrix.height >= STRIP_ROWS:

            @always_inline
            def in_place(tile: Int, slot: Int) {imm} -> Rows:
                var start = matrix.start(tile) * stride_w * x.sw
                if not even:
                    var above = tile // matrix.across
                    start += (
                        above // out_h * x.sn + above % out_h * stride_h * x.sh
                    )
                return Rows(x.data.unsafe_offset(start), 0)

            multiply_grid[1, channels, panels, BLOCK](
                team, matrix, stride_w * x.sw, weights, in_place, finish
            )
            return

    var scratch = team.scratch[PAIR]().unsafe_offset(tiles_scratch() // 4)
    comptime if strips:
        var lines = Grid(x.count * out_h, out_w)
        if lines.height >= STRIP_ROWS and x.sw == channels:

            @always_inline
            def strip(tile: Int, slot: Int) {imm} -> Rows:
                comptime span = (TILE_ROWS - 1) * stride_w + kernel_w
                var above = tile // lines.across
                var n = above // out_h
                var ih = window.top(above % out_h)
                var iw = window.left(lines.start(tile))
                var columns = (lines.height - 1) * stride_w + kernel_w
                if (
                    ih >= 0
                    and ih + (kernel_h - 1) * dilation_h < x.height
                    and iw >= 0
                    and iw + columns <= x.width
                ):
                    return Rows(
                        x.data.unsafe_offset(n * x.sn + ih * x.sh + iw * x.sw),
                        dilation_h * x.sh,
                    )
                var copy = scratch.unsafe_offset(slot * TILE_ROWS * lda)
                copy_strip[PAIR, PAIR, channels, window, span, span * channels](
                    x, n, ih, iw, copy
                )
                return Rows(copy, span * channels)

            multiply_grid[kernel_h, line, panels, most](
                team, lines, stride_w * channels, weights, strip, finish
            )
            return

    var all = Grid(1, pixels)

    @always_inline
    def gather(tile: Int, slot: Int) {imm} -> Rows:
        var target = scratch.unsafe_offset(slot * TILE_ROWS * lda)
        gather_rows[PAIR, PAIR, channels, window, lda](
            x, out_h, out_w, all.first(tile), all.height, target
        )
        return Rows(target, 0)

    multiply_grid[1, depth, panels, most](
        team, all, lda, weights, gather, finish
    )


@always_inline
def conv2d_gathered[
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
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[DType.bfloat16],
    weights: Ptr[DType.bfloat16],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves images whose channels do not pair up or fill tiles: every window is gathered and
    filled up with zeros.

    The parameters are those of `conv2d`, in one group. Weights are packed ahead as
    [panels][depth/2][PANEL][2], the depth a multiple of 32 and zero beyond the window.
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
    comptime pairs = (depth + 31) // 32 * TILE_STEPS
    comptime lda = row_elements[PAIR, pairs]()
    comptime panels = (out_channels + PANEL - 1) // PANEL
    var image_pixels = out_h * out_w
    if x.count * image_pixels <= 0:
        return
    var grid = Grid(1, x.count * image_pixels)
    var scratch = team.scratch[PAIR]().unsafe_offset(tiles_scratch() // 4)

    @always_inline
    def rebound[w: Int](n: Int, pixel: Int, c: Int, v: F32[w]) {imm}:
        store[w](n, pixel, c, rebind[SIMD[acc, w]](v))

    @always_inline
    def finish(c: Ptr[F], first: Int, height: Int, panel: Int) {imm}:
        store_tile[F, PANEL](
            c,
            first,
            height,
            image_pixels,
            panel * PANEL,
            min(PANEL, out_channels - panel * PANEL),
            rebound,
        )

    @always_inline
    def gather(tile: Int, slot: Int) {imm} -> Rows:
        var target = scratch.unsafe_offset(slot * TILE_ROWS * lda)
        var rows = Ptr[H](unsafe_from_address=Int(target))
        gather_rows[H, H, in_channels, window, 2 * lda](
            x, out_h, out_w, grid.first(tile), grid.height, rows
        )
        comptime if 2 * pairs > depth:
            for row in range(grid.height):
                zero_run(
                    rows.unsafe_offset(row * 2 * lda + depth), 2 * pairs - depth
                )
        return Rows(target, 0)

    multiply_grid[1, pairs, panels, gathered_tiles[pairs]()](
        team, grid, lda, as_pairs(weights), gather, finish
    )
