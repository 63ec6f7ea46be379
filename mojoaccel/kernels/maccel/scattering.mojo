"""Writing values at computed positions of a tensor.

Positions come from a closure that checks the indices; an index outside its tensor leaves a code
in the status word and counts as 0, so nothing is written outside memory.
"""

from maccel.loops import lanes, share_active
from maccel.math_basic import add, maximum, minimum, mul
from maccel.team import Team
from maccel.types import Ptr

comptime SCATTER_GRAIN = 4096
"""Elements per thread below which fewer threads work."""

comptime SCATTER_SET = 0
comptime SCATTER_ADD = 1
comptime SCATTER_MUL = 2
comptime SCATTER_MIN = 3
comptime SCATTER_MAX = 4
"""What happens to the value that a scattered one meets."""


@always_inline
def scattered[
    dt: DType, op: Int, w: SIMDLength
](old: SIMD[dt, w], new: SIMD[dt, w]) -> SIMD[dt, w]:
    """Combines the value in memory with the scattered one."""
    comptime if op == SCATTER_SET:
        return new
    elif op == SCATTER_ADD:
        return add(old, new)
    elif op == SCATTER_MUL:
        return mul(old, new)
    elif op == SCATTER_MIN:
        return minimum(old, new)
    else:
        return maximum(old, new)


@always_inline
def scatter_at[
    W: Int,
    dt: DType,
    op: Int,
    Position: def[w: Int](Int, Int, Int) -> SIMD[DType.int64, w],
    Load: def[w: Int](Int, Int, Int) -> SIMD[dt, w],
](
    team: Team,
    outer: Int,
    count: Int,
    inner: Int,
    target: Ptr[dt],
    numel: Int,
    position: Position,
    load: Load,
):
    """Writes this thread's share of values at positions of the target (scatter, index_put,
    index_add and the like).

    For every (o, k, i): target[position(o, k, i)] = load(o, k, i), or combined with what is
    there. Threads split (o, i), which must never lead two of them to one position; for each the k
    run in order, so the result does not depend on the threads and the last of equal positions
    wins.

    Parameters:
        W: 1, or the SIMD width when position(o, k, i) = position(o, k, 0) + i for all i.
        dt: Type of the values as stored.
        op: One of SCATTER_SET, SCATTER_ADD, SCATTER_MUL, SCATTER_MIN, SCATTER_MAX.
        Position: `position[1](outer, k, inner)`.
        Load: `load[w](outer, k, inner)`.

    Args:
        team: The threads.
        outer: Size of the dims before those that meet.
        count: Size of the dims whose positions may meet.
        inner: Size of the dims after them.
        target: First element written to; holds the initial values.
        numel: Elements of the target; with 0 positions are only checked.
        position: Where to.
        load: The values.
    """
    comptime block = 4 * W if W > 1 else 16
    var blocks = (inner + block - 1) // block
    var mine = share_active(
        team, outer * blocks, outer * count * inner, SCATTER_GRAIN
    )
    for item in range(mine.begin, mine.end):
        var o = item // blocks
        var begin = (item - o * blocks) * block
        var end = min(inner, begin + block)
        for k in range(count):
            comptime if W == 1:
                for i in range(begin, end):
                    var place = Int(position[1](o, k, i)[0])
                    if numel > 0:
                        var p = target.unsafe_offset(place)
                        p[] = scattered[dt, op, 1](p[], load[1](o, k, i))[0]
            else:
                var first = Int(position[1](o, k, begin)[0]) - begin
                if numel > 0:
                    var base = target.unsafe_offset(first)

                    @always_inline
                    def write[w: Int](i: Int) {imm} -> None:
                        var old = SIMD[dt, w](0)
                        comptime if op != SCATTER_SET:
                            old = base.unsafe_load[width=w](i)
                        base.unsafe_store(
                            i, scattered[dt, op, w](old, load[w](o, k, i))
                        )

                    lanes[W](begin, end, write)
