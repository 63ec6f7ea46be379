"""Group normalisation of images, contiguous (NCHW) and channels-last (NHWC).

Statistics run over the channels of a group and all positions. Every layout shares the work of
one image among all threads: a first phase leaves the moments of fixed pieces in scratch, a
barrier, then each thread merges the pieces of the groups it needs, in a fixed order, and
normalises what it has just read. Instance norm is the case of one channel per group.
"""

from maccel.fold import member
from maccel.loops import lanes
from maccel.math_basic import rsqrt
from maccel.moments import (
    Moments,
    get_moments,
    moments_of_row,
    put_moments,
)
from maccel.team import Team
from maccel.types import Ptr

comptime GROUP_PIECE = 16384
"""Positions of one channel that are one piece of work (contiguous layout)."""

comptime GROUP_SLICES = 64
"""Largest number of pieces that an image's positions are cut into (channels-last)."""


@always_inline
def group_norm[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    images: Int,
    channels: Int,
    positions: Int,
    groups: Int,
    eps: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of group norm over [images, channels, positions].

    y = (x - mean) / sqrt(variance + eps), both over a group's channels and all positions.
    Scratch per thread: 3 * images * channels * ceil(positions / 16384) elements of `acc`.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](image, channel, position)`, positions being consecutive.
        Store: `store[w](image, channel, position, normalised)`; applies weight and bias of the
            channel.

    Args:
        team: The threads.
        images: Batch size.
        channels: Number of channels.
        positions: Pixels of an image.
        groups: Number of groups; divides channels.
        eps: Added to the (biased) variance.
        load: The values.
        store: Takes the results.
    """
    var pieces = (positions + GROUP_PIECE - 1) // GROUP_PIECE
    var count = images * channels * pieces
    var mine = team.share(count)
    var partial = team.scratch[acc]()
    for item in range(mine.begin, mine.end):
        var plane = item // pieces
        var image = plane // channels
        var channel = plane - image * channels
        var begin = (item - plane * pieces) * GROUP_PIECE
        var end = min(positions, begin + GROUP_PIECE)

        @always_inline
        def value[w: Int](i: Int) {imm} -> SIMD[acc, w]:
            return load[w](image, channel, i)

        put_moments(
            partial,
            item - mine.begin,
            moments_of_row[W, acc](begin, end, value),
        )
    team.barrier()
    var per_group = channels // groups
    var known = -1
    var mean = Scalar[acc](0)
    var scale = Scalar[acc](0)
    for item in range(mine.begin, mine.end):
        var plane = item // pieces
        var image = plane // channels
        var channel = plane - image * channels
        var group = plane // per_group
        if group != known:
            var moments = merge_range[acc](
                team,
                count,
                group * per_group * pieces,
                (group + 1) * per_group * pieces,
            )
            known = group
            mean = moments.mean
            scale = rsqrt(moments.variance() + eps)
        var begin = (item - plane * pieces) * GROUP_PIECE
        var end = min(positions, begin + GROUP_PIECE)

        @always_inline
        def last[w: Int](i: Int) {imm} -> None:
            var d = load[w](image, channel, i) - SIMD[acc, w](mean)
            store[w](image, channel, i, d * SIMD[acc, w](scale))

        lanes[W](begin, end, last)


@always_inline
def merge_range[
    acc: DType
](team: Team, count: Int, begin: Int, end: Int) -> Moments[acc]:
    """Merges the moments of items [begin, end), wherever among the threads' shares of `count`
    items they lie.
    """
    var total = Moments[acc]()
    for t in range(team.size):
        var other = member(team, t)
        var theirs = other.share(count)
        var partial = other.scratch[acc]()
        for item in range(max(begin, theirs.begin), min(end, theirs.end)):
            total.merge(get_moments(partial, item - theirs.begin))
    return total


@always_inline
def group_norm_channels_last[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    images: Int,
    positions: Int,
    channels: Int,
    groups: Int,
    eps: Scalar[acc],
    load: Load,
    store: Store,
):
    """Computes this thread's share of group norm over [images, positions, channels].

    A slice of positions is read by columns: per channel the sum, then the squares around the
    slice's mean of the channel, then the channels of a group are merged. So vectors run across
    channels however few a group has (10 channels of a group would fill 10 of 16 lanes).
    Scratch per thread: (2 * channels + 3 * images * 64 * groups) elements of `acc`.

    Parameters:
        W: SIMD width of `acc`.
        acc: Computing type, float32 or float64.
        Load: `load[w](image, position, channel)`, channels being consecutive.
        Store: `store[w](image, position, channel, normalised)`; applies weight and bias.

    Args:
        team: The threads.
        images: Batch size.
        positions: Pixels of an image.
        channels: Number of channels.
        groups: Number of groups; divides channels.
        eps: Added to the (biased) variance.
        load: The values.
        store: Takes the results.
    """
    var least = max(1, 4096 // max(1, channels))
    var length = max(least, (positions + GROUP_SLICES - 1) // GROUP_SLICES)
    var slices = (positions + length - 1) // length
    # Long slices are read in parts that stay in the second-level cache.
    var part = max(least, min(length, 32768 // max(1, channels)))
    var count = images * slices
    var mine = team.share(count)
    var sums = team.scratch[acc]()
    var squares = sums.unsafe_offset(channels)
    var partial = sums.unsafe_offset(2 * channels)
    for item in range(mine.begin, mine.end):
        var image = item // slices
        var begin = (item - image * slices) * length
        var end = min(positions, begin + length)
        var target = partial.unsafe_offset(3 * (item - mine.begin) * groups)
        for group in range(groups):
            put_moments(target, group, Moments[acc]())
        while begin < end:
            var stop = min(end, begin + part)
            column_moments[W, acc](
                image, begin, stop, channels, sums, squares, load
            )
            merge_channels(
                target, sums, squares, stop - begin, channels, groups
            )
            begin = stop
    team.barrier()
    var per_group = channels // groups
    var known = -1
    for item in range(mine.begin, mine.end):
        var image = item // slices
        if image != known:
            known = image
            for group in range(groups):
                var moments = merge_slices[acc](
                    team, count, image, slices, group, groups, 2 * channels
                )
                var scale = rsqrt(moments.variance() + eps)
                for c in range(group * per_group, (group + 1) * per_group):
                    sums.unsafe_store(c, moments.mean)
                    squares.unsafe_store(c, scale)
        var begin = (item - image * slices) * length
        for position in range(begin, min(positions, begin + length)):

            @always_inline
            def last[w: Int](c: Int) {imm} -> None:
                var d = load[w](image, position, c) - sums.unsafe_load[width=w](
                    c
                )
                store[w](
                    image, position, c, d * squares.unsafe_load[width=w](c)
                )

            lanes[W](0, channels, last)


@always_inline
def column_moments[
    W: Int,
    acc: DType,
    Load: def[w: Int](Int, Int, Int) -> SIMD[acc, w],
](
    image: Int,
    begin: Int,
    end: Int,
    channels: Int,
    means: Ptr[acc],
    squares: Ptr[acc],
    load: Load,
):
    """Writes each channel's mean over positions [begin, end) and its squares around it.
    """
    var inverse = 1 / Scalar[acc](end - begin)

    @always_inline
    def column[w: Int](c: Int) {imm} -> None:
        comptime V = SIMD[acc, w]
        var a = V(0)
        var b = V(0)
        var s = begin
        while s + 2 <= end:
            a += load[w](image, s, c)
            b += load[w](image, s + 1, c)
            s += 2
        if s < end:
            a += load[w](image, s, c)
        var mean = (a + b) * V(inverse)
        a = V(0)
        b = V(0)
        s = begin
        while s + 2 <= end:
            var d = load[w](image, s, c) - mean
            var e = load[w](image, s + 1, c) - mean
            a += d * d
            b += e * e
            s += 2
        if s < end:
            var d = load[w](image, s, c) - mean
            a += d * d
        means.unsafe_store(c, mean)
        squares.unsafe_store(c, a + b)

    lanes[W](0, channels, column)


@always_inline
def merge_channels[
    acc: DType
](
    target: Ptr[acc],
    means: Ptr[acc],
    squares: Ptr[acc],
    length: Int,
    channels: Int,
    groups: Int,
):
    """Merges the channels' moments over `length` positions into their groups' moments.
    """
    var per_group = channels // groups
    for group in range(groups):
        var total = get_moments(target, group)
        # All counts are equal: the group's mean is the mean of means.
        var mean = Scalar[acc](0)
        for c in range(group * per_group, (group + 1) * per_group):
            mean += means.unsafe_load[width=1](c)
        mean /= Scalar[acc](per_group)
        var spread = Scalar[acc](0)
        var inside = Scalar[acc](0)
        for c in range(group * per_group, (group + 1) * per_group):
            var d = means.unsafe_load[width=1](c) - mean
            spread += d * d
            inside += squares.unsafe_load[width=1](c)
        total.merge(
            Moments[acc](
                Scalar[acc](per_group * length),
                mean,
                inside + spread * Scalar[acc](length),
            )
        )
        put_moments(target, group, total)


@always_inline
def merge_slices[
    acc: DType
](
    team: Team,
    count: Int,
    image: Int,
    slices: Int,
    group: Int,
    groups: Int,
    offset: Int,
) -> Moments[acc]:
    """Merges one group's moments over all slices of an image, in order."""
    var total = Moments[acc]()
    for t in range(team.size):
        var other = member(team, t)
        var theirs = other.share(count)
        var partial = other.scratch[acc]().unsafe_offset(offset)
        var begin = max(image * slices, theirs.begin)
        var end = min((image + 1) * slices, theirs.end)
        for item in range(begin, end):
            total.merge(
                get_moments(partial, (item - theirs.begin) * groups + group)
            )
    return total


@always_inline
def group_norm_first[
    W: Int,
    acc: DType,
    channels: Int,
    groups: Int,
    dt: DType,
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    images: Int,
    positions: Int,
    source: Ptr[dt],
    image_stride: Int,
    eps: Scalar[acc],
    store: Store,
):
    """`group_norm` of a contiguous image in memory; `store[w](image, channel, position, v)`.
    """

    @always_inline
    def load[w: Int](image: Int, channel: Int, i: Int) {imm} -> SIMD[acc, w]:
        return source.unsafe_load[width=w](
            image * image_stride + channel * positions + i
        ).cast[acc]()

    group_norm[W, acc](
        team, images, channels, positions, groups, eps, load, store
    )


@always_inline
def group_norm_last[
    W: Int,
    acc: DType,
    channels: Int,
    groups: Int,
    dt: DType,
    Store: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    images: Int,
    positions: Int,
    source: Ptr[dt],
    image_stride: Int,
    eps: Scalar[acc],
    store: Store,
):
    """`group_norm_channels_last` of an image in memory; `store[w](image, position, channel, v)`.
    """

    @always_inline
    def load[w: Int](image: Int, i: Int, channel: Int) {imm} -> SIMD[acc, w]:
        return source.unsafe_load[width=w](
            image * image_stride + i * channels + channel
        ).cast[acc]()

    group_norm_channels_last[W, acc](
        team, images, positions, channels, groups, eps, load, store
    )
