"""Pooling of channels-last images: maxima and means over windows of pixels.

All kernels vectorise over channels; a thread takes stretches of channels of output pixels, so
that one large window (global pooling) is split as well as many small ones.
"""

from std.sys import simd_width_of
from std.utils.numerics import isnan, neg_inf

from maccel.image import ImageView
from maccel.team import Team

comptime STRETCH_VECTORS = 4
"""Channel vectors of one work item; also the vectors held in registers over a window."""


@fieldwise_init
struct Window(Copyable, Movable, TrivialRegisterPassable):
    """The valid taps of one output pixel: rows [h0, h1) and columns [w0, w1), by dilation.
    """

    var h0: Int
    var h1: Int
    var w0: Int
    var w1: Int


@always_inline
def first_tap(start: Int, dilation: Int) -> Int:
    """Moves a window's start into the image by whole dilations."""
    if start >= 0:
        return start
    return start + (-start + dilation - 1) // dilation * dilation


@always_inline
def pool_windows[
    channels: Int,
    lanes: Int,
    Body: def[w: Int, vectors: Int](Int, Int, Int, Int) -> None,
](team: Team, count: Int, out_h: Int, out_w: Int, body: Body):
    """Visits this thread's share of output pixels times channel stretches.

    Parameters:
        channels: Channels of the image.
        lanes: SIMD width.
        Body: `body[w, vectors](n, oh, ow, channel)` handles `vectors * w` channels.

    Args:
        team: The threads.
        count: Images.
        out_h: Height of the output.
        out_w: Width of the output.
        body: The kernel's work on one window.
    """
    comptime stretch = STRETCH_VECTORS * lanes
    comptime stretches = (channels + stretch - 1) // stretch
    var mine = team.share(count * out_h * out_w * stretches)
    for item in range(mine.begin, mine.end):
        var pixel = item // stretches
        var n = pixel // (out_h * out_w)
        var oh = pixel // out_w % out_h
        var ow = pixel % out_w
        var channel = item % stretches * stretch
        if channel + stretch <= channels:
            body[lanes, STRETCH_VECTORS](n, oh, ow, channel)
        else:
            while channel + lanes <= channels:
                body[lanes, 1](n, oh, ow, channel)
                channel += lanes
            comptime if channels % lanes >= 4 and lanes > 4:
                while channel + 4 <= channels:
                    body[4, 1](n, oh, ow, channel)
                    channel += 4
            comptime if channels % lanes != 0:
                while channel < channels:
                    body[1, 1](n, oh, ow, channel)
                    channel += 1


@always_inline
def max_pool2d[
    dt: DType,
    acc: DType,
    channels: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](team: Team, x: ImageView[dt], out_h: Int, out_w: Int, store: S,):
    """Takes the maximum over windows (PyTorch `aten.max_pool2d`).

    Taps in the padding do not count; a NaN in the window gives NaN. `ceil_mode` only changes the
    output size that the caller gives.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values.
        channels: Channels.
        kernel_h: Height of the window.
        kernel_w: Width of the window.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Padding above.
        pad_w: Padding at the left.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """

    @always_inline
    def body[
        w: Int, vectors: Int
    ](n: Int, oh: Int, ow: Int, channel: Int) {imm} -> None:
        comptime V = SIMD[acc, w]
        var h = oh * stride_h - pad_h
        var h_end = min(h + (kernel_h - 1) * dilation_h + 1, x.height)
        var w_begin = ow * stride_w - pad_w
        var w_end = min(w_begin + (kernel_w - 1) * dilation_w + 1, x.width)
        w_begin = first_tap(w_begin, dilation_w)
        var best = Array[V, vectors](fill=V(lowest[acc]()))
        var image = x.data.unsafe_offset(n * x.sn + channel)
        for ih in range(first_tap(h, dilation_h), h_end, dilation_h):
            for iw in range(w_begin, w_end, dilation_w):
                var p = image.unsafe_offset(ih * x.sh + iw * x.sw)
                comptime for j in range(vectors):
                    var v = p.unsafe_load[width=w](j * w).cast[acc]()
                    best[j] = larger[acc, w](v, best[j]).select(v, best[j])
        comptime for j in range(vectors):
            store[w](n, oh * out_w + ow, channel + j * w, best[j])

    pool_windows[channels, simd_width_of[acc]()](
        team, x.count, out_h, out_w, body
    )


@always_inline
def lowest[acc: DType]() -> Scalar[acc]:
    """Returns the identity of the maximum."""
    comptime if acc.is_floating_point():
        return neg_inf[acc]()
    else:
        return Scalar[acc].MIN


@always_inline
def larger[
    acc: DType, w: Int
](v: SIMD[acc, w], best: SIMD[acc, w]) -> SIMD[DType.bool, w]:
    """Tells where `v` replaces the maximum: it is larger, or NaN (PyTorch's rule).
    """
    return v.gt(best) | isnan(v)


@always_inline
def max_pool2d_with_indices[
    dt: DType,
    acc: DType,
    channels: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
    I: def[w: Int](Int, Int, Int, SIMD[DType.int64, w]) -> None,
](
    team: Team,
    x: ImageView[dt],
    out_h: Int,
    out_w: Int,
    store: S,
    store_index: I,
):
    """Takes the maximum over windows and where it is (PyTorch `aten.max_pool2d_with_indices`).

    The index is h * width + w of the first maximum, or of the last NaN.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values.
        channels: Channels.
        kernel_h: Height of the window.
        kernel_w: Width of the window.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Padding above.
        pad_w: Padding at the left.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        S: Epilogue of values, `store[w](n, oh*out_w + ow, channel, value)`.
        I: Epilogue of indices, the same with 64-bit integers.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue of values.
        store_index: Epilogue of indices.
    """

    @always_inline
    def body[
        w: Int, vectors: Int
    ](n: Int, oh: Int, ow: Int, channel: Int) {imm} -> None:
        comptime V = SIMD[acc, w]
        comptime Index = SIMD[DType.int32, w]
        var h = oh * stride_h - pad_h
        var h_end = min(h + (kernel_h - 1) * dilation_h + 1, x.height)
        var h_begin = first_tap(h, dilation_h)
        var w_begin = ow * stride_w - pad_w
        var w_end = min(w_begin + (kernel_w - 1) * dilation_w + 1, x.width)
        w_begin = first_tap(w_begin, dilation_w)
        var best = Array[V, vectors](fill=V(lowest[acc]()))
        var at = Array[Index, vectors](
            fill=Index(Int32(h_begin * x.width + w_begin))
        )
        var image = x.data.unsafe_offset(n * x.sn + channel)
        for ih in range(h_begin, h_end, dilation_h):
            for iw in range(w_begin, w_end, dilation_w):
                var p = image.unsafe_offset(ih * x.sh + iw * x.sw)
                var here = Index(Int32(ih * x.width + iw))
                comptime for j in range(vectors):
                    var v = p.unsafe_load[width=w](j * w).cast[acc]()
                    var take = larger[acc, w](v, best[j])
                    best[j] = take.select(v, best[j])
                    at[j] = take.select(here, at[j])
        comptime for j in range(vectors):
            store[w](n, oh * out_w + ow, channel + j * w, best[j])
            store_index[w](
                n,
                oh * out_w + ow,
                channel + j * w,
                at[j].cast[DType.int64](),
            )

    pool_windows[channels, simd_width_of[acc]()](
        team, x.count, out_h, out_w, body
    )


@always_inline
def mean_window[
    dt: DType,
    acc: DType,
    w: Int,
    vectors: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    x: ImageView[dt],
    n: Int,
    pixel: Int,
    channel: Int,
    window: Window,
    divisor: Int,
    store: S,
):
    """Stores the sum over a window divided by `divisor`.

    Rows are summed on their own first: large windows (global pooling) lose less to rounding.
    """
    comptime V = SIMD[acc, w]
    var sums = Array[V, vectors](fill=V(0))
    var image = x.data.unsafe_offset(n * x.sn + channel)
    for ih in range(window.h0, window.h1):
        var row = Array[V, vectors](fill=V(0))
        for iw in range(window.w0, window.w1):
            var p = image.unsafe_offset(ih * x.sh + iw * x.sw)
            comptime for j in range(vectors):
                row[j] += p.unsafe_load[width=w](j * w).cast[acc]()
        comptime for j in range(vectors):
            sums[j] += row[j]
    comptime for j in range(vectors):
        store[w](n, pixel, channel + j * w, sums[j] / V(Scalar[acc](divisor)))


@always_inline
def avg_pool2d[
    dt: DType,
    acc: DType,
    channels: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    count_include_pad: Bool,
    divisor_override: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](team: Team, x: ImageView[dt], out_h: Int, out_w: Int, store: S,):
    """Takes the mean over windows (PyTorch `aten.avg_pool2d`).

    Divides by the window clipped to the padded image (`count_include_pad`), by the window
    clipped to the image, or by `divisor_override` if it is not 0.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        channels: Channels.
        kernel_h: Height of the window.
        kernel_w: Width of the window.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_h: Padding above and below.
        pad_w: Padding at both sides.
        count_include_pad: Padding counts as elements.
        divisor_override: Divisor, or 0.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """

    @always_inline
    def body[
        w: Int, vectors: Int
    ](n: Int, oh: Int, ow: Int, channel: Int) {imm} -> None:
        var h0 = oh * stride_h - pad_h
        var w0 = ow * stride_w - pad_w
        var h1 = min(h0 + kernel_h, x.height + pad_h)
        var w1 = min(w0 + kernel_w, x.width + pad_w)
        var divisor = divisor_override
        comptime if divisor_override == 0 and count_include_pad:
            divisor = (h1 - h0) * (w1 - w0)
        var window = Window(
            max(h0, 0), min(h1, x.height), max(w0, 0), min(w1, x.width)
        )
        comptime if divisor_override == 0 and not count_include_pad:
            divisor = max(1, (window.h1 - window.h0) * (window.w1 - window.w0))
        mean_window[dt, acc, w, vectors](
            x, n, oh * out_w + ow, channel, window, divisor, store
        )

    pool_windows[channels, simd_width_of[acc]()](
        team, x.count, out_h, out_w, body
    )


@always_inline
def adaptive_avg_pool2d[
    dt: DType,
    acc: DType,
    channels: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](team: Team, x: ImageView[dt], out_h: Int, out_w: Int, store: S,):
    """Takes the mean over windows that tile the image (PyTorch `aten.adaptive_avg_pool2d`).

    Window i of o over size s is [floor(i*s/o), ceil((i+1)*s/o)); 1x1 is global pooling.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        channels: Channels.
        S: Epilogue `store[w](n, oh*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """

    @always_inline
    def body[
        w: Int, vectors: Int
    ](n: Int, oh: Int, ow: Int, channel: Int) {imm} -> None:
        var window = Window(
            oh * x.height // out_h,
            ((oh + 1) * x.height + out_h - 1) // out_h,
            ow * x.width // out_w,
            ((ow + 1) * x.width + out_w - 1) // out_w,
        )
        var divisor = (window.h1 - window.h0) * (window.w1 - window.w0)
        mean_window[dt, acc, w, vectors](
            x, n, oh * out_w + ow, channel, window, divisor, store
        )

    pool_windows[channels, simd_width_of[acc]()](
        team, x.count, out_h, out_w, body
    )
