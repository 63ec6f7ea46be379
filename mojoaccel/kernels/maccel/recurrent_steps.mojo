"""The time loop of recurrent layers: register tiles of units, slices of weights, one meeting a step.

A batch of one reads all weights once a step, from L2 and the last-level cache, and that is its
time: two LSTM layers of 512 units over 64 steps take 3.1 ms with weights widened from bfloat16 one
by one, and 2.1 ms in pairs (2 threads, Zen 4). Running every other step backwards, to meet first what
L2 still holds, gains nothing: L2 is read no faster than the last-level cache there.
"""

from std.memory import stack_allocation
from std.sys import CompilationTarget, simd_width_of, size_of

from maccel.gemm import multiply_step
from maccel.pairs import PAIR, as_pairs
from maccel.team import Team
from maccel.types import Ptr


@always_inline
def recurrent_rows[gates: Int]() -> Int:
    """Returns the batch rows whose sums, times the gates, fit in the register file.
    """
    comptime if CompilationTarget.has_avx512f() or not CompilationTarget.is_x86():
        return 28 // (gates + 1) if gates < 4 else 6
    else:
        return 12 // gates - 1 if gates < 4 else 2


comptime BATCH_TILES = 6
"""Register tiles of batch rows that use a slice of weights while it is in the L1 cache."""

comptime SLICE_BYTES = 32 << 10
"""Weights of a slice; with one tile or fewer there is nothing to reuse and no slicing."""


@no_inline
def recurrent_tile[
    acc: DType, ht: DType, wt: DType, rows: Int, gates: Int, hidden: Int
](h: Ptr[ht], weights: Ptr[wt], sums: Ptr[acc], depth: Int, first: Bool):
    """Computes `sums[rows, gates, lanes] (+)= h[rows, depth] @ weights[depth, gates, lanes]`.

    Rows of `h` are `hidden` elements apart. A single row has too few sums to hide the latency of
    FMA, so it takes two steps of k at once. Pairs of bfloat16 are one element each.
    """
    comptime lanes = simd_width_of[acc]()
    comptime V = SIMD[acc, lanes]
    comptime phases = 2 if rows * gates < 8 else 1
    comptime count = rows * gates
    var s = Array[V, count](fill=V(0))
    var odd = Array[V, count](fill=V(0))
    var a = h
    var w = weights
    for _ in range(depth // phases):
        multiply_step[rows, gates, lanes](a, hidden, w, s)
        comptime if phases == 2:
            multiply_step[rows, gates, lanes](
                a.unsafe_offset(1),
                hidden,
                w.unsafe_offset(gates * lanes),
                odd,
            )
        a = a.unsafe_offset(phases)
        w = w.unsafe_offset(phases * gates * lanes)
    comptime if phases == 2:
        if depth % 2 == 1:
            multiply_step[rows, gates, lanes](a, hidden, w, s)
    comptime for i in range(count):
        var sum = s[i]
        comptime if phases == 2:
            sum += odd[i]
        if not first:
            sum += sums.unsafe_load[width=lanes](i * lanes)
        sums.unsafe_store(i * lanes, sum)


@always_inline
def multiply_batch[
    acc: DType, ht: DType, wt: DType, //, gates: Int, hidden: Int
](h: Ptr[ht], weights: Ptr[wt], sums: Ptr[acc], count: Int):
    """Computes the sums of one panel of units for `count` batch rows, in register tiles.
    """
    comptime lanes = simd_width_of[acc]()
    comptime rows = recurrent_rows[gates]()
    comptime slice = SLICE_BYTES // (gates * lanes * size_of[wt]())
    var step = slice if count > rows else hidden
    for k in range(0, hidden, step):
        var depth = min(step, hidden - k)
        var w = weights.unsafe_offset(k * gates * lanes)
        var b = 0
        while b < count:
            var left = count - b
            var a = h.unsafe_offset(b * hidden + k)
            var c = sums.unsafe_offset(b * gates * lanes)
            if left >= rows:
                recurrent_tile[acc, ht, wt, rows, gates, hidden](
                    a, w, c, depth, k == 0
                )
                b += rows
            elif rows > 4 and left >= 4:
                recurrent_tile[acc, ht, wt, 4, gates, hidden](
                    a, w, c, depth, k == 0
                )
                b += 4
            elif left >= 2:
                recurrent_tile[acc, ht, wt, 2, gates, hidden](
                    a, w, c, depth, k == 0
                )
                b += 2
            else:
                recurrent_tile[acc, ht, wt, 1, gates, hidden](
                    a, w, c, depth, k == 0
                )
                b += 1


@no_inline
def round_all[
    acc: DType, //
](source: Ptr[acc], target: Ptr[DType.bfloat16], count: Int):
    """Rounds `count` values to bfloat16."""
    comptime lanes = simd_width_of[acc]()
    var full = count // lanes * lanes
    for i in range(0, full, lanes):
        target.unsafe_store(
            i, source.unsafe_load[width=lanes](i).cast[DType.bfloat16]()
        )
    for i in range(full, count):
        target[unsafe_offset=i] = source[unsafe_offset=i].cast[DType.bfloat16]()


@always_inline
def run_steps[
    acc: DType,
    wt: DType,
    gates: Int,
    hidden: Int,
    reverse: Bool,
    pairs: Bool,
    Cell: def[w: Int](Int, Int, Int, Ptr[acc], Ptr[acc], Ptr[acc]) -> None,
](
    team: Team,
    steps: Int,
    batch: Int,
    weights: Ptr[wt],
    state: Ptr[acc],
    kept: Int,
    cell: Cell,
):
    """Runs the time loop; the state holds two hidden buffers, the first one initialised.

    With pairs each thread rounds the whole hidden state to bfloat16 once a step, little beside the
    product; what the cell reads and keeps is not rounded.

    Parameters:
        acc: Type of values and sums.
        wt: Stored type of the weights.
        gates: Gates of a unit.
        hidden: Units.
        reverse: Visit the steps backwards.
        pairs: Multiply pairs of bfloat16 (see `pairs`); the weights are packed as
            [ceil(hidden/lanes)][hidden/2][gates][lanes][2].
        Cell: `cell[w](t, b, unit, sums, before, after)` updates `w` units; gate g's sums are at
            `sums[g * lanes]`, the hidden states of these units before and after at `before` and
            `after`.

    Args:
        team: The threads.
        steps: Length of the sequence.
        batch: Batch rows.
        weights: Packed weights.
        state: Hidden states [2][batch][hidden].
        kept: Elements of every thread's scratch memory that states may take.
        cell: The cell.
    """
    comptime lanes = simd_width_of[acc]()
    comptime panels = (hidden + lanes - 1) // lanes
    comptime rows = recurrent_rows[gates]()
    var mine = team.share(panels)
    comptime chunk = rows * BATCH_TILES
    var sums = stack_allocation[
        chunk * gates * lanes, Scalar[acc], alignment=64
    ]()
    var tile = Ptr[acc](unsafe_from_address=Int(sums))
    var rounded = (
        team.scratch[acc]().unsafe_offset(kept).unsafe_bitcast[BFloat16]()
    )

    for step in range(steps):
        var t = step
        comptime if reverse:
            t = steps - 1 - step
        var before = state.unsafe_offset(step % 2 * batch * hidden)
        var after = state.unsafe_offset((step + 1) % 2 * batch * hidden)
        comptime if pairs:
            round_all(before, rounded, batch * hidden)
        for p in range(mine.begin, mine.end):
            var w = weights.unsafe_offset(p * hidden * gates * lanes)
            for b in range(0, batch, chunk):
                var here = min(chunk, batch - b)
                comptime if pairs:
                    multiply_batch[gates, hidden // 2](
                        as_pairs(rounded.unsafe_offset(b * hidden)),
                        w.unsafe_bitcast[Scalar[PAIR]](),
                        tile,
                        here,
                    )
                else:
                    multiply_batch[gates, hidden](
                        before.unsafe_offset(b * hidden), w, tile, here
                    )
                for i in range(here):
                    var unit = p * lanes
                    var at = (b + i) * hidden + unit
                    var row = tile.unsafe_offset(i * gates * lanes)
                    if hidden % lanes == 0 or unit + lanes <= hidden:
                        cell[lanes](
                            t,
                            b + i,
                            unit,
                            row,
                            before.unsafe_offset(at),
                            after.unsafe_offset(at),
                        )
                    else:
                        for j in range(hidden - unit):
                            cell[1](
                                t,
                                b + i,
                                unit + j,
                                row.unsafe_offset(j),
                                before.unsafe_offset(at + j),
                                after.unsafe_offset(at + j),
                            )
        team.barrier()
