"""Checks products by AMX tiles against naive loops; inputs are exact, so results must be equal."""

from std.testing import assert_equal

from maccel.amx import fits_tiles
from maccel.pairs import as_pairs
from maccel.team import Team
from maccel.tile_grid import linear_tiles, tiles_scratch
from maccel.tiles import PANEL

from team_fixture import buffer, control_block, filled, tiles_permitted

comptime F = DType.float32
comptime H = DType.bfloat16


def check_linear[
    N: Int, K: Int
](rows: Int, padding: Int, team_size: Int) raises:
    comptime panels = (N + PANEL - 1) // PANEL
    var a_row = K + padding
    var a = filled[H](rows * a_row, 1)
    var w = filled[H](K * N, 2)
    var packed = buffer[H](panels * K * PANEL)
    for p in range(panels):
        for k in range(K):
            for j in range(PANEL):
                packed[
                    unsafe_offset=(p * K + k - k % 2) * PANEL + 2 * j + k % 2
                ] = w[unsafe_offset=k * N + p * PANEL + j] if (
                    p * PANEL + j < N
                ) else Scalar[
                    H
                ](
                    0
                )
    var y = buffer[F](rows * N + 1)
    var calls = buffer[DType.int32](rows * N + 1)
    for i in range(rows * N + 1):
        y[unsafe_offset=i] = -1000
        calls[unsafe_offset=i] = 0

    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * N + col, v)
        for i in range(w):
            calls[unsafe_offset=row * N + col + i] += 1

    var block = control_block(team_size, tiles_scratch())
    for tid in range(team_size):
        linear_tiles[N=N, K=K // 2](
            Team(block, tid),
            rows,
            as_pairs(a),
            a_row // 2,
            as_pairs(packed),
            store,
        )
    for i in range(rows):
        for j in range(N):
            var sum = Float32(0)
            for k in range(K):
                sum += (
                    a[unsafe_offset=i * a_row + k].cast[F]()
                    * w[unsafe_offset=k * N + j].cast[F]()
                )
            assert_equal(y[unsafe_offset=i * N + j], sum)
            assert_equal(calls[unsafe_offset=i * N + j], 1)
    assert_equal(calls[unsafe_offset=rows * N], 0)


def test_linear() raises:
    for rows in range(0, 70):
        check_linear[50, 96](rows, 2, 1 + rows % 3)
    check_linear[32, 24](33, 0, 2)
    check_linear[1, 16](17, 2, 4)
    check_linear[70, 2304](150, 4, 3)
    check_linear[40, 1160](600, 0, 2)


def main() raises:
    comptime if not fits_tiles[16]():
        print("skipped: the target has no AMX")
        return
    else:
        if tiles_permitted():
            test_linear()
            print("ok")
