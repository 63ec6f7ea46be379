"""Checks conv3d against a naive loop; inputs are exact, so results must be equal."""

from std.sys import simd_width_of
from std.testing import assert_equal

from maccel.conv3d import VolumeView, conv3d
from maccel.image import ImageView
from maccel.team import Team

from team_fixture import buffer, control_block, filled

comptime F = DType.float32


def check[
    ic: Int,
    oc: Int,
    kernel: Int,
    stride: Int,
    pad: Int,
    dilation: Int,
    groups: Int,
](count: Int, depth: Int, height: Int, width: Int, team_size: Int) raises:
    comptime panel = simd_width_of[F]()
    comptime gi = ic // groups
    comptime go = oc // groups
    comptime panels = (go + panel - 1) // panel
    comptime taps = kernel * kernel * kernel
    var reach = dilation * (kernel - 1) + 1 - 2 * pad
    var od = (depth - reach) // stride + 1
    var oh = (height - reach) // stride + 1
    var ow = (width - reach) // stride + 1
    var x = filled[F](count * depth * height * width * ic, 1)
    var w = filled[F](oc * taps * gi, 2)
    var packed = buffer[F](groups * panels * taps * gi * panel)
    for o in range(oc):
        for k in range(taps * gi):
            var at = (o // go * panels + o % go // panel) * taps * gi + k
            packed[unsafe_offset=at * panel + o % go % panel] = w[
                unsafe_offset=o * taps * gi + k
            ]
    var pixels = od * oh * ow
    var y = buffer[F](count * pixels * oc)

    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * pixels + p) * oc + col, v)

    var plane = height * width * ic
    var view = VolumeView[F](
        ImageView[F](x, count, height, width, plane, width * ic, ic),
        depth,
        depth * plane,
    )
    var block = control_block(team_size, 1 << 20)
    for tid in range(team_size):
        conv3d[
            F,
            F,
            F,
            ic,
            oc,
            kernel,
            kernel,
            kernel,
            stride,
            stride,
            stride,
            pad,
            pad,
            pad,
            dilation,
            dilation,
            dilation,
            groups,
            panel,
        ](Team(block, tid), view, packed, od, oh, ow, store)
    for i in range(count * pixels * oc):
        var o = i % oc
        var p = i // oc % pixels
        var n = i // oc // pixels
        var sum = Float32(0)
        for k in range(taps):
            var d = p // (oh * ow) * stride - pad
            var h = p // ow % oh * stride - pad
            var v = p % ow * stride - pad
            d += k // (kernel * kernel) * dilation
            h += k // kernel % kernel * dilation
            v += k % kernel * dilation
            if d < 0 or d >= depth or h < 0 or h >= height:
                continue
            if v < 0 or v >= width:
                continue
            var at = ((n * depth + d) * height + h) * width + v
            for c in range(gi):
                sum += (
                    x[unsafe_offset=at * ic + o // go * gi + c]
                    * w[unsafe_offset=(o * taps + k) * gi + c]
                )
        assert_equal(y[unsafe_offset=i], sum)


def main() raises:
    check[5, 19, 3, 1, 1, 1, 1](2, 4, 5, 6, 3)
    check[20, 18, 3, 2, 2, 2, 2](1, 7, 8, 6, 2)
    check[20, 18, 3, 2, 2, 2, 2](0, 7, 8, 6, 2)
    print("ok")
