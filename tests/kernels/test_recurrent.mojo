"""Checks the recurrent layers against naive loops in float64."""

from std.math import exp, tanh
from std.sys import simd_width_of
from std.testing import assert_almost_equal

from maccel.pool import (
    pool_create,
    pool_destroy,
    pool_run,
    pool_set_scratch,
)
from maccel.recurrent import Sequence, gru_layer, lstm_layer, rnn_layer
from maccel.team import Team
from maccel.types import Args, arg_int, arg_ptr

from team_fixture import buffer, filled

comptime F = DType.float32
comptime D = DType.float64
comptime lanes = simd_width_of[F]()


def sigmoid64(x: Float64) -> Float64:
    return 1.0 / (1.0 + exp(-x))


def layer[
    gates: Int, hidden: Int, reverse: Bool, initial: Bool
](args: Args, pool: Args, tid: Int) abi("C"):
    """The task: `gates` chooses the layer, 4 LSTM, 3 GRU, 1 RNN."""
    var batch = arg_int(args, 9)
    var sequence = Sequence[F, F](
        arg_int(args, 8),
        batch,
        arg_ptr[F](args, 0),
        batch * gates * hidden,
        gates * hidden,
        arg_ptr[F](args, 1),
        2 * hidden,
        arg_int(args, 10),
    )
    var team = Team(pool, tid)
    var weights = arg_ptr[F](args, 2)
    var h0 = arg_ptr[F](args, 4)
    var hn = arg_ptr[F](args, 6)
    comptime if gates == 4:
        lstm_layer[F, F, F, hidden, reverse, initial](
            team,
            sequence,
            weights,
            h0,
            arg_ptr[F](args, 5),
            hn,
            arg_ptr[F](args, 7),
        )
    elif gates == 3:
        gru_layer[F, F, F, hidden, reverse, initial](
            team, sequence, weights, arg_ptr[F](args, 3), h0, hn
        )
    else:
        rnn_layer[F, F, F, hidden, reverse, initial, False](
            team, sequence, weights, h0, hn
        )


def check[
    gates: Int, hidden: Int, reverse: Bool, initial: Bool
](steps: Int, batch: Int, threads: Int) raises:
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
    var args = buffer[DType.int64](16)
    var words: Array[Int, 11] = [
        Int(x),
        Int(y),
        Int(packed),
        Int(bias),
        Int(h0),
        Int(c0),
        Int(hn),
        Int(cn),
        steps,
        batch,
        y_row,
    ]
    for i in range(11):
        args[unsafe_offset=i] = Int64(words[i])
    var pool = pool_create(threads)
    var bytes = (3 * batch * hidden * 4 + 64) // 64 * 64
    pool_set_scratch(pool, Int(buffer[F](threads * bytes)), bytes)
    pool_run(pool, layer[gates, hidden, reverse, initial], args, threads)
    pool_destroy(pool)

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
    check[4, 19, False, True](3, 13, 2)
    check[4, 19, False, True](0, 2, 1)
    check[4, 19, False, True](2, 0, 2)
    check[4, 16, True, False](3, 1, 3)
    check[3, 19, True, True](3, 7, 1)
    check[1, 33, False, False](3, 3, 3)
    print("ok")
