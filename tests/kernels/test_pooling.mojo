"""Checks the poolings against naive loops over the padded window."""

from std.testing import assert_almost_equal, assert_equal, assert_true
from std.utils.numerics import nan

from maccel.image import ImageView
from maccel.pooling import (
    adaptive_avg_pool2d,
    avg_pool2d,
    max_pool2d,
    max_pool2d_with_indices,
)
from maccel.team import Team
from maccel.types import Ptr

from team_fixture import buffer, control_block, filled

comptime F = DType.float32


def check_max[
    channels: Int, kernel: Int, stride: Int, pad: Int, dilation: Int
](count: Int, height: Int, width: Int, oh: Int, ow: Int, nan_at: Int) raises:
    comptime sw = channels + 3
    var x = filled[F](count * height * width * sw, 3)
    if nan_at >= 0:
        x[unsafe_offset=nan_at] = nan[F]()
    var y = buffer[F](count * oh * ow * channels)
    var z = buffer[F](count * oh * ow * channels)
    var index = buffer[DType.int64](count * oh * ow * channels)

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * oh * ow + p) * channels + col, v)

    def store_z[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        z.unsafe_store((n * oh * ow + p) * channels + col, v)

    def store_i[
        w: Int
    ](n: Int, p: Int, col: Int, v: SIMD[DType.int64, w]) {imm}:
        index.unsafe_store((n * oh * ow + p) * channels + col, v)

    var view = ImageView[F](
        x, count, height, width, height * width * sw, width * sw, sw
    )
    var block = control_block(3, 64)
    for tid in range(3):
        max_pool2d[
            F,
            F,
            channels,
            kernel,
            kernel,
            stride,
            stride,
            pad,
            pad,
            dilation,
            dilation,
        ](Team(block, tid), view, oh, ow, store)
        max_pool2d_with_indices[
            F,
            F,
            channels,
            kernel,
            kernel,
            stride,
            stride,
            pad,
            pad,
            dilation,
            dilation,
        ](Team(block, tid), view, oh, ow, store_z, store_i)
    for i in range(count * oh * ow * channels):
        var c = i % channels
        var p = i // channels % (oh * ow)
        var n = i // channels // (oh * ow)
        var best = Float32(-1e9)
        var at = -1
        for r in range(kernel):
            for s in range(kernel):
                var ih = p // ow * stride - pad + r * dilation
                var iw = p % ow * stride - pad + s * dilation
                if 0 <= ih and ih < height and 0 <= iw and iw < width:
                    var v = x[
                        unsafe_offset=((n * height + ih) * width + iw) * sw + c
                    ]
                    if v > best or v != v:
                        best = v
                        at = ih * width + iw
        if best != best:
            assert_true(y[unsafe_offset=i] != y[unsafe_offset=i])
            assert_true(z[unsafe_offset=i] != z[unsafe_offset=i])
        else:
            assert_equal(y[unsafe_offset=i], best)
            assert_equal(z[unsafe_offset=i], best)
        assert_equal(Int(index[unsafe_offset=i]), at)


def check_avg[
    channels: Int, include: Bool, override: Int
](height: Int, width: Int, oh: Int, ow: Int) raises:
    var x = filled[F](2 * height * width * channels, 3)
    var y = buffer[F](2 * oh * ow * channels)

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * oh * ow + p) * channels + col, v)

    var view = ImageView[F](
        x,
        2,
        height,
        width,
        height * width * channels,
        width * channels,
        channels,
    )
    var block = control_block(2, 64)
    for tid in range(2):
        avg_pool2d[F, F, channels, 3, 3, 2, 2, 1, 1, include, override](
            Team(block, tid), view, oh, ow, store
        )
    for i in range(2 * oh * ow * channels):
        var p = i // channels % (oh * ow)
        var n = i // channels // (oh * ow)
        var sum = Float64(0)
        var valid = 0
        var padded = 0
        for r in range(3):
            for s in range(3):
                var ih = p // ow * 2 - 1 + r
                var iw = p % ow * 2 - 1 + s
                if ih <= height and iw <= width:
                    padded += 1
                if 0 <= ih and ih < height and 0 <= iw and iw < width:
                    var at = (n * height + ih) * width + iw
                    sum += Float64(
                        x[unsafe_offset=at * channels + i % channels]
                    )
                    valid += 1
        var divisor = override if override != 0 else (
            padded if include else valid
        )
        assert_almost_equal(
            Float64(y[unsafe_offset=i]), sum / Float64(divisor), atol=1e-6
        )


def check_adaptive[
    channels: Int
](height: Int, width: Int, oh: Int, ow: Int) raises:
    var x = filled[F](2 * height * width * channels, 3)
    var y = buffer[F](2 * oh * ow * channels)

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * oh * ow + p) * channels + col, v)

    var view = ImageView[F](
        x,
        2,
        height,
        width,
        height * width * channels,
        width * channels,
        channels,
    )
    var block = control_block(3, 64)
    for tid in range(3):
        adaptive_avg_pool2d[F, F, channels](
            Team(block, tid), view, oh, ow, store
        )
    for i in range(2 * oh * ow * channels):
        var p = i // channels % (oh * ow)
        var n = i // channels // (oh * ow)
        var sum = Float64(0)
        var valid = 0
        for ih in range(height):
            for iw in range(width):
                # Pixel ih belongs to window j where floor(j*s/o) <= ih < ceil((j+1)*s/o).
                if (
                    ih * oh >= (p // ow) * height - oh + 1
                    and ih * oh < (p // ow + 1) * height
                    and iw * ow >= (p % ow) * width - ow + 1
                    and iw * ow < (p % ow + 1) * width
                ):
                    var at = (n * height + ih) * width + iw
                    sum += Float64(
                        x[unsafe_offset=at * channels + i % channels]
                    )
                    valid += 1
        assert_almost_equal(
            Float64(y[unsafe_offset=i]), sum / Float64(valid), atol=1e-6
        )


def main() raises:
    check_max[70, 3, 2, 1, 1](2, 9, 12, 5, 6, -1)
    check_max[70, 3, 2, 1, 1](1, 9, 12, 5, 6, 500)
    check_max[70, 3, 2, 1, 1](1, 1, 1, 1, 1, -1)
    check_max[70, 3, 2, 1, 1](0, 4, 4, 2, 2, -1)
    # ceil_mode: the last window starts inside and ends beyond the image
    check_max[5, 2, 2, 0, 1](1, 5, 7, 3, 4, -1)
    check_max[17, 3, 1, 1, 2](1, 8, 9, 6, 7, -1)
    check_avg[35, True, 0](9, 12, 5, 6)
    check_avg[35, True, 0](10, 13, 6, 7)
    check_avg[35, False, 0](9, 12, 5, 6)
    check_avg[64, True, 5](9, 12, 5, 6)
    check_adaptive[70](7, 7, 1, 1)
    check_adaptive[70](10, 13, 4, 7)
    check_adaptive[70](2, 3, 5, 6)
    print("ok")
