"""Checks resampling: nearest against index tables from PyTorch, the others against naive sums."""

from std.math import floor
from std.testing import assert_almost_equal, assert_equal

from maccel.image import ImageView
from maccel.resize import (
    nearest_pixel,
    source_step,
    upsample_bicubic2d,
    upsample_bilinear2d,
    upsample_nearest2d,
)
from maccel.team import Team

from team_fixture import buffer, control_block, filled

comptime F = DType.float32


def index[
    exact: Bool
](at: Int, size: Int, out_size: Int, scale: Float64) -> Int:
    return nearest_pixel[exact](
        at, size, out_size, source_step[F, False](size, out_size, scale)
    )


def test_nearest_pixel_matches_pytorch() raises:
    # torch.nn.functional.interpolate(torch.arange(7.0)[None, None], ...)
    var by_size: Array[Int, 10] = [0, 0, 1, 2, 2, 3, 4, 4, 5, 6]
    var by_size_exact: Array[Int, 10] = [0, 1, 1, 2, 3, 3, 4, 5, 5, 6]
    var by_scale: Array[Int, 11] = [0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5]
    var by_scale_exact: Array[Int, 11] = [0, 0, 1, 2, 2, 3, 3, 4, 5, 5, 6]
    for i in range(10):
        assert_equal(index[False](i, 7, 10, 0), by_size[i])
        assert_equal(index[True](i, 7, 10, 0), by_size_exact[i])
    for i in range(11):
        assert_equal(index[False](i, 7, 11, 1.7), by_scale[i])
        assert_equal(index[True](i, 7, 11, 1.7), by_scale_exact[i])


def cubic_kernel(distance: Float64) -> Float64:
    var d = abs(distance)
    if d <= 1:
        return (1.25 * d - 2.25) * d * d + 1
    if d < 2:
        return ((-0.75 * d + 3.75) * d - 6) * d + 3
    return 0


def linear_kernel(distance: Float64) -> Float64:
    return max(0.0, 1 - abs(distance))


def check[
    channels: Int, cubic: Bool, align: Bool
](height: Int, width: Int, oh: Int, ow: Int, scale: Float64) raises:
    comptime sw = channels + 2
    var x = filled[F](2 * height * width * sw, 7)
    var y = buffer[F](2 * oh * ow * channels)

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * oh * ow + p) * channels + col, v)

    var view = ImageView[F](
        x, 2, height, width, height * width * sw, width * sw, sw
    )
    var block = control_block(3, 64)
    for tid in range(3):
        comptime if cubic:
            upsample_bicubic2d[F, F, channels, align](
                Team(block, tid), view, oh, ow, scale, scale, store
            )
        else:
            upsample_bilinear2d[F, F, channels, align](
                Team(block, tid), view, oh, ow, scale, scale, store
            )

    @always_inline
    def position(at: Int, size: Int, outs: Int) {imm} -> Float64:
        comptime if align:
            return Float64(at * (size - 1)) / Float64(max(outs - 1, 1))
        else:
            var step = 1 / scale if scale > 0 else Float64(size) / Float64(outs)
            var p = (Float64(at) + 0.5) * step - 0.5
            return p if cubic else max(p, 0.0)

    for i in range(2 * oh * ow * channels):
        var p = i // channels % (oh * ow)
        var n = i // channels // (oh * ow)
        var py = position(p // ow, height, oh)
        var px = position(p % ow, width, ow)
        var sum = Float64(0)
        for r in range(Int(floor(py)) - 1, Int(floor(py)) + 3):
            for s in range(Int(floor(px)) - 1, Int(floor(px)) + 3):
                var ih = max(0, min(r, height - 1))
                var iw = max(0, min(s, width - 1))
                var weight = linear_kernel(py - Float64(r)) * linear_kernel(
                    px - Float64(s)
                )
                comptime if cubic:
                    weight = cubic_kernel(py - Float64(r)) * cubic_kernel(
                        px - Float64(s)
                    )
                var at = ((n * height + ih) * width + iw) * sw + i % channels
                sum += weight * Float64(x[unsafe_offset=at])
        assert_almost_equal(Float64(y[unsafe_offset=i]), sum, atol=2e-5, rtol=0)


def test_nearest_copies_pixels() raises:
    var x = filled[F](3 * 4 * 35, 7)
    var y = buffer[F](6 * 8 * 35)

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(p * 35 + col, v)

    var view = ImageView[F](x, 1, 3, 4, 0, 4 * 35, 35)
    var block = control_block(2, 64)
    for tid in range(2):
        upsample_nearest2d[F, F, 35, False](
            Team(block, tid), view, 6, 8, 2, 2, store
        )
    for i in range(6 * 8 * 35):
        var p = i // 35
        var at = p // 8 // 2 * 4 + p % 8 // 2
        assert_equal(y[unsafe_offset=i], x[unsafe_offset=at * 35 + i % 35])


def main() raises:
    test_nearest_pixel_matches_pytorch()
    test_nearest_copies_pixels()
    check[21, False, False](5, 7, 10, 9, 0)
    check[21, False, False](5, 7, 8, 11, 1.7)
    check[21, False, False](1, 1, 3, 2, 0)
    check[21, False, True](5, 7, 10, 1, 0)
    check[21, True, False](5, 7, 8, 11, 1.7)
    check[21, True, True](5, 7, 4, 9, 0)
    print("ok")
