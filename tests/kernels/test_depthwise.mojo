"""Checks depthwise_conv2d and grouped_conv2d against naive loops; inputs are exact, so results must be equal."""

from std.sys import simd_width_of
from std.testing import assert_equal

from maccel.depthwise import depthwise_conv2d, grouped_conv2d
from maccel.image import ImageView
from maccel.team import Team

from team_fixture import buffer, control_block, filled


def check[
    dt: DType,
    ic: Int,
    multiplier: Int,
    kh: Int,
    kw: Int,
    stride: Int,
    pad: Int,
    dilation: Int,
](
    count: Int, height: Int, width: Int, padded_pixel: Int, team_size: Int
) raises:
    comptime acc = DType.float64 if dt == DType.float64 else DType.float32
    comptime lanes = simd_width_of[acc]()
    comptime oc = ic * multiplier
    comptime taps = kh * kw
    var sw = ic + padded_pixel
    var oh = (height + 2 * pad - dilation * (kh - 1) - 1) // stride + 1
    var ow = (width + 2 * pad - dilation * (kw - 1) - 1) // stride + 1
    var x = filled[dt](count * height * width * sw, 1)
    var w = filled[dt](oc * taps, 2)
    var packed = buffer[dt]((oc + lanes) * taps)
    for o in range(oc):
        for k in range(taps):
            packed[
                unsafe_offset=(o // lanes * taps + k) * lanes + o % lanes
            ] = w[unsafe_offset=o * taps + k]
    var y = buffer[acc](count * oh * ow * oc)
    for i in range(count * oh * ow * oc):
        y[unsafe_offset=i] = -1000

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[acc, w]) {imm}:
        y.unsafe_store((n * oh * ow + p) * oc + col, v)

    var view = ImageView[dt](
        x, count, height, width, height * width * sw, width * sw, sw
    )
    var block = control_block(team_size, 64)
    for tid in range(team_size):
        depthwise_conv2d[
            dt,
            acc,
            dt,
            ic,
            multiplier,
            kh,
            kw,
            stride,
            stride,
            pad,
            pad,
            dilation,
            dilation,
        ](
            Team(block, tid),
            view,
            packed,
            oh,
            ow,
            store,
        )
    for n in range(count):
        for p in range(oh * ow):
            for o in range(oc):
                var sum = Scalar[acc](0)
                for r in range(kh):
                    for s in range(kw):
                        var ih = p // ow * stride - pad + r * dilation
                        var iw = p % ow * stride - pad + s * dilation
                        if ih < 0 or ih >= height or iw < 0 or iw >= width:
                            continue
                        var at = ((n * height + ih) * width + iw) * sw
                        sum += (
                            x[unsafe_offset=at + o // multiplier].cast[acc]()
                            * w[unsafe_offset=o * taps + r * kw + s].cast[acc]()
                        )
                assert_equal(y[unsafe_offset=(n * oh * ow + p) * oc + o], sum)


def check_grouped[
    channels: Int, group: Int, kh: Int, kw: Int, stride: Int
](height: Int, width: Int) raises:
    """Padding 1, two images."""
    comptime F = DType.float32
    comptime lanes = simd_width_of[F]()
    var oh = (height + 2 - kh) // stride + 1
    var ow = (width + 2 - kw) // stride + 1
    var x = filled[F](2 * height * width * channels, 1)
    var w = filled[F](channels * group * kh * kw, 2)
    var packed = buffer[F](channels * group * kh * kw)
    for o in range(channels):
        for c in range(group):
            for r in range(kh):
                for s in range(kw):
                    var at = ((o // lanes * kh + r) * group + c) * kw + s
                    packed[unsafe_offset=at * lanes + o % lanes] = w[
                        unsafe_offset=((o * group + c) * kh + r) * kw + s
                    ]
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
        grouped_conv2d[
            F, F, F, channels, group, kh, kw, stride, stride, 1, 1, 1, 1
        ](Team(block, tid), view, packed, oh, ow, store)
    for i in range(2 * oh * ow * channels):
        var o = i % channels
        var p = i // channels % (oh * ow)
        var n = i // channels // (oh * ow)
        var sum = Float32(0)
        for r in range(kh):
            for s in range(kw):
                var ih = p // ow * stride - 1 + r
                var iw = p % ow * stride - 1 + s
                if ih < 0 or ih >= height or iw < 0 or iw >= width:
                    continue
                var at = ((n * height + ih) * width + iw) * channels
                for c in range(group):
                    sum += (
                        x[unsafe_offset=at + o // group * group + c]
                        * w[unsafe_offset=((o * group + c) * kh + r) * kw + s]
                    )
        assert_equal(y[unsafe_offset=i], sum)


def main() raises:
    check_grouped[32, 4, 3, 3, 1](5, 17)
    check_grouped[32, 2, 3, 2, 2](5, 31)
    check_grouped[64, 16, 3, 3, 1](4, 15)
    check_grouped[64, 32, 1, 3, 1](3, 3)
    comptime F = DType.float32
    for width in range(13, 18):
        check[F, 45, 1, 3, 3, 1, 1, 1](2, 5, width, 0, 2)
    check[F, 45, 1, 3, 3, 1, 1, 1](1, 1, 1, 3, 3)
    check[F, 45, 1, 3, 3, 1, 1, 1](0, 1, 1, 3, 3)
    check[F, 96, 1, 5, 5, 2, 2, 1](1, 33, 35, 0, 3)
    check[F, 16, 1, 7, 3, 3, 2, 2](1, 30, 70, 5, 2)
    check[F, 7, 3, 3, 3, 1, 1, 1](2, 6, 20, 0, 2)
    check[DType.float64, 9, 1, 1, 9, 1, 4, 1](1, 1, 40, 0, 2)
    print("ok")
