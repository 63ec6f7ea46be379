"""Checks conv2d against a naive loop; inputs are exact, so results must be equal."""

from std.sys import simd_width_of
from std.testing import assert_equal

from maccel.conv import conv2d
from maccel.amx import has_amx
from maccel.conv_pairs import conv2d_odd_pairs, conv2d_pairs
from maccel.conv_tiles import conv2d_gathered
from maccel.image import ImageView
from maccel.memory import touch_to_write
from maccel.pairs import has_pairs
from maccel.team import Team
from maccel.types import Ptr
from maccel.winograd import conv2d_winograd

from team_fixture import buffer, control_block, filled, tiles_permitted


def check[
    dt: DType,
    ic: Int,
    oc: Int,
    kh: Int,
    kw: Int,
    stride: Int,
    pad: Int,
    dilation: Int,
    groups: Int,
    vectors: Int,
    pairs: Bool = False,
    winograd: Bool = False,
    gathered: Bool = False,
    odd: Bool = False,
](
    count: Int, height: Int, width: Int, padded_pixel: Int, team_size: Int
) raises:
    comptime acc = DType.float64 if dt == DType.float64 else DType.float32
    comptime panel = vectors * simd_width_of[acc]()
    comptime gi = ic // groups
    comptime go = oc // groups
    comptime panels = (go + panel - 1) // panel
    comptime depth = kh * kw * gi
    var sw = ic + padded_pixel
    var oh = (height + 2 * pad - dilation * (kh - 1) - 1) // stride + 1
    var ow = (width + 2 * pad - dilation * (kw - 1) - 1) // stride + 1
    var x = filled[dt](count * height * width * sw, 1)
    var w = filled[dt](oc * depth, 2)
    comptime stored = (depth + 31) // 32 * 32 if gathered else (
        depth + depth % 2 if odd else depth
    )
    var packed = buffer[dt](groups * panels * stored * panel)
    for i in range(groups * panels * stored * panel):
        packed[unsafe_offset=i] = 0
    for o in range(oc):
        var at = (o // go * panels + o % go // panel) * stored
        for k in range(depth):
            var place = (at + k) * panel + o % go % panel
            comptime if pairs:
                place = (at + k - k % 2) * panel + 2 * (o % go % panel) + k % 2
            packed[unsafe_offset=place] = w[unsafe_offset=o * depth + k]
    var y = buffer[acc](count * oh * ow * oc)
    for i in range(count * oh * ow * oc):
        y[unsafe_offset=i] = -1000

    def store[lanes: Int](n: Int, p: Int, col: Int, v: SIMD[acc, lanes]) {imm}:
        y.unsafe_store((n * oh * ow + p) * oc + col, v)

    def ahead[lanes: Int](n: Int, p: Int, col: Int) {imm}:
        touch_to_write(y, (n * oh * ow + p) * oc + col)

    var view = ImageView[dt](
        x, count, height, width, height * width * sw, width * sw, sw
    )
    var block = control_block(team_size, 4 << 20)
    for tid in range(team_size):
        comptime if winograd:
            conv2d_winograd[acc, dt, ic, oc, pad, pad, panel](
                Team(block, tid),
                rebind[ImageView[acc]](view),
                packed,
                oh,
                ow,
                store,
            )
            continue
        comptime if odd:
            comptime H = DType.bfloat16
            conv2d_odd_pairs[
                acc,
                ic,
                oc,
                kh,
                kw,
                stride,
                stride,
                pad,
                pad,
                dilation,
                dilation,
                panel,
            ](
                Team(block, tid),
                rebind[ImageView[H]](view),
                Ptr[H](unsafe_from_address=Int(packed)),
                oh,
                ow,
                store,
            )
            continue
        comptime if gathered:
            comptime H = DType.bfloat16
            conv2d_gathered[
                acc,
                ic,
                oc,
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
                rebind[ImageView[H]](view),
                Ptr[H](unsafe_from_address=Int(packed)),
                oh,
                ow,
                store,
            )
            continue
        comptime if pairs:
            comptime H = DType.bfloat16
            conv2d_pairs[
                acc,
                ic,
                oc,
                kh,
                kw,
                stride,
                stride,
                pad,
                pad,
                dilation,
                dilation,
                groups,
                panel,
            ](
                Team(block, tid),
                ImageView[H](
                    Ptr[H](unsafe_from_address=Int(x)),
                    count,
                    height,
                    width,
                    height * width * sw,
                    width * sw,
                    sw,
                ),
                Ptr[H](unsafe_from_address=Int(packed)),
                oh,
                ow,
                store,
                ahead,
            )
            continue
        conv2d[
            dt,
            acc,
            dt,
            ic,
            oc,
            kh,
            kw,
            stride,
            stride,
            pad,
            pad,
            dilation,
            dilation,
            groups,
            panel,
        ](
            Team(block, tid),
            view,
            packed,
            oh,
            ow,
            store,
            ahead,
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
                        var k = (o * kh + r) * kw + s
                        for c in range(gi):
                            sum += (
                                x[unsafe_offset=at + o // go * gi + c].cast[
                                    acc
                                ]()
                                * w[unsafe_offset=k * gi + c].cast[acc]()
                            )
                assert_equal(y[unsafe_offset=(n * oh * ow + p) * oc + o], sum)


def test_dense_3x3() raises:
    comptime F = DType.float32
    for team_size in range(1, 4):
        check[F, 5, 37, 3, 3, 1, 1, 1, 1, 2](2, 6, 7, 0, team_size)
    check[F, 5, 37, 3, 3, 1, 1, 1, 1, 2](1, 1, 1, 0, 2)
    check[F, 5, 37, 3, 3, 1, 1, 1, 1, 2](3, 15, 16, 4, 4)
    check[F, 5, 37, 3, 3, 1, 1, 1, 1, 2](0, 4, 4, 0, 2)


def test_strides_dilation_and_groups() raises:
    comptime F = DType.float32
    check[F, 12, 40, 3, 2, 2, 2, 2, 4, 1](2, 9, 10, 0, 2)
    check[F, 3, 33, 7, 7, 2, 3, 1, 1, 2](1, 23, 22, 0, 3)


def test_strips_with_padding_and_pixel_gaps() raises:
    comptime F = DType.float32
    check[F, 3, 33, 7, 7, 2, 3, 1, 1, 2](2, 9, 63, 0, 3)
    check[F, 3, 33, 7, 7, 2, 3, 1, 1, 2](1, 12, 63, 1, 2)
    check[DType.bfloat16, 4, 16, 3, 5, 1, 2, 1, 1, 1](1, 4, 31, 0, 2)


def test_pointwise_dense_and_strided() raises:
    comptime F = DType.float32
    for pixels in range(13, 16):
        check[F, 24, 48, 1, 1, 1, 0, 1, 1, 3](1, 1, pixels, 0, 2)
    check[F, 24, 48, 1, 1, 1, 0, 1, 1, 3](2, 7, 9, 8, 2)
    check[F, 24, 48, 1, 1, 1, 0, 1, 1, 3](2, 7, 9, 0, 2)


def test_long_reduction() raises:
    check[DType.float32, 401, 20, 3, 3, 1, 1, 1, 1, 2](1, 4, 5, 0, 2)


def test_pairs_of_bfloat16() raises:
    comptime if has_pairs():
        if not tiles_permitted():
            return
        comptime H = DType.bfloat16
        check[H, 6, 37, 3, 3, 1, 1, 1, 1, 2, True](2, 6, 7, 0, 3)
        check[H, 12, 40, 3, 2, 2, 2, 2, 2, 1, True](2, 9, 10, 2, 2)
        check[H, 4, 16, 3, 5, 1, 2, 1, 1, 1, True](1, 4, 31, 0, 2)
        check[H, 24, 48, 1, 1, 1, 0, 1, 1, 3, True](2, 7, 9, 0, 2)
        check[H, 24, 48, 1, 1, 2, 0, 1, 1, 3, True](2, 7, 9, 8, 2)
        check[H, 402, 20, 3, 3, 1, 1, 1, 1, 2, True](1, 4, 5, 0, 2)
        check[H, 3, 40, 7, 7, 2, 3, 1, 1, 2, True, odd=True](2, 19, 23, 0, 3)
        check[H, 3, 40, 3, 3, 2, 1, 1, 1, 3, True, odd=True](1, 14, 15, 5, 2)
        check[H, 1, 20, 4, 4, 1, 1, 1, 1, 2, True, odd=True](1, 3, 3, 0, 4)
        check[H, 7, 33, 3, 3, 1, 2, 2, 1, 2, True, odd=True](1, 9, 8, 0, 1)
        comptime if has_amx():
            check[H, 3, 40, 7, 7, 2, 3, 1, 1, 2, True, gathered=True](
                2, 19, 23, 0, 3
            )
            check[H, 3, 40, 3, 3, 2, 1, 1, 1, 2, True, gathered=True](
                1, 14, 15, 5, 2
            )
            check[H, 19, 7, 1, 1, 1, 0, 1, 1, 2, True, gathered=True](
                1, 5, 8, 0, 2
            )
            check[H, 7, 33, 3, 3, 1, 2, 2, 1, 2, True, gathered=True](
                1, 9, 8, 0, 1
            )
        # AMX tiles: within lines, in place or copied; gathered; a matrix; parts of a line.
        check[H, 32, 40, 3, 3, 1, 1, 1, 1, 2, True](2, 5, 28, 0, 3)
        check[H, 32, 40, 3, 3, 2, 1, 1, 1, 2, True](1, 9, 33, 0, 2)
        check[H, 32, 40, 3, 3, 1, 1, 1, 1, 2, True](2, 7, 7, 0, 2)
        check[H, 48, 70, 1, 1, 1, 0, 1, 1, 2, True](2, 7, 9, 0, 4)
        check[H, 48, 70, 1, 1, 1, 0, 1, 1, 2, True](2, 4, 13, 8, 2)
        check[H, 48, 70, 1, 1, 2, 0, 1, 1, 2, True](1, 9, 31, 0, 2)
        check[H, 512, 20, 3, 3, 1, 1, 1, 1, 2, True](1, 3, 14, 0, 2)


def test_other_types() raises:
    check[DType.float64, 6, 20, 3, 3, 1, 1, 1, 1, 2](1, 5, 6, 0, 2)
    check[DType.bfloat16, 6, 20, 1, 1, 1, 0, 1, 1, 2](1, 5, 6, 0, 2)


def test_winograd() raises:
    comptime F = DType.float32
    for team_size in range(1, 4):
        check[F, 5, 37, 3, 3, 1, 1, 1, 1, 2, winograd=True](
            2, 6, 7, 0, team_size
        )
    check[F, 5, 37, 3, 3, 1, 0, 1, 1, 3, winograd=True](3, 15, 16, 4, 2)
    check[F, 200, 20, 3, 3, 1, 1, 1, 1, 1, winograd=True](1, 9, 11, 0, 2)
    check[F, 16, 33, 3, 3, 1, 2, 1, 1, 2, winograd=True](1, 29, 30, 0, 3)
    check[F, 5, 37, 3, 3, 1, 1, 1, 1, 2, winograd=True](0, 4, 4, 0, 2)
    check[DType.float64, 6, 20, 3, 3, 1, 1, 1, 1, 2, winograd=True](
        1, 5, 6, 0, 2
    )


def main() raises:
    test_dense_3x3()
    test_strides_dilation_and_groups()
    test_strips_with_padding_and_pixel_gaps()
    test_pointwise_dense_and_strided()
    test_long_reduction()
    test_other_types()
    test_pairs_of_bfloat16()
    test_winograd()
    print("ok")
