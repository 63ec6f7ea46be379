"""Checks the recurrent layers against naive loops in float64."""

from std.math import exp, tanh
from std.sys import simd_width_of
from std.testing import assert_almost_equal

from maccel.pairs import has_pairs
from maccel.pool import (
    pool_create,
    pool_destroy,
    pool_run,
    pool_set_scratch,
)
from maccel.recurrent import Sequence, gru_layer, lstm_layer, rnn_layer
from maccel.team import Team
from maccel.types import Args, Ptr, arg_int, arg_ptr

from team_fixture import buffer, filled

comptime F = DType.float32
comptime D = DType.float64
comptime H = DType.bfloat16
comptime lanes = simd_width_of[F]()


def sigmoid64(x: Float64) -> Float64:
    return 1.0 / (1.0 + exp(-x))


def layer[
    gates: Int, hidden: Int, reverse: Bool, initial: Bool, pairs: Bool
](args: Args, pool: Args, tid: Int) abi("C"):
    """The task: `gates` chooses the layer, 4 LSTM, 3 GRU, 1 RNN."""
    comptime W = H if pairs else F
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
    var weights = arg_ptr[W](args, 2)
    var h0 = arg_ptr[F](args, 4)
    var hn = arg_ptr[F](args, 6)
    comptime if gates == 4:
        lstm_layer[F, F, W, hidden, reverse, initial, pairs=pairs](
            team,
            sequence,
            weights,
            h0,
            arg_ptr[F](args, 5),
            hn,
            arg_ptr[F](args, 7),
        )
    elif gates == 3:
        gru_layer[F, F, W, hidden, reverse, initial, pairs=pairs](
            team, sequence, weights, arg_ptr[W](args, 3), h0, hn
        )
    else:
        rnn_layer[F, F, W, hidden, reverse, initial, False, pairs=pairs](
            team, sequence, weights, h0, hn
        )


def rounded(value: Float32) -> Float32:
    return value.cast[H]().cast[F]()


def packed_weights[
    W: DType, //, gates: Int, hidden: Int, pairs: Bool
](w: Ptr[F], packed: Ptr[W]):
    """Packs [gates][hidden][hidden]; neighbours along k lie together in pairs.
    """
    comptime group = 2 if pairs else 1
    for g in range(gates):
        for j in range(hidden):
            for k in range(hidden):
                var row = (j // lanes * hidden + k // group * group) * gates
                packed[
                    unsafe_offset=(row + g * group) * lanes
                    + j % lanes * group
                    + k % group
                ] = w[unsafe_offset=(g * hidden + j) * hidden + k].cast[W]()


def check[
    gates: Int, hidden: Int, reverse: Bool, initial: Bool, pairs: Bool = False
](steps: Int, batch: Int, threads: Int) raises:
    comptime W = H if pairs else F
    # A hidden value may round the other way than in float64: by 2^-9 of at most 1.
    comptime tolerance = 1.0 / 256 if pairs else 3e-5
    var x = filled[F](steps * batch * gates * hidden, 1)
    var w = filled[F](gates * hidden * hidden, 2)
    var bias = filled[F](hidden, 3)
    var bias_n = buffer[W](hidden)
    comptime if pairs:
        for i in range(gates * hidden * hidden):
            w[unsafe_offset=i] = rounded(w[unsafe_offset=i])
        for i in range(hidden):
            bias[unsafe_offset=i] = rounded(bias[unsafe_offset=i])
    for i in range(hidden):
        bias_n[unsafe_offset=i] = bias[unsafe_offset=i].cast[W]()
    var h0 = filled[F](batch * hidden, 4)
    var c0 = filled[F](batch * hidden, 5)
    var panels = (hidden + lanes - 1) // lanes
    var packed = buffer[W](panels * hidden * gates * lanes)
    packed_weights[gates, hidden, pairs](w, packed)
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
        Int(bias_n),
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
    var bytes = (4 * batch * hidden * 4 + 64) // 64 * 64
    pool_set_scratch(pool, Int(buffer[F](threads * bytes)), bytes)
    pool_run(pool, layer[gates, hidden, reverse, initial, pairs], args, threads)
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
                        var by = h[unsafe_offset=k]
                        comptime if pairs:
                            by = rounded(by.cast[F]()).cast[D]()
                        r[g] += (
                            w[unsafe_offset=(g * hidden + j) * hidden + k].cast[
                                D
                            ]()
                            * by
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
                    atol=tolerance,
                )
        for j in range(hidden):
            var at = b * hidden + j
            assert_almost_equal(
                hn[unsafe_offset=at].cast[D](),
                h[unsafe_offset=j],
                atol=tolerance,
            )
            comptime if gates == 4:
                assert_almost_equal(
                    cn[unsafe_offset=at].cast[D](),
                    c[unsafe_offset=j],
                    atol=tolerance,
                )


def main() raises:
    check[4, 19, False, True](3, 13, 2)
    check[4, 19, False, True](0, 2, 1)
    check[4, 19, False, True](2, 0, 2)
    check[4, 16, True, False](3, 1, 3)
    check[3, 19, True, True](3, 7, 1)
    check[1, 33, False, False](3, 3, 3)
    comptime if has_pairs():
        check[4, 18, False, True, True](3, 13, 2)
        check[3, 34, True, False, True](3, 1, 3)
        check[1, 16, False, True, True](4, 5, 1)
    print("ok")
