"""Checks Fourier transforms against the sum that defines them, at every kind of length."""

from std.math import cos, sin
from std.testing import assert_almost_equal

from maccel.fft import fft
from maccel.team import Team

from team_fixture import buffer, control_block, filled

comptime F = DType.float64
comptime TWO_PI = 6.283185307179586


def check[forward: Bool](lines: Int, n: Int, size: Int) raises:
    var re = filled[F](lines * n, n)
    var im = filled[F](lines * n, n + 1)
    var out_re = buffer[F](lines * n)
    var out_im = buffer[F](lines * n)

    def load_re[w: Int](line: Int, k: Int) {imm} -> SIMD[F, w]:
        return re.unsafe_load[width=w](line * n + k)

    def load_im[w: Int](line: Int, k: Int) {imm} -> SIMD[F, w]:
        return im.unsafe_load[width=w](line * n + k)

    def store_re[w: Int](line: Int, k: Int, v: SIMD[F, w]) {imm}:
        out_re.unsafe_store(line * n + k, v)

    def store_im[w: Int](line: Int, k: Int, v: SIMD[F, w]) {imm}:
        out_im.unsafe_store(line * n + k, v)

    var block = control_block(size, n * 1024 + 64)
    for tid in range(size):
        fft[acc=F, forward=forward, hermitian=False, real_output=False, norm=0](
            Team(block, tid),
            lines,
            n,
            n,
            n,
            load_re,
            load_im,
            store_re,
            store_im,
        )
    for line in range(lines):
        for k in range(n):
            var sum_re = Float64(0)
            var sum_im = Float64(0)
            for j in range(n):
                var angle = TWO_PI * Float64(j * k % n) / Float64(n)
                var c = cos(angle)
                var s = -sin(angle) if forward else sin(angle)
                var a = re[unsafe_offset=line * n + j]
                var b = im[unsafe_offset=line * n + j]
                sum_re += a * c - b * s
                sum_im += a * s + b * c
            var at = line * n + k
            assert_almost_equal(out_re[unsafe_offset=at], sum_re, atol=1e-9)
            assert_almost_equal(out_im[unsafe_offset=at], sum_im, atol=1e-9)


def main() raises:
    for n in [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        12,
        15,
        16,
        35,
        61,
        64,
        67,
        101,
        120,
        134,
    ]:
        check[True](3, n, 1)
        check[False](9, n, 2)
    check[True](0, 8, 1)
    check[True](1, 240, 3)
