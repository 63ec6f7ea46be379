"""Checks that sorting is ordered, stable and complete, with NaN as the largest value."""

from std.testing import assert_equal, assert_true

from maccel.sorting import sort_rows, topk_rows
from maccel.team import Team
from maccel.types import Ptr

from team_fixture import buffer, control_block, filled

comptime F = DType.float32
comptime I = DType.int64


def rank(v: Float32) -> Float64:
    """Returns a number that orders NaN above all."""
    return Float64(v) if v == v else 1e300


def check[descending: Bool](rows: Int, cols: Int, k: Int, size: Int) raises:
    var x = filled[F](rows * cols, 3)
    if cols > 9:
        var zero = Float32(0)
        x[unsafe_offset=5] = zero / zero
        x[unsafe_offset=8] = zero / zero
    var y = buffer[F](rows * cols)
    var place = buffer[I](rows * cols)
    var top = buffer[F](rows * k)
    var top_place = buffer[I](rows * k)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * cols + col)

    def store[w: Int](row: Int, i: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * cols + i, v)

    def store_place[w: Int](row: Int, i: Int, v: SIMD[I, w]) {imm}:
        place.unsafe_store(row * cols + i, v)

    def store_top[w: Int](row: Int, i: Int, v: SIMD[F, w]) {imm}:
        top.unsafe_store(row * k + i, v)

    def store_top_place[w: Int](row: Int, i: Int, v: SIMD[I, w]) {imm}:
        top_place.unsafe_store(row * k + i, v)

    var block = control_block(size, cols * 24 + 128)
    for tid in range(size):
        var team = Team(block, tid)
        sort_rows[F, descending](team, rows, cols, load, store, store_place)
        topk_rows[8, F, descending](
            team, rows, cols, k, load, store_top, store_top_place
        )
    for row in range(rows):
        var seen = buffer[I](cols)
        for i in range(cols):
            seen[unsafe_offset=i] = 0
        for i in range(cols):
            var at = row * cols + i
            var p = place[unsafe_offset=at]
            seen[unsafe_offset=Int(p)] += 1
            var v = rank(y[unsafe_offset=at])
            assert_equal(v, rank(x[unsafe_offset=row * cols + Int(p)]))
            if i > 0:
                var before = rank(y[unsafe_offset=at - 1])
                assert_true(before >= v if descending else before <= v)
                if before == v:
                    assert_true(place[unsafe_offset=at - 1] < p)
            if i < k:
                assert_equal(top_place[unsafe_offset=row * k + i], p)
                assert_equal(rank(top[unsafe_offset=row * k + i]), v)
        for i in range(cols):
            assert_equal(seen[unsafe_offset=i], 1)


def main() raises:
    for size in range(1, 3):
        check[False](0, 4, 2, size)
        check[False](1, 1, 1, size)
        check[True](3, 7, 7, size)
        check[False](2, 16, 5, size)
        check[True](2, 17, 16, size)
        check[True](5, 1000, 50, size)
        check[False](2, 777, 300, size)
