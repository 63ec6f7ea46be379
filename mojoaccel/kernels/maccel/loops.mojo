"""Loop nests of pointwise groups: which thread runs which lanes of the fused body.

A fused pointwise group is a nest of two loops: its outer dims are flattened to `rows`, and `cols`
runs over the inner dim along which elements are consecutive. The body is a closure that the
emitter writes; it loads, computes and stores `w` elements at a time.
"""

from maccel.team import Share, Team

comptime POINTWISE_GRAIN = 2048
"""Elements per thread below which fewer threads work.

Measured: two spinning threads fork and join in 0.4 us, paid even where only one of them gets
work. With that paid, sharing wins from about 4 K elements of relu and 1 K of gelu on."""


@always_inline
def lanes[
    W: Int, Body: def[w: Int](Int) -> None
](begin: Int, end: Int, body: Body):
    """Calls `body[w](i)` so that each i in [begin, end) is covered once, in ascending order.

    The tail runs 4 wide and then 1 wide: one scalar loop costs up to W-1 evaluations of the body,
    and each further width costs compile time.

    Parameters:
        W: Width of the main loop.
        Body: Processes elements i..i+w-1.

    Args:
        begin: First element.
        end: One past the last element.
        body: The body.
    """
    var i = begin
    while i + W <= end:
        body[W](i)
        i += W
    comptime if W > 4:
        while i + 4 <= end:
            body[4](i)
            i += 4
    comptime if W > 1:
        while i < end:
            body[1](i)
            i += 1


@always_inline
def active(team: Team, work: Int, grain: Int) -> Team:
    """Returns the team with only as many threads as have `grain` work each.

    The result serves `share` only: a barrier needs the whole team. Threads beyond its size must
    be given nothing (`share_active` does so).
    """
    var few = team
    few.size = max(1, min(team.size, work // max(grain, 1)))
    return few


@always_inline
def share_active(
    team: Team, count: Int, work: Int, grain: Int, multiple: Int = 1
) -> Share:
    """Splits `count` items over the threads that are worth waking for `work`.
    """
    var few = active(team, work, grain)
    if few.id >= few.size:
        return Share(count, count)
    return few.share(count, multiple)


@always_inline
def pointwise_1d[
    W: Int, Body: def[w: Int](Int) -> None, *, grain: Int = POINTWISE_GRAIN
](team: Team, count: Int, body: Body):
    """Runs this thread's share of a body over `count` consecutive elements.

    Parameters:
        W: SIMD width of the main loop.
        Body: `body[w](index)` processes elements index..index+w-1.
        grain: Elements per thread below which fewer threads work.

    Args:
        team: The threads.
        count: Number of elements.
        body: The fused body.
    """
    # 4*W elements of f32 are whole cache lines: no two threads write to the same one.
    var mine = share_active(team, count, count, grain, 4 * W)
    lanes[W](mine.begin, mine.end, body)


@always_inline
def pointwise[
    W: Int,
    Body: def[w: Int](Int, Int) -> None,
    *,
    grain: Int = POINTWISE_GRAIN,
](team: Team, rows: Int, cols: Int, body: Body):
    """Runs this thread's share of a body over `rows` x `cols` elements.

    The work is cut into blocks of 8*W columns, so that one long row is split as evenly as many
    short ones; a thread takes consecutive blocks.

    Parameters:
        W: SIMD width of the main loop.
        Body: `body[w](row, col)` processes columns col..col+w-1 of a row.
        grain: Elements per thread below which fewer threads work.

    Args:
        team: The threads.
        rows: Product of the outer sizes.
        cols: Size of the inner, consecutive dim.
        body: The fused body.
    """
    comptime block = 8 * W
    var blocks = (cols + block - 1) // block
    var mine = share_active(team, rows * blocks, rows * cols, grain)
    if mine.begin >= mine.end:
        return
    var row = mine.begin // blocks
    var col = (mine.begin - row * blocks) * block
    var last = (mine.end - 1) // blocks
    var stop = min(cols, (mine.end - last * blocks) * block)
    while row <= last:
        var end = stop if row == last else cols

        @always_inline
        def inner[w: Int](i: Int) {imm} -> None:
            body[w](row, i)

        lanes[W](col, end, inner)
        col = 0
        row += 1
