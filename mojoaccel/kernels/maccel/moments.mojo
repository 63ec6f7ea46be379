"""Mean and variance of runs of values, merged exactly as one pass would have found them.

A block of values is folded twice while it lies in the first-level cache: its mean, then the
squares around that mean. Blocks are merged by the formula of Chan, Golub and LeVeque (1979), in
order, so the result depends on neither the number of threads nor on large means.
"""

from maccel.fold import FOLD_BLOCK, fold_block, member
from maccel.reductions import Sum
from maccel.team import Team
from maccel.types import Ptr


@fieldwise_init
struct Moments[dt: DType](Copyable, Movable, TrivialRegisterPassable):
    """Count, mean and sum of squares around the mean."""

    var count: Scalar[Self.dt]
    var mean: Scalar[Self.dt]
    var squares: Scalar[Self.dt]

    @always_inline
    def __init__(out self):
        """Starts with no values."""
        self.count = 0
        self.mean = 0
        self.squares = 0

    @always_inline
    def merge(mut self, other: Self):
        """Takes in the values that `other` has seen."""
        var count = self.count + other.count
        if other.count == 0:
            return
        var delta = other.mean - self.mean
        var part = other.count / count
        self.squares += other.squares + delta * delta * (self.count * part)
        self.mean += delta * part
        self.count = count

    @always_inline
    def variance(self, correction: Scalar[Self.dt] = 0) -> Scalar[Self.dt]:
        """Returns squares / max(count - correction, 0)."""
        return self.squares / max(self.count - correction, 0)


@always_inline
def moments_of_block[
    W: Int, dt: DType, Load: def[w: Int](Int) -> SIMD[dt, w]
](begin: Int, end: Int, load: Load) -> Moments[dt]:
    """Returns the moments of load(begin) .. load(end - 1), loading each twice.
    """
    var count = Scalar[dt](end - begin)
    var mean = fold_block[Sum, W, dt](begin, end, load) / count

    @always_inline
    def squared[w: Int](i: Int) {imm} -> SIMD[dt, w]:
        var d = load[w](i) - SIMD[dt, w](mean)
        return d * d

    return Moments[dt](count, mean, fold_block[Sum, W, dt](begin, end, squared))


@always_inline
def moments_of_row[
    W: Int, dt: DType, Load: def[w: Int](Int) -> SIMD[dt, w]
](begin: Int, end: Int, load: Load) -> Moments[dt]:
    """Returns the moments of load(begin) .. load(end - 1), block by block."""
    comptime block = FOLD_BLOCK[W]
    if end - begin <= block and end > begin:
        return moments_of_block[W, dt](begin, end, load)
    var total = Moments[dt]()
    var i = begin
    while i < end:
        total.merge(moments_of_block[W, dt](i, min(end, i + block), load))
        i += block
    return total


@always_inline
def put_moments[dt: DType](target: Ptr[dt], index: Int, moments: Moments[dt]):
    """Writes moments to words 3 * index .. 3 * index + 2."""
    target.unsafe_store(3 * index, moments.count)
    target.unsafe_store(3 * index + 1, moments.mean)
    target.unsafe_store(3 * index + 2, moments.squares)


@always_inline
def get_moments[dt: DType](source: Ptr[dt], index: Int) -> Moments[dt]:
    """Reads moments that `put_moments` wrote."""
    return Moments[dt](
        source.unsafe_load[width=1](3 * index),
        source.unsafe_load[width=1](3 * index + 1),
        source.unsafe_load[width=1](3 * index + 2),
    )


@always_inline
def moments_together[
    W: Int, dt: DType, Load: def[w: Int](Int) -> SIMD[dt, w]
](team: Team, slot: Int, count: Int, load: Load):
    """Writes the moments of this thread's blocks of one row to its scratch.

    After a barrier `merge_together` merges the blocks of all threads.
    """
    comptime block = FOLD_BLOCK[W]
    var mine = team.share((count + block - 1) // block)
    var partial = team.scratch[dt]()
    for b in range(mine.begin, mine.end):
        put_moments(
            partial,
            slot + b - mine.begin,
            moments_of_block[W, dt](
                b * block, min(count, (b + 1) * block), load
            ),
        )


@always_inline
def merge_together[
    W: Int, dt: DType
](team: Team, slot: Int, count: Int) -> Moments[dt]:
    """Merges what `moments_together` left in every thread's scratch, in block order.
    """
    comptime block = FOLD_BLOCK[W]
    var total = Moments[dt]()
    for t in range(team.size):
        var other = member(team, t)
        var theirs = other.share((count + block - 1) // block)
        var partial = other.scratch[dt]()
        for i in range(theirs.end - theirs.begin):
            total.merge(get_moments(partial, slot + i))
    return total
