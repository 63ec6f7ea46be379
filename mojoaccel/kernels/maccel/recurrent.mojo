"""Recurrent layers: the time loop of LSTM, GRU and plain RNN for one layer and direction.

The input projections of all steps are a matrix product done before. A thread owns slices of hidden
units, whose packed recurrent weights stay in its cache for the whole sequence, and computes all
gates of a unit side by side, so that the cell is applied to values just summed. The team meets
once per step: the hidden state alternates between two buffers, so nobody overwrites what another
thread still reads.
"""

from std.math import fma
from std.sys import simd_width_of

from maccel.math import relu, sigmoid, tanh
from maccel.recurrent_steps import run_steps
from maccel.team import POOL_SCRATCH, Team
from maccel.types import Ptr


@fieldwise_init
struct Sequence[dt: DType, yt: DType](
    Copyable, Movable, TrivialRegisterPassable
):
    """Input projections and outputs of a layer; element j of step t and batch row b lies at
    `t * step + b * row + j`."""

    var steps: Int
    var batch: Int
    var gates: Ptr[Self.dt]
    var gates_step: Int
    var gates_row: Int
    var y: Ptr[Self.yt]
    var y_step: Int
    var y_row: Int


@always_inline
def shared_state[acc: DType](team: Team) -> Ptr[acc]:
    """Returns the scratch of the first thread: the team's common memory."""
    return Ptr[acc](
        unsafe_from_address=Int(team.pool[unsafe_offset=POOL_SCRATCH])
    )


@always_inline
def load_state[
    dt: DType, acc: DType, hidden: Int, has_initial: Bool
](team: Team, initial: Ptr[dt], batch: Int, state: Ptr[acc]):
    """Copies this thread's units of an initial state, or zeros."""
    comptime lanes = simd_width_of[acc]()
    var mine = team.share((hidden + lanes - 1) // lanes)
    for b in range(batch):
        for j in range(mine.begin * lanes, min(mine.end * lanes, hidden)):
            var value = Scalar[acc](0)
            comptime if has_initial:
                value = initial[unsafe_offset=b * hidden + j].cast[acc]()
            state[unsafe_offset=b * hidden + j] = value


@always_inline
def save_state[
    dt: DType, acc: DType, hidden: Int
](team: Team, state: Ptr[acc], batch: Int, final: Ptr[dt]):
    """Copies this thread's units of a final state."""
    comptime lanes = simd_width_of[acc]()
    var mine = team.share((hidden + lanes - 1) // lanes)
    for b in range(batch):
        for j in range(mine.begin * lanes, min(mine.end * lanes, hidden)):
            final[unsafe_offset=b * hidden + j] = state[
                unsafe_offset=b * hidden + j
            ].cast[dt]()


@always_inline
def lstm_layer[
    dt: DType,
    acc: DType,
    wt: DType,
    hidden: Int,
    reverse: Bool,
    has_initial: Bool,
    *,
    pairs: Bool = False,
](
    team: Team,
    sequence: Sequence[dt, dt],
    weights: Ptr[wt],
    h0: Ptr[dt],
    c0: Ptr[dt],
    hn: Ptr[dt],
    cn: Ptr[dt],
):
    """Runs an LSTM layer in one direction (PyTorch `torch.nn.LSTM`).

    `i, f, o = sigmoid(x_ifo + W_ifo h)`, `g = tanh(x_g + W_g h)`, `c' = f c + i g`,
    `h' = o tanh(c')`, where x holds the input projection and both biases, gates in the order
    i, f, g, o. Weights are packed as [ceil(hidden/lanes)][hidden][4][lanes].
    Scratch of the first thread: `3 * batch * hidden` elements of `acc`, and with pairs on every thread
    half of `batch * hidden` after that.

    Parameters:
        dt: Stored type of inputs, outputs and states.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        hidden: Units.
        reverse: Run from the last step to the first.
        has_initial: The initial states are given; otherwise they are zeros and not read.
        pairs: Multiply pairs of bfloat16 (see `run_steps`).

    Args:
        team: The threads; each computes its share of units.
        sequence: Input projections (4*hidden elements a row) and outputs.
        weights: Packed recurrent weights.
        h0: Initial hidden state [batch, hidden].
        c0: Initial cell state.
        hn: Final hidden state.
        cn: Final cell state.
    """
    comptime lanes = simd_width_of[acc]()
    var batch = sequence.batch
    var state = shared_state[acc](team)
    var cells = state.unsafe_offset(2 * batch * hidden)
    load_state[dt, acc, hidden, has_initial](team, h0, batch, state)
    load_state[dt, acc, hidden, has_initial](team, c0, batch, cells)
    team.barrier()

    @always_inline
    def cell[
        w: Int
    ](
        t: Int,
        b: Int,
        unit: Int,
        sums: Ptr[acc],
        before: Ptr[acc],
        after: Ptr[acc],
    ) {imm} -> None:
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
        var h = sigmoid(gate(3)) * tanh(next)
        after.unsafe_store(0, h)
        sequence.y.unsafe_store(
            t * sequence.y_step + b * sequence.y_row + unit, h.cast[dt]()
        )

    run_steps[acc, wt, 4, hidden, reverse, pairs](
        team,
        sequence.steps,
        batch,
        weights,
        state,
        3 * batch * hidden,
        cell,
    )
    save_state[dt, acc, hidden](
        team,
        state.unsafe_offset(sequence.steps % 2 * batch * hidden),
        batch,
        hn,
    )
    save_state[dt, acc, hidden](team, cells, batch, cn)


@always_inline
def gru_layer[
    dt: DType,
    acc: DType,
    wt: DType,
    hidden: Int,
    reverse: Bool,
    has_initial: Bool,
    *,
    pairs: Bool = False,
](
    team: Team,
    sequence: Sequence[dt, dt],
    weights: Ptr[wt],
    bias_n: Ptr[wt],
    h0: Ptr[dt],
    hn: Ptr[dt],
):
    """Runs a GRU layer in one direction (PyTorch `torch.nn.GRU`).

    `r, z = sigmoid(x_rz + W_rz h)`, `n = tanh(x_n + r (W_n h + b_n))`, `h' = (1 - z) n + z h`,
    where x holds the input projection, its bias and the recurrent biases of r and z; gates in the
    order r, z, n. Weights are packed as [ceil(hidden/lanes)][hidden][3][lanes].
    Scratch of the first thread: `2 * batch * hidden` elements of `acc`, and with pairs on every thread
    half of `batch * hidden` after that.

    Parameters:
        dt: Stored type of inputs, outputs and states.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        hidden: Units.
        reverse: Run from the last step to the first.
        has_initial: The initial states are given; otherwise they are zeros and not read.
        pairs: Multiply pairs of bfloat16 (see `run_steps`).

    Args:
        team: The threads; each computes its share of units.
        sequence: Input projections (3*hidden elements a row) and outputs.
        weights: Packed recurrent weights.
        bias_n: Recurrent bias of n (zeros for a layer without biases).
        h0: Initial hidden state [batch, hidden].
        hn: Final hidden state.
    """
    comptime lanes = simd_width_of[acc]()
    var batch = sequence.batch
    var state = shared_state[acc](team)
    load_state[dt, acc, hidden, has_initial](team, h0, batch, state)
    team.barrier()

    @always_inline
    def cell[
        w: Int
    ](
        t: Int,
        b: Int,
        unit: Int,
        sums: Ptr[acc],
        before: Ptr[acc],
        after: Ptr[acc],
    ) {imm} -> None:
        var x = sequence.gates.unsafe_offset(
            t * sequence.gates_step + b * sequence.gates_row + unit
        )
        var r = sigmoid(
            sums.unsafe_load[width=w](0) + x.unsafe_load[width=w](0).cast[acc]()
        )
        var z = sigmoid(
            sums.unsafe_load[width=w](lanes)
            + x.unsafe_load[width=w](hidden).cast[acc]()
        )
        var recurrent = sums.unsafe_load[width=w](2 * lanes)
        recurrent += bias_n.unsafe_load[width=w](unit).cast[acc]()
        var n = tanh(
            fma(r, recurrent, x.unsafe_load[width=w](2 * hidden).cast[acc]())
        )
        var h = fma(z, before.unsafe_load[width=w](0) - n, n)
        after.unsafe_store(0, h)
        sequence.y.unsafe_store(
            t * sequence.y_step + b * sequence.y_row + unit, h.cast[dt]()
        )

    run_steps[acc, wt, 3, hidden, reverse, pairs](
        team,
        sequence.steps,
        batch,
        weights,
        state,
        2 * batch * hidden,
        cell,
    )
    save_state[dt, acc, hidden](
        team,
        state.unsafe_offset(sequence.steps % 2 * batch * hidden),
        batch,
        hn,
    )


@always_inline
def rnn_layer[
    dt: DType,
    acc: DType,
    wt: DType,
    hidden: Int,
    reverse: Bool,
    has_initial: Bool,
    rectify: Bool,
    *,
    pairs: Bool = False,
](
    team: Team,
    sequence: Sequence[dt, dt],
    weights: Ptr[wt],
    h0: Ptr[dt],
    hn: Ptr[dt],
):
    """Runs a plain recurrent layer in one direction (PyTorch `torch.nn.RNN`).

    `h' = tanh(x + W h)`, or relu instead of tanh; x holds the input projection and both biases.
    Weights are packed as [ceil(hidden/lanes)][hidden][1][lanes].
    Scratch of the first thread: `2 * batch * hidden` elements of `acc`, and with pairs on every thread
    half of `batch * hidden` after that.

    Parameters:
        dt: Stored type of inputs, outputs and states.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        hidden: Units.
        reverse: Run from the last step to the first.
        has_initial: The initial states are given; otherwise they are zeros and not read.
        rectify: Use relu.
        pairs: Multiply pairs of bfloat16 (see `run_steps`).

    Args:
        team: The threads; each computes its share of units.
        sequence: Input projections (hidden elements a row) and outputs.
        weights: Packed recurrent weights.
        h0: Initial hidden state [batch, hidden].
        hn: Final hidden state.
    """
    var batch = sequence.batch
    var state = shared_state[acc](team)
    load_state[dt, acc, hidden, has_initial](team, h0, batch, state)
    team.barrier()

    @always_inline
    def cell[
        w: Int
    ](
        t: Int,
        b: Int,
        unit: Int,
        sums: Ptr[acc],
        before: Ptr[acc],
        after: Ptr[acc],
    ) {imm} -> None:
        var h = (
            sums.unsafe_load[width=w](0)
            + sequence.gates.unsafe_load[width=w](
                t * sequence.gates_step + b * sequence.gates_row + unit
            ).cast[acc]()
        )
        comptime if rectify:
            h = relu(h)
        else:
            h = tanh(h)
        after.unsafe_store(0, h)
        sequence.y.unsafe_store(
            t * sequence.y_step + b * sequence.y_row + unit, h.cast[dt]()
        )

    run_steps[acc, wt, 1, hidden, reverse, pairs](
        team,
        sequence.steps,
        batch,
        weights,
        state,
        2 * batch * hidden,
        cell,
    )
    save_state[dt, acc, hidden](
        team,
        state.unsafe_offset(sequence.steps % 2 * batch * hidden),
        batch,
        hn,
    )
