"""LSTM layers with projections: the hidden state is a product of the cell's output, and shorter.

A step has two phases, each a matrix product over slices of units: the gates from the projected
hidden state, then the projection of what the cells give out. The team meets after each.
"""

from std.math import fma
from std.memory import stack_allocation
from std.sys import simd_width_of

from maccel.math import sigmoid, tanh
from maccel.recurrent import Sequence, load_state, save_state, shared_state
from maccel.recurrent_steps import BATCH_TILES, multiply_batch, recurrent_rows
from maccel.team import Team
from maccel.types import Ptr


@always_inline
def multiply_units[
    acc: DType,
    wt: DType,
    gates: Int,
    units: Int,
    depth: Int,
    Finish: def[w: Int](Int, Int, Ptr[acc]) -> None,
](team: Team, batch: Int, inputs: Ptr[acc], weights: Ptr[wt], finish: Finish):
    """Computes this thread's units of `inputs[batch, depth] @ W` and hands them on.

    Parameters:
        acc: Type of values and sums.
        wt: Stored type of the weights.
        gates: Sums of a unit.
        units: Units.
        depth: Length of an input row.
        Finish: `finish[w](b, unit, sums)`; the sums of gate g are at `sums[g * lanes]`.

    Args:
        team: The threads.
        batch: Rows.
        inputs: The rows, dense.
        weights: Packed as [ceil(units/lanes)][depth][gates][lanes].
        finish: Takes the sums.
    """
    comptime lanes = simd_width_of[acc]()
    comptime panels = (units + lanes - 1) // lanes
    comptime chunk = recurrent_rows[gates]() * BATCH_TILES
    var room = stack_allocation[
        chunk * gates * lanes, Scalar[acc], alignment=64
    ]()
    var tile = Ptr[acc](unsafe_from_address=Int(room))
    var mine = team.share(panels)
    for p in range(mine.begin, mine.end):
        var w = weights.unsafe_offset(p * depth * gates * lanes)
        var unit = p * lanes
        for b in range(0, batch, chunk):
            var here = min(chunk, batch - b)
            multiply_batch[gates, depth](
                inputs.unsafe_offset(b * depth), w, tile, here
            )
            for i in range(here):
                var row = tile.unsafe_offset(i * gates * lanes)
                if units % lanes == 0 or unit + lanes <= units:
                    finish[lanes](b + i, unit, row)
                else:
                    for j in range(units - unit):
                        finish[1](b + i, unit + j, row.unsafe_offset(j))


@always_inline
def lstm_projected_layer[
    dt: DType,
    acc: DType,
    wt: DType,
    hidden: Int,
    projected: Int,
    reverse: Bool,
](
    team: Team,
    sequence: Sequence[dt, dt],
    weights: Ptr[wt],
    projection: Ptr[wt],
    h0: Ptr[dt],
    c0: Ptr[dt],
    hn: Ptr[dt],
    cn: Ptr[dt],
):
    """Runs an LSTM layer with projections (PyTorch `torch.nn.LSTM`, `proj_size`).

    `i, f, o = sigmoid(x_ifo + W_ifo h)`, `g = tanh(x_g + W_g h)`, `c' = f c + i g`,
    `h' = W_hr (o tanh(c'))` (Sak, Senior, Beaufays 2014), gates in the order i, f, g, o.
    Scratch of the first thread: `batch * (2 * projected + 2 * hidden)` elements of `acc`.

    Parameters:
        dt: Stored type of inputs, outputs and states.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        hidden: Units.
        projected: Length of the hidden state.
        reverse: Run from the last step to the first.

    Args:
        team: The threads; each computes its share of units.
        sequence: Input projections (4*hidden elements a row) and outputs.
        weights: Recurrent weights, packed as [ceil(hidden/lanes)][projected][4][lanes].
        projection: W_hr, packed as [ceil(projected/lanes)][hidden][1][lanes].
        h0: Initial hidden state [batch, projected].
        c0: Initial cell state [batch, hidden].
        hn: Final hidden state.
        cn: Final cell state.
    """
    comptime lanes = simd_width_of[acc]()
    var batch = sequence.batch
    var state = shared_state[acc](team)
    var cells = state.unsafe_offset(2 * batch * projected)
    var given = cells.unsafe_offset(batch * hidden)
    load_state[dt, acc, projected, True](team, h0, batch, state)
    load_state[dt, acc, hidden, True](team, c0, batch, cells)
    team.barrier()
    for step in range(sequence.steps):
        var t = step
        comptime if reverse:
            t = sequence.steps - 1 - step
        var before = state.unsafe_offset(step % 2 * batch * projected)
        var after = state.unsafe_offset((step + 1) % 2 * batch * projected)

        @always_inline
        def cell[w: Int](b: Int, unit: Int, sums: Ptr[acc]) {imm} -> None:
            var x = sequence.gates.unsafe_offset(
                t * sequence.gates_step + b * sequence.gates_row + unit
            )

            @always_inline
            def gate(g: Int) {imm} -> SIMD[acc, w]:
                return (
                    sums.unsafe_load[width=w](g * lanes)
                    + x.unsafe_load[width=w](g * hidden).cast[acc]()
                )

            var c = cells.unsafe_offset(b * hidden + unit)
            var next = fma(
                sigmoid(gate(1)),
                c.unsafe_load[width=w](0),
                sigmoid(gate(0)) * tanh(gate(2)),
            )
            c.unsafe_store(0, next)
            given.unsafe_store(b * hidden + unit, sigmoid(gate(3)) * tanh(next))

        @always_inline
        def project[w: Int](b: Int, unit: Int, sums: Ptr[acc]) {imm} -> None:
            var h = sums.unsafe_load[width=w](0)
            after.unsafe_store(b * projected + unit, h)
            sequence.y.unsafe_store(
                t * sequence.y_step + b * sequence.y_row + unit, h.cast[dt]()
            )

        multiply_units[acc, wt, 4, hidden, projected](
            team, batch, before, weights, cell
        )
        team.barrier()
        multiply_units[acc, wt, 1, projected, hidden](
            team, batch, given, projection, project
        )
        team.barrier()
    save_state[dt, acc, projected](
        team,
        state.unsafe_offset(sequence.steps % 2 * batch * projected),
        batch,
        hn,
    )
    save_state[dt, acc, hidden](team, cells, batch, cn)
