"""Resampling of channels-last images: nearest, bilinear and bicubic.

Positions follow PyTorch's arithmetic step by step, in the types it uses, because a rounding
elsewhere picks another pixel: nearest computes in float32 whatever the image's type, the
others in the type of the values.
"""

from std.math import floor, fma
from std.sys import simd_width_of

from maccel.image import ImageView
from maccel.loops import lanes
from maccel.team import Team


@always_inline
def source_step[
    acc: DType, align_corners: Bool
](size: Int, out_size: Int, scale: Float64) -> Scalar[acc]:
    """Returns input pixels per output pixel: from corner to corner, from the scale factor if given
    (above 0), or from the sizes."""
    comptime if align_corners:
        if out_size <= 1:
            return 0
        return Scalar[acc](size - 1) / Scalar[acc](out_size - 1)
    else:
        if scale > 0:
            return (1.0 / scale).cast[acc]()
        return Scalar[acc](size) / Scalar[acc](max(out_size, 1))


@always_inline
def source_position[
    acc: DType, align_corners: Bool
](at: Int, step: Scalar[acc]) -> Scalar[acc]:
    """Returns the position in the input of output pixel `at`, possibly below 0.
    """
    comptime if align_corners:
        return step * Scalar[acc](at)
    else:
        return step * (Scalar[acc](at) + 0.5) - 0.5


@always_inline
def nearest_pixel[
    exact: Bool
](at: Int, size: Int, out_size: Int, step: Float32) -> Int:
    """Returns the input pixel that output pixel `at` copies."""
    comptime if exact:
        var position = (Float64(at) + 0.5) * step.cast[DType.float64]()
        return min(Int(floor(position.cast[DType.float32]())), size - 1)
    else:
        if out_size == size:
            return at
        if out_size == 2 * size:
            return at >> 1
        return min(Int(floor(Float32(at) * step)), size - 1)


@fieldwise_init
struct LinearTaps[acc: DType](Copyable, Movable, TrivialRegisterPassable):
    """The two input pixels around a position and their weights."""

    var i0: Int
    var i1: Int
    var w0: Scalar[Self.acc]
    var w1: Scalar[Self.acc]


@always_inline
def linear_taps[
    acc: DType, align_corners: Bool
](at: Int, size: Int, out_size: Int, step: Scalar[acc]) -> LinearTaps[acc]:
    """Returns the taps of linear interpolation for output pixel `at`."""
    if out_size == size:
        return LinearTaps[acc](at, at, 1, 0)
    var position = max(source_position[acc, align_corners](at, step), 0)
    var i0 = min(Int(floor(position)), size - 1)
    var w1 = min(max(position - Scalar[acc](i0), 0), 1)
    return LinearTaps[acc](i0, min(i0 + 1, size - 1), 1 - w1, w1)


@fieldwise_init
struct CubicTaps[acc: DType](Copyable, Movable, TrivialRegisterPassable):
    """The first of four input pixels around a position (before clamping) and their weights.
    """

    var first: Int
    var weights: SIMD[Self.acc, 4]

    @always_inline
    def pixel(self, tap: Int, size: Int) -> Int:
        """Returns the pixel of a tap, clamped to the image."""
        return max(0, min(self.first + tap, size - 1))


@always_inline
def cubic_taps[
    acc: DType, align_corners: Bool
](at: Int, step: Scalar[acc]) -> CubicTaps[acc]:
    """Returns the taps of cubic convolution (Keys 1981, a = -0.75) for output pixel `at`.
    """
    comptime a = Scalar[acc](-0.75)
    var position = source_position[acc, align_corners](at, step)
    var below = floor(position)
    var t = position - below
    var u = 1 - t
    # Distances 1 + t and 1 + u lie in the outer piece of the kernel, t and u in the inner.
    var far = SIMD[acc, 2](t + 1, u + 1)
    var near = SIMD[acc, 2](t, u)
    var outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    var inner = ((a + 2) * near - (a + 3)) * near * near + 1
    return CubicTaps[acc](
        Int(below) - 1, SIMD[acc, 4](outer[0], inner[0], inner[1], outer[1])
    )


@always_inline
def each_row[
    Body: def(Int, Int, Int, Int) -> None
](team: Team, count: Int, out_h: Int, out_w: Int, body: Body):
    """Calls `body(n, oh, first, end)` for the stretches of rows in this thread's share of pixels.
    """
    var mine = team.share(count * out_h * out_w)
    var item = mine.begin
    while item < mine.end:
        var row = item // out_w
        var first = item - row * out_w
        var end = min(out_w, first + mine.end - item)
        body(row // out_h, row % out_h, first, end)
        item += end - first


@always_inline
def upsample_nearest2d[
    dt: DType,
    acc: DType,
    channels: Int,
    exact: Bool,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    out_h: Int,
    out_w: Int,
    scale_h: Float64,
    scale_w: Float64,
    store: S,
):
    """Copies the nearest input pixel (PyTorch `aten.upsample_nearest2d`, `_upsample_nearest_exact2d`).

    The pixel is `floor(i * s)`, or `floor((i + 0.5) * s)` if `exact`, with s input pixels per
    output pixel.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values.
        channels: Channels.
        exact: Use pixel centres.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        scale_h: The vertical scale factor the user gave, or 0 if a size was given.
        scale_w: The horizontal scale factor, or 0.
        store: Epilogue.
    """
    var step_h = source_step[DType.float32, False](x.height, out_h, scale_h)
    var step_w = source_step[DType.float32, False](x.width, out_w, scale_w)

    @always_inline
    def row(n: Int, oh: Int, first: Int, end: Int) {imm} -> None:
        var ih = nearest_pixel[exact](oh, x.height, out_h, step_h)
        var line = x.data.unsafe_offset(n * x.sn + ih * x.sh)
        for ow in range(first, end):
            var iw = nearest_pixel[exact](ow, x.width, out_w, step_w)
            var p = line.unsafe_offset(iw * x.sw)

            @always_inline
            def body[w: Int](c: Int) {imm} -> None:
                store[w](
                    n,
                    oh * out_w + ow,
                    c,
                    p.unsafe_load[width=w](c).cast[acc](),
                )

            lanes[simd_width_of[acc]()](0, channels, body)

    each_row(team, x.count, out_h, out_w, row)


@always_inline
def upsample_bilinear2d[
    dt: DType,
    acc: DType,
    channels: Int,
    align_corners: Bool,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    out_h: Int,
    out_w: Int,
    scale_h: Float64,
    scale_w: Float64,
    store: S,
):
    """Interpolates linearly between four input pixels (PyTorch `aten.upsample_bilinear2d`).

    Parameters:
        dt: Stored type of the input.
        acc: Type of values, a floating-point type.
        channels: Channels.
        align_corners: Corner pixels map to corner pixels.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        scale_h: The vertical scale factor the user gave, or 0 if a size was given.
        scale_w: The horizontal scale factor, or 0.
        store: Epilogue.
    """
    var step_h = source_step[acc, align_corners](x.height, out_h, scale_h)
    var step_w = source_step[acc, align_corners](x.width, out_w, scale_w)

    @always_inline
    def row(n: Int, oh: Int, first: Int, end: Int) {imm} -> None:
        var v = linear_taps[acc, align_corners](oh, x.height, out_h, step_h)
        var above = x.data.unsafe_offset(n * x.sn + v.i0 * x.sh)
        var below = x.data.unsafe_offset(n * x.sn + v.i1 * x.sh)
        for ow in range(first, end):
            var h = linear_taps[acc, align_corners](ow, x.width, out_w, step_w)
            var p00 = above.unsafe_offset(h.i0 * x.sw)
            var p01 = above.unsafe_offset(h.i1 * x.sw)
            var p10 = below.unsafe_offset(h.i0 * x.sw)
            var p11 = below.unsafe_offset(h.i1 * x.sw)
            var w00 = v.w0 * h.w0
            var w01 = v.w0 * h.w1
            var w10 = v.w1 * h.w0
            var w11 = v.w1 * h.w1

            @always_inline
            def body[w: Int](c: Int) {imm} -> None:
                comptime V = SIMD[acc, w]
                var s = p00.unsafe_load[width=w](c).cast[acc]() * V(w00)
                s = fma(p01.unsafe_load[width=w](c).cast[acc](), V(w01), s)
                s = fma(p10.unsafe_load[width=w](c).cast[acc](), V(w10), s)
                s = fma(p11.unsafe_load[width=w](c).cast[acc](), V(w11), s)
                store[w](n, oh * out_w + ow, c, s)

            lanes[simd_width_of[acc]()](0, channels, body)

    each_row(team, x.count, out_h, out_w, row)


@always_inline
def upsample_bicubic2d[
    dt: DType,
    acc: DType,
    channels: Int,
    align_corners: Bool,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    out_h: Int,
    out_w: Int,
    scale_h: Float64,
    scale_w: Float64,
    store: S,
):
    """Interpolates with cubic convolution over 4x4 pixels (PyTorch `aten.upsample_bicubic2d`).

    Parameters:
        dt: Stored type of the input.
        acc: Type of values, a floating-point type.
        channels: Channels.
        align_corners: Corner pixels map to corner pixels.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        scale_h: The vertical scale factor the user gave, or 0 if a size was given.
        scale_w: The horizontal scale factor, or 0.
        store: Epilogue.
    """
    var step_h = source_step[acc, align_corners](x.height, out_h, scale_h)
    var step_w = source_step[acc, align_corners](x.width, out_w, scale_w)

    @always_inline
    def row(n: Int, oh: Int, first: Int, end: Int) {imm} -> None:
        var v = cubic_taps[acc, align_corners](oh, step_h)
        for ow in range(first, end):
            var h = cubic_taps[acc, align_corners](ow, step_w)

            @always_inline
            def body[w: Int](c: Int) {imm} -> None:
                comptime V = SIMD[acc, w]
                var sum = V(0)
                comptime for i in range(4):
                    var line = x.data.unsafe_offset(
                        n * x.sn + v.pixel(i, x.height) * x.sh + c
                    )
                    var across = V(0)
                    comptime for j in range(4):
                        var p = line.unsafe_offset(h.pixel(j, x.width) * x.sw)
                        across = fma(
                            p.unsafe_load[width=w](0).cast[acc](),
                            V(h.weights[j]),
                            across,
                        )
                    sum = fma(across, V(v.weights[i]), sum)
                store[w](n, oh * out_w + ow, c, sum)

            lanes[simd_width_of[acc]()](0, channels, body)

    each_row(team, x.count, out_h, out_w, row)
