"""How convolutions hand finished tiles to the epilogue, and prepare its memory."""

from std.sys import simd_width_of

from maccel.types import Ptr


@always_inline
def store_tile[
    acc: DType,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    c: Ptr[acc],
    first_pixel: Int,
    rows: Int,
    image_pixels: Int,
    col: Int,
    cols: Int,
    store: S,
):
    """Hands a finished tile to the epilogue, row by row."""
    comptime lanes = simd_width_of[acc]()
    var n = first_pixel // image_pixels
    var pixel = first_pixel % image_pixels
    for i in range(rows):
        var row = c.unsafe_offset(i * panel)
        if cols == panel:
            comptime for j in range(panel // lanes):
                store[lanes](
                    n,
                    pixel,
                    col + j * lanes,
                    row.unsafe_load[width=lanes](j * lanes),
                )
        else:
            var j = 0
            while j + lanes <= cols:
                store[lanes](n, pixel, col + j, row.unsafe_load[width=lanes](j))
                j += lanes
            while j < cols:
                store[1](n, pixel, col + j, row.unsafe_load[width=1](j))
                j += 1
        pixel += 1
        if pixel == image_pixels:
            pixel = 0
            n += 1


@always_inline
def touch_tile[
    lanes: Int, A: def[w: Int](Int, Int, Int) -> None
](
    first_pixel: Int,
    rows: Int,
    image_pixels: Int,
    col: Int,
    cols: Int,
    ahead: A,
):
    """Brings to the cache what the epilogue of a tile will read and write, while it is summed.

    A tile's rows are short pieces of long ones, which the processor does not foresee. Measured on 64
    to 256 channels of 8 x 56x56 pixels with a residual, 51 MB: 1.15 times as fast, where the result
    overwrites the residual 1.27 times (2 threads of a Zen 4).
    """
    var n = first_pixel // image_pixels
    var pixel = first_pixel % image_pixels
    for _ in range(rows):
        for j in range(0, cols, lanes):
            ahead[lanes](n, pixel, col + j)
        pixel += 1
        if pixel == image_pixels:
            pixel = 0
            n += 1
