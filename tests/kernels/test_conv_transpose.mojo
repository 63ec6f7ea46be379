"""Checks conv_transpose2d against the scatter form; inputs are exact, so results must be equal."""

from std.sys import simd_width_of
from std.testing import assert_equal

from maccel.conv_transpose import conv_transpose2d
from maccel.image import ImageView
from maccel.team import Team

from team_fixture import buffer, control_block, filled

comptime F = DType.float32


def check[
    ic: Int,
    oc: Int,
    kh: Int,
    kw: Int,
    stride: Int,
    pad: Int,
    dilation: Int,
    groups: Int,
](
    count: Int, height: Int, width: Int, output_padding: Int, team_size: Int
) raises:
    comptime panel = 2 * simd_width_of[F]()
    comptime gi = ic // groups
    comptime go = oc // groups
    comptime panels = (go + panel - 1) // panel
    comptime taps = kh * kw
    var oh = (height - 1) * stride - 2 * pad + dilation * (kh - 1)
    var ow = (width - 1) * stride - 2 * pad + dilation * (kw - 1)
    oh += output_padding + 1
    ow += output_padding + 1
    var x = filled[F](count * height * width * ic, 1)
    var w = filled[F](ic * go * taps, 2)
    var packed = buffer[F](groups * panels * taps * gi * panel)
    for c in range(ic):
        for o in range(go):
            for k in range(taps):
                var at = (c // gi * panels + o // panel) * taps + k
                packed[
                    unsafe_offset=(at * gi + c % gi) * panel + o % panel
                ] = w[unsafe_offset=(c * go + o) * taps + k]
    var y = buffer[F](count * oh * ow * oc)
    var expected = buffer[F](count * oh * ow * oc)
    for i in range(count * oh * ow * oc):
        y[unsafe_offset=i] = -1000
        expected[unsafe_offset=i] = 0

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * oh * ow + p) * oc + col, v)

    var view = ImageView[F](
        x, count, height, width, height * width * ic, width * ic, ic
    )
    var block = control_block(team_size, 1 << 20)
    for tid in range(team_size):
        conv_transpose2d[
            F,
            F,
            F,
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
        ](Team(block, tid), view, packed, oh, ow, store)
    for at in range(count * height * width * ic):
        var c = at % ic
        var iw = at // ic % width
        var ih = at // ic // width % height
        var n = at // ic // width // height
        for k in range(taps):
            var r = ih * stride - pad + k // kw * dilation
            var s = iw * stride - pad + k % kw * dilation
            if r < 0 or r >= oh or s < 0 or s >= ow:
                continue
            for o in range(go):
                expected[
                    unsafe_offset=((n * oh + r) * ow + s) * oc
                    + c // gi * go
                    + o
                ] += (
                    x[unsafe_offset=at]
                    * w[unsafe_offset=(c * go + o) * taps + k]
                )
    for i in range(count * oh * ow * oc):
        assert_equal(y[unsafe_offset=i], expected[unsafe_offset=i])


def main() raises:
    check[6, 21, 3, 3, 2, 1, 1, 3](2, 5, 7, 1, 2)
    check[5, 33, 3, 3, 1, 1, 1, 1](1, 6, 17, 0, 3)
    check[5, 33, 3, 3, 1, 1, 1, 1](0, 6, 17, 0, 3)
    check[8, 20, 3, 2, 3, 2, 2, 1](1, 6, 7, 2, 2)
    # A stride beyond the kernel: some output pixels get nothing.
    check[4, 16, 1, 1, 3, 0, 1, 1](1, 3, 4, 0, 1)
    print("ok")
