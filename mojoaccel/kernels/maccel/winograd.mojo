"""3x3 convolution by Winograd's minimal filtering: 16 products instead of 36 for 2x2 outputs.

A tile of 2x2 output pixels reads 4x4 input pixels. With D the input, G the filter (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", 2016):

    Y = A^T [ (F G F^T) * (B^T D B) ] A      F(2x2, 3x3)

The elementwise products, summed over input channels, are 16 independent matrix products with tiles
as rows. Twice as fast as the direct sum (430 GFLOP/s of its operations where 229 is the peak, on
64 to 256 channels, 2 threads of a Zen 4). The transforms only add, subtract and halve, so the error stays close to that of the
direct sum (1.2 to 1.9 times PyTorch's, root mean square over 64 to 256 channels); F(4x4, 3x3)
would save more, but errs 4 to 12 times as much whatever its points, so it is not used.

Weights are those of `conv2d`, as packed for it, and are transformed on the way: transformed ahead
they would make artifacts larger by 7/9 and be read from memory instead of the cache. That costs
45 cycles per channel and vector of outputs beside 16 per tile.
"""

from std.sys import simd_width_of, size_of

from maccel.conv_gather import zero_run
from maccel.conv_partition import partition_tiles, row_elements
from maccel.conv_tile import multiply_tile, tile_rows
from maccel.image import ImageView
from maccel.team import Team
from maccel.types import Ptr

comptime POINTS = 16
"""Transformed values of a tile."""

comptime CHANNELS = 128
"""Most input channels whose transformed weights are kept at once (256 KB per panel of 32)."""

comptime BLOCK_BYTES = 1 << 21
"""Transformed input that a thread keeps. More than the L2 cache of 1 MB: its rows are read in order,
at 2 bytes a cycle, while a transformed panel of weights is used for more tiles. Measured against
half as much: 1.1 times as fast on 256 channels of 32x32 pixels, 1.15 times on 512 of 8 x 7x7."""

comptime BLOCK_TILES = 8
"""Most register tiles in a block."""


@always_inline
def block_tiles[acc: DType, channels: Int, panel: Int]() -> Int:
    """Returns how many register tiles of transformed input a thread keeps at once.
    """
    comptime bytes = POINTS * row_elements[acc, channels]() * tile_rows[
        acc, panel
    ]() * size_of[acc]()
    return max(2, min(BLOCK_TILES, BLOCK_BYTES // bytes))


@always_inline
def chunk_channels[channels: Int]() -> Int:
    """Returns how many input channels are summed in one chain."""
    comptime chunks = (channels + CHANNELS - 1) // CHANNELS
    return ((channels + chunks - 1) // chunks + 3) // 4 * 4


@always_inline
def plane[acc: DType](elements: Int) -> Int:
    """Returns the distance of two planes of `elements`: not a multiple of the L1 cache's stride,
    as the 16 planes are written side by side."""
    comptime line = 64 // size_of[acc]()
    return ((elements + line - 1) // line | 1) * line


@no_inline
def transform_input[
    acc: DType, channels: Int
](
    x: ImageView[acc],
    across: Int,
    down: Int,
    pad_h: Int,
    pad_w: Int,
    first: Int,
    count: Int,
    zeros: Ptr[acc],
    target: Ptr[acc],
    target_row: Int,
    target_plane: Int,
):
    """Writes B^T D B of `count` tiles, `target[point][tile][channel]`.

    Args:
        x: Input.
        across: Tiles in a row of tiles.
        down: Rows of tiles of an image.
        pad_h: Rows of zeros above.
        pad_w: Columns of zeros at the left.
        first: First tile, counted over the batch.
        count: Number of tiles.
        zeros: As many zeros as there are channels, for pixels outside the image.
        target: Result.
        target_row: Elements between tiles.
        target_plane: Elements between points.
    """
    comptime W = simd_width_of[acc]()
    for t in range(count):
        var tile = first + t
        var n = tile // (across * down)
        var ih0 = tile // across % down * 2 - pad_h
        var iw0 = tile % across * 2 - pad_w
        var pixels = Array[Ptr[acc], POINTS](fill=zeros)
        comptime for i in range(4):
            comptime for j in range(4):
                if (
                    ih0 + i >= 0
                    and ih0 + i < x.height
                    and iw0 + j >= 0
                    and iw0 + j < x.width
                ):
                    pixels[i * 4 + j] = x.data.unsafe_offset(
                        n * x.sn + (ih0 + i) * x.sh + (iw0 + j) * x.sw
                    )
        var row = target.unsafe_offset(t * target_row)

        @always_inline
        def transform[w: Int](c: Int) {imm}:
            # Along the rows first: 8 vectors live at a time.
            var half = Array[SIMD[acc, w], POINTS](fill=SIMD[acc, w](0))
            comptime for i in range(4):
                var d0 = pixels[i * 4].unsafe_load[width=w](c)
                var d1 = pixels[i * 4 + 1].unsafe_load[width=w](c)
                var d2 = pixels[i * 4 + 2].unsafe_load[width=w](c)
                var d3 = pixels[i * 4 + 3].unsafe_load[width=w](c)
                half[i * 4] = d0 - d2
                half[i * 4 + 1] = d1 + d2
                half[i * 4 + 2] = d2 - d1
                half[i * 4 + 3] = d1 - d3
            comptime for j in range(4):
                var at = row.unsafe_offset(j * target_plane + c)
                at.unsafe_store(0, half[j] - half[8 + j])
                at.unsafe_store(4 * target_plane, half[4 + j] + half[8 + j])
                at.unsafe_store(8 * target_plane, half[8 + j] - half[4 + j])
                at.unsafe_store(12 * target_plane, half[4 + j] - half[12 + j])

        comptime for c in range(channels // W * W, channels):
            transform[1](c)
        for c in range(0, channels // W * W, W):
            transform[W](c)


@no_inline
def transform_weights[
    acc: DType, wt: DType, panel: Int
](
    source: Ptr[wt],
    tap: Int,
    channels: Int,
    target: Ptr[acc],
    target_plane: Int,
):
    """Writes F G F^T of a panel, `target[point][channel][output]`.

    Args:
        source: The weights of the first channel and tap.
        tap: Elements between taps.
        channels: Number of channels.
        target: Result.
        target_plane: Elements between points.
    """
    comptime W = simd_width_of[acc]()
    comptime V = SIMD[acc, W]
    for at in range(0, channels * panel, W):
        var half = Array[V, 12](fill=V(0))
        comptime for s in range(3):
            var g0 = source.unsafe_load[width=W](at + s * tap).cast[acc]()
            var g1 = source.unsafe_load[width=W](at + (3 + s) * tap).cast[acc]()
            var g2 = source.unsafe_load[width=W](at + (6 + s) * tap).cast[acc]()
            var outer = (g0 + g2) * V(0.5)
            var inner = g1 * V(0.5)
            half[s] = g0
            half[3 + s] = outer + inner
            half[6 + s] = outer - inner
            half[9 + s] = g2
        comptime for i in range(4):
            var outer = (half[i * 3] + half[i * 3 + 2]) * V(0.5)
            var inner = half[i * 3 + 1] * V(0.5)
            var to = target.unsafe_offset(i * 4 * target_plane + at)
            to.unsafe_store(0, half[i * 3])
            to.unsafe_store(target_plane, outer + inner)
            to.unsafe_store(2 * target_plane, outer - inner)
            to.unsafe_store(3 * target_plane, half[i * 3 + 2])


@always_inline
def transform_output[
    acc: DType,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    sums: Ptr[acc],
    sums_plane: Int,
    across: Int,
    down: Int,
    first: Int,
    count: Int,
    out_h: Int,
    out_w: Int,
    col: Int,
    cols: Int,
    store: S,
):
    """Hands A^T M A of `count` tiles to the epilogue.

    Args:
        sums: M, `[point][tile][panel]`.
        sums_plane: Elements between points.
        across: Tiles in a row of tiles.
        down: Rows of tiles of an image.
        first: First tile, counted over the batch.
        count: Number of tiles.
        out_h: Height of the output.
        out_w: Width of the output.
        col: First output channel.
        cols: Output channels.
        store: Epilogue.
    """
    comptime W = simd_width_of[acc]()
    for t in range(count):
        var tile = first + t
        var n = tile // (across * down)
        var oh = tile // across % down * 2
        var ow = tile % across * 2
        var pixel = oh * out_w + ow
        var right = ow + 1 < out_w
        var below = oh + 1 < out_h
        var row = sums.unsafe_offset(t * panel)

        @always_inline
        def transform[w: Int](c: Int) {imm}:
            var half = Array[SIMD[acc, w], 8](fill=SIMD[acc, w](0))
            comptime for i in range(4):
                var at = row.unsafe_offset(i * 4 * sums_plane + c)
                var m0 = at.unsafe_load[width=w](0)
                var m1 = at.unsafe_load[width=w](sums_plane)
                var m2 = at.unsafe_load[width=w](2 * sums_plane)
                var m3 = at.unsafe_load[width=w](3 * sums_plane)
                half[i * 2] = m0 + m1 + m2
                half[i * 2 + 1] = m1 - m2 - m3
            store[w](n, pixel, col + c, half[0] + half[2] + half[4])
            if right:
                store[w](n, pixel + 1, col + c, half[1] + half[3] + half[5])
            if below:
                store[w](n, pixel + out_w, col + c, half[2] - half[4] - half[6])
                if right:
                    store[w](
                        n,
                        pixel + out_w + 1,
                        col + c,
                        half[3] - half[5] - half[7],
                    )

        var c = 0
        while c + W <= cols:
            transform[W](c)
            c += W
        while c < cols:
            transform[1](c)
            c += 1


@always_inline
def conv2d_winograd[
    acc: DType,
    wt: DType,
    in_channels: Int,
    out_channels: Int,
    pad_h: Int,
    pad_w: Int,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[acc],
    weights: Ptr[wt],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves channels-last images with 3x3 kernels, stride and dilation 1, in one group.

    Parameters:
        acc: Type of input, values and sums.
        wt: Stored type of the weights.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        pad_h: Rows of zeros above; those below follow from `out_h`.
        pad_w: Columns of zeros at the left; those at the right follow from `out_w`.
        panel: Output channels in a packed weight panel, a multiple of the SIMD width.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        weights: Weights as packed for `conv2d`, `[panels][3*3*in_channels][panel]`.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.

    A tile's results depend neither on the batch nor on the number of threads.
    """
    comptime rows = tile_rows[acc, panel]()
    comptime half = (rows + 1) // 2
    comptime lda = row_elements[acc, in_channels]()
    comptime block = rows * block_tiles[acc, in_channels, panel]()
    comptime chunk = chunk_channels[in_channels]()
    comptime panels = (out_channels + panel - 1) // panel
    comptime input_plane = plane[acc](block * lda)
    comptime weight_plane = plane[acc](chunk * panel)
    comptime sums_plane = plane[acc](block * panel)

    var across = (out_w + 1) // 2
    var down = (out_h + 1) // 2
    var tiles = x.count * across * down
    if tiles <= 0:
        return
    # In sixteenths of a register tile: 14 tiles of input cost 2, a panel of weights costs 3.
    var part = partition_tiles[rows](team, tiles, panels, 2, 3)
    var input = team.scratch[acc]()
    var filters = input.unsafe_offset(POINTS * input_plane)
    var sums = filters.unsafe_offset(POINTS * weight_plane)
    var zeros = sums.unsafe_offset(POINTS * sums_plane)
    zero_run(zeros, in_channels)

    for first in range(part.pixels.begin, part.pixels.end, block):
        var count = min(block, part.pixels.end - first)
        transform_input[acc, in_channels](
            x,
            across,
            down,
            pad_h,
            pad_w,
            first,
            count,
            zeros,
            input,
            lda,
            input_plane,
        )
        var rest = count % rows
        var spare = 0 if rest == 0 else (half if rest <= half else rows) - rest
        for point in range(POINTS):  # no stale denormals in spare rows
            zero_run(
                input.unsafe_offset(point * input_plane + count * lda),
                spare * lda,
            )
        for p in range(part.panels.begin, part.panels.end):
            for c in range(0, in_channels, chunk):
                var depth = min(chunk, in_channels - c)
                transform_weights[acc, wt, panel](
                    weights.unsafe_offset((p * 9 * in_channels + c) * panel),
                    in_channels * panel,
                    depth,
                    filters,
                    weight_plane,
                )
                for point in range(POINTS):
                    var a = input.unsafe_offset(point * input_plane + c)
                    var b = filters.unsafe_offset(point * weight_plane)
                    var to = sums.unsafe_offset(point * sums_plane)
                    for row in range(0, count, rows):
                        if count - row <= half:
                            multiply_tile[acc, acc, half, panel, lda](
                                a.unsafe_offset(row * lda),
                                b,
                                to.unsafe_offset(row * panel),
                                depth,
                                c == 0,
                            )
                        else:
                            multiply_tile[acc, acc, rows, panel, lda](
                                a.unsafe_offset(row * lda),
                                b,
                                to.unsafe_offset(row * panel),
                                depth,
                                c == 0,
                            )
            transform_output[acc, panel, S](
                sums,
                sums_plane,
                across,
                down,
                first,
                count,
                out_h,
                out_w,
                p * panel,
                min(panel, out_channels - p * panel),
                store,
            )
