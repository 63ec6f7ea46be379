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
from maccel.conv_store import store_tile, touch_tile
from maccel.conv_strip import multiply_source, prepare_tile
from maccel.conv_tile import multiply_tile, tile_rows
from maccel.image import ImageView
from maccel.pairs import PAIR
from maccel.team import Share, Team
from maccel.types import Ptr

comptime BLOCK_BYTES = 1 << 20
"""Gathered values a thread keeps while the weights do not fit in its L2 cache: a panel that comes
from memory is then used for several tiles."""

comptime SMALL_WEIGHT_BYTES = 1 << 20
"""Weights that stay in the L2 cache: a thread then gathers one tile at a time, which stays in the
L1 cache. Measured on 64 channels, 3x3, 56x56: 159 GFLOP/s against 152 with 8 tiles (peak 178)."""

comptime BLOCK_TILES = 8
"""Most register tiles in a block; more would not reuse a weight panel noticeably better."""

comptime MAX_DEPTH = 192
"""Longest sum kept in registers; longer ones are cut evenly. The error over the spread of the
results, for 384 products each: 3.5e-7 in one sum, 2.5e-7 cut at 192 (PyTorch 2.5e-7), 2.1e-7 at 128.
Speed, against sums of 384: 0 to 1.2 % less at 192, 1 to 2.5 % less at 128. Models that amplify
roundings (attention scores of thousands) need it. Pairs of bfloat16 are cut at MAX_LINE: their own
rounding is what one sees.
"""

comptime MAX_LINE = 384
"""Longest row of a window that is multiplied where it lies (see `maccel.conv_strip`)."""


@always_inline
def row_elements[acc: DType, depth: Int]() -> Int:
    """Returns the distance of gathered rows: an odd number of cache lines, so that the rows of a
    tile never fall on the same cache sets."""
    comptime lanes = 64 // size_of[acc]()
    return ((depth + lanes - 1) // lanes | 1) * lanes


@always_inline
def block_tiles[acc: DType, depth: Int, panel: Int, weight_bytes: Int]() -> Int:
    """Returns how many register tiles of gathered rows a thread keeps at once.
    """
    comptime bytes = row_elements[acc, depth]() * tile_rows[
        acc, panel
    ]() * size_of[acc]()
    comptime if weight_bytes <= SMALL_WEIGHT_BYTES:
        return 1
    else:
        return max(1, min(BLOCK_TILES, BLOCK_BYTES // bytes))


@fieldwise_init
struct TilePartition(Copyable, Movable, TrivialRegisterPassable):
    """The pixels [begin, end) and panels [first, last) that one thread computes.
    """

    var pixels: Share
    var panels: Share


@always_inline
def partition_tiles[
    rows: Int
](
    team: Team, pixels: Int, panels: Int, gather_cost: Int, panel_cost: Int
) -> TilePartition:
    """Splits a grid of register tiles over the team in two dimensions.

    Every thread gathers its own pixels and streams its own panels, so a split costs, in
    sixteenths of a tile, `gather_cost` per row of tiles and `panel_cost` per panel. Few pixels
    with many channels (7x7x512) split over the panels, the reverse over the pixels.
    """
    var tiles = (pixels + rows - 1) // rows
    var best = 1
    var best_cost = Int.MAX
    for across in range(1, min(team.size, panels) + 1):
        var down = team.size // across
        var t = (tiles + down - 1) // down
        var p = (panels + across - 1) // across
        var cost = t * p * 16 + t * gather_cost + p * panel_cost
        if cost < best_cost:
            best_cost = cost
            best = across
    var down = team.size // best
    var i = team.id // best
    var j = team.id % best
    if i >= down:
        return TilePartition(Share(0, 0), Share(0, 0))
    return TilePartition(
        Share(
            tiles * i // down * rows,
            min(pixels, tiles * (i + 1) // down * rows),
        ),
        Share(panels * j // best, panels * (j + 1) // best),
    )


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
    comptime lanes = simd_width_of[acc]()
    comptime vt = PAIR if dt == PAIR else acc
    comptime group_in = in_channels // groups
    comptime group_out = out_channels // groups
    comptime depth = kernel_h * kernel_w * group_in
    comptime rows = tile_rows[acc, panel]()
    comptime half = (rows + 1) // 2
    comptime lda = row_elements[acc, depth]()
    comptime limit = MAX_LINE if vt == PAIR else MAX_DEPTH
    comptime slices = (depth + limit - 1) // limit
    comptime slice_depth = ((depth + slices - 1) // slices + 3) // 4 * 4
    comptime group_panels = (group_out + panel - 1) // panel
    comptime weight_bytes = depth * group_panels * panel * groups * size_of[
        wt
    ]()
    comptime tiles = block_tiles[acc, depth, panel, weight_bytes]()
    comptime pointwise = (
        dt == vt
        and kernel_h * kernel_w * stride_h * stride_w == 1
        and pad_h + pad_w == 0
    )
    comptime assert panel % lanes == 0, "panel must be whole vectors"

    var image_pixels = out_h * out_w
    var pixels = x.count * image_pixels
    if pixels <= 0:
        return
    var part = partition_tiles[rows](
        team,
        pixels,
        groups * group_panels,
        4,
        12 if weight_bytes > SMALL_WEIGHT_BYTES else 2,
    )
    comptime line = kernel_w * group_in
    comptime strips = (
        groups == 1
        and tiles == 1
        and kernel_h * kernel_w > 1
        and dilation_w == 1
        and stride_w <= kernel_w
        and line <= MAX_LINE
    )
    comptime if strips:
        comptime slice_rows = max(1, limit // line)
        var scratch = team.scratch[vt]()
        var c = team.scratch[acc]().unsafe_offset(rows * lda)
        for tile in range(part.pixels.begin, part.pixels.end, rows):
            var here = min(rows, part.pixels.end - tile)
            var source = prepare_tile[
                dt,
                vt,
                group_in,
                kernel_h,
                kernel_w,
                stride_h,
                stride_w,
                pad_h,
                pad_w,
                dilation_h,
                rows,
                lda,
            ](x, out_h, out_w, tile, here, scratch)
            for p in range(part.panels.begin, part.panels.end):
                var cols = min(panel, group_out - p * panel)
                touch_tile[lanes](
                    tile, here, image_pixels, p * panel, cols, ahead
                )
                for kh in range(0, kernel_h, slice_rows):
                    multiply_source[
                        acc, wt, rows, panel, stride_w * group_in, lda
                    ](
                        source,
                        kh,
                        min(slice_rows, kernel_h - kh),
                        line,
                        here,
                        weights.unsafe_offset((p * depth + kh * line) * panel),
                        c,
                    )
                store_tile[acc, panel, S](
                    c,
                    tile,
                    here,
                    image_pixels,
                    p * panel,
                    cols,
                    store,
                )
        return

    # Rows 4096 bytes apart fall on the same set of the L1 cache, which holds 8: then they are
    # gathered (1024 channels to 256: 64 % of the peak in place, 94 % gathered).
    var direct = False
    comptime if pointwise and in_channels * size_of[vt]() % 4096 != 0:
        direct = (
            x.sw == in_channels
            and x.sh == x.width * x.sw
            and (x.sn == x.height * x.sh or x.count == 1)
        )
    var a_block = team.scratch[vt]()
    var c_block = team.scratch[acc]().unsafe_offset(tiles * rows * lda)
    var panel_index = part.panels.begin
    while panel_index < part.panels.end:
        var group = panel_index // group_panels
        var group_end = min(part.panels.end, (group + 1) * group_panels)
        var view = x
        view.data = x.data.unsafe_offset(group * group_in)
        for block in range(part.pixels.begin, part.pixels.end, tiles * rows):
            var block_rows = min(part.pixels.end - block, tiles * rows)
            var whole_rows = block_rows // rows * rows
            var gather_from = 0
            comptime if pointwise:
                if direct:
                    gather_from = whole_rows
            if gather_from < block_rows:
                gather_rows[
                    dt,
                    vt,
                    group_in,
                    kernel_h,
                    kernel_w,
                    stride_h,
                    stride_w,
                    pad_h,
                    pad_w,
                    dilation_h,
                    dilation_w,
                    lda,
                ](
                    view,
                    out_h,
                    out_w,
                    block + gather_from,
                    block_rows - gather_from,
                    a_block.unsafe_offset(gather_from * lda),
                )
                # The last tile is computed whole: no stale denormals in its spare rows.
                if whole_rows < block_rows:
                    zero_run(
                        a_block.unsafe_offset(block_rows * lda),
                        (whole_rows + rows - block_rows) * lda,
                    )
            for p in range(panel_index, group_end):
                var col = (p - group * group_panels) * panel
                var cols = min(panel, group_out - col)
                for s in range(slices):
                    var k = s * slice_depth
                    var b = weights.unsafe_offset((p * depth + k) * panel)
                    var length = min(slice_depth, depth - k)
                    for row in range(0, block_rows, rows):
                        var c = c_block
                        comptime if slices > 1:
                            c = c_block.unsafe_offset(row * panel)
                        var a = a_block.unsafe_offset(row * lda + k)
                        var here = min(rows, block_rows - row)
                        if s == slices - 1:
                            touch_tile[lanes](
                                block + row,
                                here,
                                image_pixels,
                                group * group_out + col,
                                cols,
                                ahead,
                            )
                        if here <= half:
                            multiply_tile[acc, wt, half, panel, lda](
                                a, b, c, length, s == 0
                            )
                        else:
                            var gathered = True
                            comptime if pointwise:
                                if direct and row < whole_rows:
                                    gathered = False
                                    multiply_tile[
                                        acc, wt, rows, panel, in_channels
                                    ](
                                        view.data.unsafe_bitcast[
                                            Scalar[vt]
                                        ]().unsafe_offset(
                                            (block + row) * in_channels + k
                                        ),
                                        b,
                                        c,
                                        length,
                                        s == 0,
                                    )
                            if gathered:
                                multiply_tile[acc, wt, rows, panel, lda](
                                    a, b, c, length, s == 0
                                )
                        if s == slices - 1:
                            store_tile[acc, panel, S](
                                c,
                                block + row,
                                here,
                                image_pixels,
                                group * group_out + col,
                                cols,
                                store,
                            )
        panel_index = group_end
