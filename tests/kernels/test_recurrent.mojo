"""Checks the recurrent layers against naive loops in float64."""

from std.math import exp, tanh
from std.sys import simd_width_of
from std.testing import assert_almost_equal

from maccel.recurrent import Sequence, gru_layer, lstm_layer, rnn_layer
from maccel.team import Team
from maccel.types import Ptr

from team_fixture import buffer, control_block, filled

comptime F = DType.float32
comptime D = DType.float64
comptime lanes = simd_width_of[F]()


def sigmoid64(x: Float64) -> Float64:
    return 1.0 / (1.0 + exp(-x))


def check[
    gates: Int, hidden: Int, reverse: Bool, initial: Bool
](steps: Int, batch: Int) raises:
    """`gates` chooses the layer: 4 LSTM, 3 GRU, 1 RNN."""
    var x = filled[F](steps * batch * gates * hidden, 1)
    var w = filled[F](gates * hidden * hidden, 2)
    var bias = filled[F](hidden, 3)
    var h0 = filled[F](batch * hidden, 4)
    var c0 = filled[F](batch * hidden, 5)
    var panels = (hidden + lanes - 1) // lanes
    var packed = buffer[F](panels * hidden * gates * lanes)
    for g in range(gates):
        for j in range(hidden):
            for k in range(hidden):
                packed[
                    unsafe_offset=((j // lanes * hidden + k) * gates + g)
                    * lanes
                    + j % lanes
                ] = w[unsafe_offset=(g * hidden + j) * hidden + k]
    # Outputs are batch first and padded, as for one half of a bidirectional layer.
    comptime y_step = 2 * hidden
    var y_row = steps * y_step
    var y = buffer[F](batch * y_row)
    var hn = buffer[F](batch * hidden)
    var cn = buffer[F](batch * hidden)
    var sequence = Sequence[F, F](
        steps,
        batch,
        x,
        batch * gates * hidden,
        gates * hidden,
        y,
        y_step,
        y_row,
    )
    var team = Team(control_block(1, 3 * batch * hidden * 8), 0)
    comptime if gates == 4:
        lstm_layer[F, F, F, hidden, reverse, initial](
            team, sequence, packed, h0, c0, hn, cn
        )
    elif gates == 3:
        gru_layer[F, F, F, hidden, reverse, initial](
            team, sequence, packed, bias, h0, hn
        )
    else:
        rnn_layer[F, F, F, hidden, reverse, initial, False](
            team, sequence, packed, h0, hn
        )

    for b in range(batch):
        var h = buffer[D](hidden)
        var c = buffer[D](hidden)
        var next = buffer[D](hidden)
        for j in range(hidden):
            h[unsafe_offset=j] = 0
            c[unsafe_offset=j] = 0
            if initial:
                h[unsafe_offset=j] = h0[unsafe_offset=b * hidden + j].cast[D]()
                c[unsafe_offset=j] = c0[unsafe_offset=b * hidden + j].cast[D]()
        for step in range(steps):
            var t = steps - 1 - step if reverse else step
            for j in range(hidden):
                var s = Array[Float64, 4](fill=0)
                var r = Array[Float64, 4](fill=0)
                for g in range(gates):
                    s[g] = x[
                        unsafe_offset=(t * batch + b) * gates * hidden
                        + g * hidden
                        + j
                    ].cast[D]()
                    for k in range(hidden):
                        r[g] += (
                            w[unsafe_offset=(g * hidden + j) * hidden + k].cast[
                                D
                            ]()
                            * h[unsafe_offset=k]
                        )
                comptime if gates == 4:
                    c[unsafe_offset=j] = sigmoid64(s[1] + r[1]) * c[
                        unsafe_offset=j
                    ] + sigmoid64(s[0] + r[0]) * tanh(s[2] + r[2])
                    next[unsafe_offset=j] = sigmoid64(s[3] + r[3]) * tanh(
                        c[unsafe_offset=j]
                    )
                elif gates == 3:
                    var z = sigmoid64(s[1] + r[1])
                    var n = tanh(
                        s[2]
                        + sigmoid64(s[0] + r[0])
                        * (r[2] + bias[unsafe_offset=j].cast[D]())
                    )
                    next[unsafe_offset=j] = (1 - z) * n + z * h[unsafe_offset=j]
                else:
                    next[unsafe_offset=j] = tanh(s[0] + r[0])
            for j in range(hidden):
                h[unsafe_offset=j] = next[unsafe_offset=j]
                assert_almost_equal(
                    y[unsafe_offset=b * y_row + t * y_step + j].cast[D](),
                    h[unsafe_offset=j],
                    atol=3e-5,
                )
        for j in range(hidden):
            var at = b * hidden + j
            assert_almost_equal(
                hn[unsafe_offset=at].cast[D](), h[unsafe_offset=j], atol=3e-5
            )
            comptime if gates == 4:
                assert_almost_equal(
                    cn[unsafe_offset=at].cast[D](),
                    c[unsafe_offset=j],
                    atol=3e-5,
                )


def main() raises:
    check[4, 19, False, True](3, 13)
    check[4, 19, False, True](0, 2)
    check[4, 19, False, True](2, 0)
    check[4, 16, True, False](3, 1)
    check[3, 19, True, True](3, 7)
    check[1, 33, False, False](3, 3)
    print("ok")
