"""Folding a run of values into one: the vector loop under reductions, softmax and norms.

A run is cut into blocks of fixed length; a block is folded in 4 vectors; block results are
folded in order, in two levels. So the rounding error of a sum grows with the logarithm of its
length as in PyTorch's cascade, and the order never depends on the number of threads: whoever
folds a block, the row's result is the same.
"""

from maccel.reductions import Reduction
from maccel.team import Team


comptime FOLD_BLOCK[W: Int] = 256 * W
"""Elements of a block: 64 rounds of 4 vectors."""


@always_inline
def across[Op: Reduction, dt: DType, w: Int](v: SIMD[dt, w]) -> Scalar[dt]:
    """Folds the lanes of a vector, halving it."""
    comptime if w == 1:
        return v[0]
    else:
        return across[Op, dt, w // 2](
            Op.combine(
                v.slice[w // 2, offset=0](), v.slice[w // 2, offset=w // 2]()
            )
        )


@always_inline
def fold_block[
    Op: Reduction,
    W: Int,
    dt: DType,
    Load: def[w: Int](Int) -> SIMD[dt, w],
](begin: Int, end: Int, load: Load) -> Scalar[dt]:
    """Folds load(i) for i in [begin, end) in one go (every i is loaded once, ascending).

    Parameters:
        Op: The operation.
        W: Vector width.
        dt: Type of the values.
        Load: `load[w](i)` returns values i..i+w-1.

    Args:
        begin: First index.
        end: One past the last.
        load: The values.

    Returns:
        The combination of the lifted values; the identity if there are none.
    """
    comptime V = SIMD[dt, W]
    var i = begin
    var total = Op.identity[dt]()
    if i + W <= end:
        var a = V(Op.identity[dt]())
        if i + 4 * W <= end:
            var b = a
            var c = a
            var d = a
            while i + 4 * W <= end:
                a = Op.combine(a, Op.lift(load[W](i)))
                b = Op.combine(b, Op.lift(load[W](i + W)))
                c = Op.combine(c, Op.lift(load[W](i + 2 * W)))
                d = Op.combine(d, Op.lift(load[W](i + 3 * W)))
                i += 4 * W
            a = Op.combine(Op.combine(a, b), Op.combine(c, d))
        while i + W <= end:
            a = Op.combine(a, Op.lift(load[W](i)))
            i += W
        total = across[Op, dt, W](a)
    comptime if W > 4:
        if i + 4 <= end:
            var a = SIMD[dt, 4](Op.identity[dt]())
            while i + 4 <= end:
                a = Op.combine(a, Op.lift(load[4](i)))
                i += 4
            total = Op.combine(total, across[Op, dt, 4](a))
    while i < end:
        total = Op.combine(total, Op.lift(load[1](i)))
        i += 1
    return total


@fieldwise_init
struct Cascade[Op: Reduction, dt: DType](
    Copyable, Movable, TrivialRegisterPassable
):
    """Folds block results in order, in two levels of 64."""

    var low: Scalar[Self.dt]
    var high: Scalar[Self.dt]
    var count: Int

    @always_inline
    def __init__(out self):
        """Starts with nothing."""
        self.low = Self.Op.identity[Self.dt]()
        self.high = Self.Op.identity[Self.dt]()
        self.count = 0

    @always_inline
    def add(mut self, value: Scalar[Self.dt]):
        """Takes in the next block's result."""
        self.low = Self.Op.combine(self.low, value)
        self.count += 1
        if self.count == 64:
            self.high = Self.Op.combine(self.high, self.low)
            self.low = Self.Op.identity[Self.dt]()
            self.count = 0

    @always_inline
    def result(self) -> Scalar[Self.dt]:
        """Returns the combination of all."""
        return Self.Op.combine(self.high, self.low)


@always_inline
def fold_row[
    Op: Reduction,
    W: Int,
    dt: DType,
    Load: def[w: Int](Int) -> SIMD[dt, w],
](count: Int, load: Load) -> Scalar[dt]:
    """Folds load(0) .. load(count - 1), block by block."""
    comptime block = FOLD_BLOCK[W]
    var cascade = Cascade[Op, dt]()
    var i = 0
    while i < count:
        cascade.add(fold_block[Op, W, dt](i, min(count, i + block), load))
        i += block
    return cascade.result()


@always_inline
def together(team: Team, rows: Int, cols: Int) -> Bool:
    """Whether all threads share each row: few rows, worth a barrier."""
    return team.size > 1 and rows < team.size and rows * cols >= 32768


@always_inline
def member(team: Team, id: Int) -> Team:
    """Returns thread `id`'s view of the team, for its shares and its scratch.
    """
    var other = team
    other.id = id
    return other


@always_inline
def fold_blocks_together[
    Op: Reduction,
    W: Int,
    dt: DType,
    Load: def[w: Int](Int) -> SIMD[dt, w],
](team: Team, slot: Int, count: Int, load: Load):
    """Folds this thread's blocks of one row into scratch words slot, slot + 1, ...

    After a barrier `cascade_together` folds the blocks of all threads.
    """
    comptime block = FOLD_BLOCK[W]
    var blocks = (count + block - 1) // block
    var mine = team.share(blocks)
    var partial = team.scratch[dt]().unsafe_offset(slot)
    for b in range(mine.begin, mine.end):
        partial.unsafe_store(
            b - mine.begin,
            fold_block[Op, W, dt](b * block, min(count, (b + 1) * block), load),
        )


@always_inline
def cascade_together[
    Op: Reduction, W: Int, dt: DType
](team: Team, slot: Int, count: Int) -> Scalar[dt]:
    """Folds what `fold_blocks_together` left in every thread's scratch, in block order.
    """
    comptime block = FOLD_BLOCK[W]
    var blocks = (count + block - 1) // block
    var cascade = Cascade[Op, dt]()
    for t in range(team.size):
        var other = member(team, t)
        var theirs = other.share(blocks)
        var partial = other.scratch[dt]().unsafe_offset(slot)
        for i in range(theirs.end - theirs.begin):
            cascade.add(partial.unsafe_load[width=1](i))
    return cascade.result()


@always_inline
def together_slots[W: Int](cols: Int) -> Int:
    """Returns the scratch words per row and thread that shared folding needs.
    """
    return (cols + FOLD_BLOCK[W] - 1) // FOLD_BLOCK[W]
