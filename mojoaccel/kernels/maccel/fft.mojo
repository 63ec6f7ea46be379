"""Fourier transforms of lines: complex, of real signals, and back to real signals."""

from std.math import sqrt
from std.sys import simd_width_of

from maccel.fft_passes import (
    LARGEST_RADIX,
    Signal,
    fill_roots,
    largest_factor,
    transform,
)
from maccel.team import Team
from maccel.types import Ptr

comptime SIDE_BY_SIDE = 4096
"""Longest lines that are transformed several at a time: their arrays stay in the L2 cache."""

comptime NORM_ROOT = 1
comptime NORM_FULL = 2


@always_inline
def fft[
    acc: DType,
    forward: Bool,
    hermitian: Bool,
    real_output: Bool,
    norm: Int,
    LoadRe: def[w: Int](Int, Int) -> SIMD[acc, w],
    LoadIm: def[w: Int](Int, Int) -> SIMD[acc, w],
    StoreRe: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
    StoreIm: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    lines: Int,
    n: Int,
    outputs: Int,
    points: Int,
    load_re: LoadRe,
    load_im: LoadIm,
    store_re: StoreRe,
    store_im: StoreIm,
):
    """Transforms this thread's share of lines (torch._fft_c2c, _fft_r2c, _fft_c2r).

    X[k] = scale * sum over j < n of x[j] * exp(-+ 2 pi i j k / n)

    Lengths whose prime factors are small take mixed-radix passes, several lines side by side where
    they are short; others take Bluestein's algorithm in float64. Loads of a line end before its
    stores begin, so the result may lie where the operand was.

    Parameters:
        acc: Type of values.
        forward: Sign of the exponent: minus if true.
        hermitian: Only n // 2 + 1 values of a line are read, the others are their conjugates; the
            imaginary parts of the first and the middle one count as zero.
        real_output: Only real parts are stored.
        norm: 0 no factor, 1 the root of 1 / points, 2 1 / points.
        LoadRe: `load_re[1](line, k)`.
        LoadIm: `load_im[1](line, k)`.
        StoreRe: `store_re[1](line, k, value)`.
        StoreIm: `store_im[1](line, k, value)`; not called with `real_output`.

    Args:
        team: The threads.
        lines: Number of lines.
        n: Points of a line.
        outputs: Values of a line that are stored, from the first one on.
        points: Product of all transformed sizes, for the factor.
        load_re: Real parts.
        load_im: Imaginary parts.
        store_re: Takes real parts.
        store_im: Takes imaginary parts.

    Scratch per thread: `fft_scratch` of `ops/fft.py`.
    """
    comptime W = simd_width_of[acc]()
    var mine = team.share(lines)
    if mine.begin >= mine.end or n == 0:
        return
    var scale = Float64(1)
    comptime if norm == NORM_ROOT:
        scale = 1 / sqrt(Float64(points))
    elif norm == NORM_FULL:
        scale = 1 / Float64(points)

    @always_inline
    def element_re(line: Int, k: Int) {imm} -> Scalar[acc]:
        comptime if hermitian:
            if k > n // 2:
                return load_re[1](line, n - k)[0]
        return load_re[1](line, k)[0]

    @always_inline
    def element_im(line: Int, k: Int) {imm} -> Scalar[acc]:
        comptime if hermitian:
            if k == 0 or 2 * k == n:
                return 0
            if k > n // 2:
                return -load_im[1](line, n - k)[0]
        return load_im[1](line, k)[0]

    @always_inline
    def finish(line: Int, k: Int, re: Scalar[acc], im: Scalar[acc]) {imm}:
        store_re[1](line, k, SIMD[acc, 1](re))
        comptime if not real_output:
            store_im[1](line, k, SIMD[acc, 1](im))

    if largest_factor(n) > LARGEST_RADIX:
        bluestein[acc, forward](
            team,
            mine.begin,
            mine.end,
            n,
            outputs,
            scale,
            element_re,
            element_im,
            finish,
        )
        return
    var room = team.scratch[acc]()
    var roots = Signal[acc, 1](room, room.unsafe_offset(n))
    room = room.unsafe_offset(2 * n)
    fill_roots(roots.re, roots.im, n, n, -1.0 if forward else 1.0)
    var line = mine.begin
    if n <= SIDE_BY_SIDE:
        while mine.end - line > 1:
            var count = min(W, mine.end - line)
            run_lines[acc, W, forward](
                room,
                roots,
                line,
                count,
                n,
                outputs,
                scale,
                element_re,
                element_im,
                finish,
            )
            line += count
    while line < mine.end:
        run_lines[acc, 1, forward](
            room,
            roots,
            line,
            1,
            n,
            outputs,
            scale,
            element_re,
            element_im,
            finish,
        )
        line += 1


@always_inline
def run_lines[
    acc: DType,
    L: Int,
    forward: Bool,
    LoadRe: def(Int, Int) -> Scalar[acc],
    LoadIm: def(Int, Int) -> Scalar[acc],
    Finish: def(Int, Int, Scalar[acc], Scalar[acc]) -> None,
](
    room: Ptr[acc],
    roots: Signal[acc, 1],
    line: Int,
    count: Int,
    n: Int,
    outputs: Int,
    scale: Float64,
    load_re: LoadRe,
    load_im: LoadIm,
    finish: Finish,
):
    """Transforms `count` lines side by side by mixed-radix passes."""
    var x = Signal[acc, L](room, room.unsafe_offset(n * L))
    var y = Signal[acc, L](
        room.unsafe_offset(2 * n * L), room.unsafe_offset(3 * n * L)
    )
    for lane in range(L):
        for k in range(n):
            var at = k * L + lane
            if lane < count:
                x.re[unsafe_offset=at] = load_re(line + lane, k)
                x.im[unsafe_offset=at] = load_im(line + lane, k)
            else:
                x.re[unsafe_offset=at] = 0
                x.im[unsafe_offset=at] = 0
    var sign = Scalar[acc](-1) if forward else Scalar[acc](1)
    if transform[acc, L](n, sign, x, y, roots):
        x = y
    var factor = scale.cast[acc]()
    for lane in range(count):
        for k in range(outputs):
            var at = k * L + lane
            finish(
                line + lane,
                k,
                x.re[unsafe_offset=at] * factor,
                x.im[unsafe_offset=at] * factor,
            )


@always_inline
def bluestein[
    acc: DType,
    forward: Bool,
    LoadRe: def(Int, Int) -> Scalar[acc],
    LoadIm: def(Int, Int) -> Scalar[acc],
    Finish: def(Int, Int, Scalar[acc], Scalar[acc]) -> None,
](
    team: Team,
    begin: Int,
    end: Int,
    n: Int,
    outputs: Int,
    scale: Float64,
    load_re: LoadRe,
    load_im: LoadIm,
    finish: Finish,
):
    """Transforms lines of any length as a convolution of a power of two (Bluestein 1970).

    With c[k] = exp(-+ pi i k^2 / n): X[k] = c[k] * sum over j of (x[j] c[j]) * conj(c[k - j]).
    In float64 whatever `acc` is: the convolution loses digits that float32 cannot spare.
    """
    comptime D = DType.float64
    var m = 1
    while m < 2 * n - 1:
        m *= 2
    var room = team.scratch[D]()
    var x = Signal[D, 1](room, room.unsafe_offset(m))
    var y = Signal[D, 1](room.unsafe_offset(2 * m), room.unsafe_offset(3 * m))
    var roots = Signal[D, 1](
        room.unsafe_offset(4 * m), room.unsafe_offset(5 * m)
    )
    var filter = Signal[D, 1](
        room.unsafe_offset(6 * m), room.unsafe_offset(7 * m)
    )
    var chirp = Signal[D, 1](
        room.unsafe_offset(8 * m), room.unsafe_offset(8 * m + n)
    )
    fill_roots(roots.re, roots.im, m, m, -1.0)
    # The period of k^2 is 2 n; the roots of 2 n lie in the room of the signals meanwhile.
    fill_roots(x.re, y.re, 2 * n, 2 * n, -1.0 if forward else 1.0)
    for k in range(n):
        var at = k * k % (2 * n)
        chirp.put(k, x.re[unsafe_offset=at], y.re[unsafe_offset=at])
    for k in range(m):
        x.put(k, 0, 0)
    for k in range(n):
        var re = chirp.real(k)
        var im = -chirp.imag(k)
        x.put(k, re, im)
        if k > 0:
            x.put(m - k, re, im)
    var source = y if transform[D, 1](m, -1, x, y, roots) else x
    for k in range(m):
        filter.put(k, source.real(k), source.imag(k))

    for line in range(begin, end):
        for k in range(n):
            x.put_turned(
                k,
                load_re(line, k).cast[D](),
                load_im(line, k).cast[D](),
                chirp.real(k)[0],
                chirp.imag(k)[0],
            )
        for k in range(n, m):
            x.put(k, 0, 0)
        var there = transform[D, 1](m, -1, x, y, roots)
        var a = y if there else x
        var b = x if there else y
        # Backward by exchanging real and imaginary parts, before and after.
        for k in range(m):
            a.put_turned(
                k,
                a.real(k),
                a.imag(k),
                filter.real(k)[0],
                filter.imag(k)[0],
            )
        var swapped_a = Signal[D, 1](a.im, a.re)
        var swapped_b = Signal[D, 1](b.im, b.re)
        var result = a
        if transform[D, 1](m, -1, swapped_a, swapped_b, roots):
            result = b
        var factor = scale / Float64(m)
        for k in range(outputs):
            var re = result.real(k)[0]
            var im = result.imag(k)[0]
            var c = chirp.real(k)[0]
            var d = chirp.imag(k)[0]
            finish(
                line,
                k,
                ((re * c - im * d) * factor).cast[acc](),
                ((re * d + im * c) * factor).cast[acc](),
            )
