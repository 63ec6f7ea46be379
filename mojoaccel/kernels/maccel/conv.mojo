"""Convolution of channels-last images as an implicit matrix product.

Output pixels are the rows, output channels the columns, kernel taps times input channels the
reduction. A thread gathers the windows of a block of pixels once (as the im2col of a block small
enough for the L2 cache) and multiplies it by its panels of packed weights, so the indirection of
Dukhan's "The Indirect Convolution Algorithm" (2019) happens once per block rather than in the
inner loop, and padding, stride, dilation and type conversion cost the inner loop nothing.
Pointwise convolutions of dense images need no gathering at all.

Weights are packed ahead as [groups][ceil(OC/groups/panel)][KH*KW*IC/groups][panel], zero padded.
"""

from std.sys import simd_width_of, size_of

from maccel.conv_gather import gather_rows, zero_run
from maccel.conv_partition import (
    MAX_LINE,
    SMALL_WEIGHT_BYTES,
    TilePartition,
    block_tiles,
    is_matrix,
    longest_sum,
    partition_tiles,
    row_elements,
)
from maccel.conv_store import store_tile, touch_tile
from maccel.conv_strip import multiply_source, prepare_tile
from maccel.conv_tile import multiply_first, multiply_tile, tile_rows
from maccel.image import ImageView, Window
from maccel.pairs import PAIR
from maccel.team import Team
from maccel.types import Ptr


@always_inline
def conv2d[
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
    A: def[w: Int](Int, Int, Int) -> None,
](
    team: Team,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
    ahead: A,
):
    """Convolves channels-last images with any kernel, stride, padding, dilation and groups.

    `y[n, oh, ow, o] = sum over kh, kw, c of x[n, oh*stride - pad + kh*dilation, ..., c] * w[o, c,
    kh, kw]`, zero outside the image (PyTorch `aten.convolution`, not transposed; one dimension as
    height 1). The sums run over kh, kw, c in this order for every pixel, whatever the team.

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
        pad_h: Rows of zeros above; those below follow from `out_h`.
        pad_w: Columns of zeros at the left; those at the right follow from `out_w`.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        groups: Independent groups of channels.
        panel: Output channels in a packed weight panel, a multiple of the SIMD width.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`, called once per element.
        A: `ahead[w](n, oh*out_w + ow, channel)`, called before the sums that `store` gets.

    Args:
        team: The threads; each computes its share.
        x: Input.
        weights: Packed weights.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
        ahead: Brings to the cache what the epilogue will read and write (see `touch_tile`).
    """
    comptime vt = PAIR if dt == PAIR else acc
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
    comptime depth = window.taps() * (in_channels // groups)
    comptime panels = groups * ((out_channels // groups + panel - 1) // panel)
    comptime bytes = depth * panels * panel * size_of[wt]()
    comptime tiles = block_tiles[acc, depth, panel, bytes]()
    comptime assert panel % simd_width_of[acc]() == 0, "panel: whole vectors"

    if x.count * out_h * out_w <= 0:
        return
    var part = partition_tiles[tile_rows[acc, panel]()](
        team,
        x.count * out_h * out_w,
        panels,
        4,
        12 if bytes > SMALL_WEIGHT_BYTES else 2,
    )
    comptime if (
        groups == 1
        and tiles == 1
        and window.overlaps()
        and kernel_w * in_channels <= MAX_LINE
    ):
        convolve_strips[vt, acc, in_channels, out_channels, window, panel](
            team, part, x, weights, out_h, out_w, store, ahead
        )
    else:
        convolve_blocks[
            vt, acc, in_channels, out_channels, groups, window, panel, tiles
        ](team, part, x, weights, out_h, out_w, store, ahead)


@always_inline
def convolve_strips[
    dt: DType,
    wt: DType,
    //,
    vt: DType,
    acc: DType,
    channels: Int,
    out_channels: Int,
    window: Window,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
    A: def[w: Int](Int, Int, Int) -> None,
](
    team: Team,
    part: TilePartition,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
    ahead: A,
):
    """Convolves in one group where windows overlap and weights stay in the cache, tile by tile.

    The parameters are those of `conv2d`; `vt` is the type that is multiplied, `part` what this
    thread computes.
    """
    comptime rows = tile_rows[acc, panel]()
    comptime line = window.kernel_w * channels
    comptime depth = window.kernel_h * line
    comptime lda = row_elements[acc, depth]()
    comptime slice_rows = max(1, longest_sum[vt]() // line)
    var image_pixels = out_h * out_w
    var scratch = team.scratch[vt]()
    var c = team.scratch[acc]().unsafe_offset(rows * lda)
    for tile in range(part.pixels.begin, part.pixels.end, rows):
        var here = min(rows, part.pixels.end - tile)
        var source = prepare_tile[dt, vt, channels, window, rows, lda](
            x, out_h, out_w, tile, here, scratch
        )
        for p in range(part.panels.begin, part.panels.end):
            var col = p * panel
            var cols = min(panel, out_channels - col)
            touch_tile[simd_width_of[acc]()](
                tile, here, image_pixels, col, cols, ahead
            )
            for kh in range(0, window.kernel_h, slice_rows):
                multiply_source[
                    acc, wt, rows, panel, window.stride_w * channels, lda
                ](
                    source,
                    kh,
                    min(slice_rows, window.kernel_h - kh),
                    line,
                    here,
                    weights.unsafe_offset((p * depth + kh * line) * panel),
                    c,
                )
            store_tile[acc, panel, S](
                c, tile, here, image_pixels, col, cols, store
            )


@always_inline
def convolve_blocks[
    dt: DType,
    wt: DType,
    //,
    vt: DType,
    acc: DType,
    in_channels: Int,
    out_channels: Int,
    groups: Int,
    window: Window,
    panel: Int,
    tiles: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
    A: def[w: Int](Int, Int, Int) -> None,
](
    team: Team,
    part: TilePartition,
    x: ImageView[dt],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
    ahead: A,
):
    """Convolves group by group, a block of `tiles` register tiles of gathered windows at a time.

    The parameters are those of `conv2d`; `vt` is the type that is multiplied, `part` what this
    thread computes.
    """
    comptime rows = tile_rows[acc, panel]()
    comptime channels = in_channels // groups
    comptime depth = window.taps() * channels
    comptime lda = row_elements[acc, depth]()
    comptime group_out = out_channels // groups
    comptime panels = (group_out + panel - 1) // panel
    comptime pointwise = dt == vt and window.pointwise()
    var windows = team.scratch[vt]()
    var sums = team.scratch[acc]().unsafe_offset(tiles * rows * lda)
    var matrix = False
    comptime if pointwise:
        matrix = is_matrix[in_channels](x)
    var first = part.panels.begin
    while first < part.panels.end:
        var group = first // panels
        var end = min(part.panels.end, (group + 1) * panels)
        var view = x
        view.data = x.data.unsafe_offset(group * channels)
        for block in range(part.pixels.begin, part.pixels.end, tiles * rows):
            var count = min(part.pixels.end - block, tiles * rows)
            var whole = count // rows * rows
            var in_place = whole if matrix else 0
            if in_place < count:
                gather_rows[dt, vt, channels, window, lda](
                    view,
                    out_h,
                    out_w,
                    block + in_place,
                    count - in_place,
                    windows.unsafe_offset(in_place * lda),
                )
                # The last tile is computed whole: no stale denormals in its spare rows.
                if whole < count:
                    zero_run(
                        windows.unsafe_offset(count * lda),
                        (whole + rows - count) * lda,
                    )
            for p in range(first, end):
                var at = (p - group * panels) * panel
                multiply_block[
                    acc,
                    rows,
                    panel,
                    depth,
                    lda,
                    in_channels if pointwise else 0,
                ](
                    view.data.unsafe_offset(block * in_channels),
                    windows,
                    weights.unsafe_offset(p * depth * panel),
                    sums,
                    block,
                    count,
                    in_place,
                    out_h * out_w,
                    group * group_out + at,
                    min(panel, group_out - at),
                    store,
                    ahead,
                )
        first = end


@always_inline
def multiply_block[
    dt: DType,
    vt: DType,
    wt: DType,
    //,
    acc: DType,
    rows: Int,
    panel: Int,
    depth: Int,
    lda: Int,
    matrix_row: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
    A: def[w: Int](Int, Int, Int) -> None,
](
    matrix: Ptr[dt],
    windows: Ptr[vt],
    weights: Ptr[wt],
    sums: Ptr[acc],
    block: Int,
    count: Int,
    in_place: Int,
    image_pixels: Int,
    col: Int,
    cols: Int,
    store: S,
    ahead: A,
):
    """Multiplies a block of windows by a panel of weights and hands the results to the epilogue.

    Parameters:
        dt: Stored type of the image.
        vt: Type of the values that are multiplied.
        wt: Stored type of the weights.
        acc: Type of the sums.
        rows: Rows of a register tile.
        panel: Columns of the panel.
        depth: Length of the reduction.
        lda: Elements from one gathered window to the next.
        matrix_row: Elements from one row to the next where the image is a matrix; 0 if it never is.
        S: Epilogue.
        A: Called before it.

    Args:
        matrix: The block's first pixel in the image.
        windows: Gathered windows.
        weights: The panel.
        sums: Room for a tile, or for all of the block if its sums are cut.
        block: The block's first pixel in the output.
        count: Its pixels.
        in_place: How many of them, whole tiles, are multiplied where they lie in the image.
        image_pixels: Pixels of an image of the output.
        col: The panel's first channel.
        cols: Channels of the panel.
        store: Epilogue.
        ahead: Called before it.
    """
    comptime limit = longest_sum[vt]()
    comptime slices = (depth + limit - 1) // limit
    comptime slice_depth = ((depth + slices - 1) // slices + 3) // 4 * 4
    for s in range(slices):
        var k = s * slice_depth
        var b = weights.unsafe_offset(k * panel)
        var length = min(slice_depth, depth - k)
        var last = s == slices - 1
        for row in range(0, count, rows):
            var here = min(rows, count - row)
            var c = sums
            comptime if slices > 1:
                c = sums.unsafe_offset(row * panel)
            if last:
                touch_tile[simd_width_of[acc]()](
                    block + row, here, image_pixels, col, cols, ahead
                )
            if matrix_row > 0 and row < in_place:
                comptime if matrix_row > 0:
                    multiply_tile[acc, wt, rows, panel, matrix_row](
                        matrix.unsafe_bitcast[Scalar[vt]]().unsafe_offset(
                            row * matrix_row + k
                        ),
                        b,
                        c,
                        length,
                        s == 0,
                    )
            else:
                multiply_first[acc, wt, rows, panel, lda](
                    windows.unsafe_offset(row * lda + k),
                    b,
                    c,
                    length,
                    here,
                    s == 0,
                )
            if last:
                store_tile[acc, panel, S](
                    c, block + row, here, image_pixels, col, cols, store
                )
