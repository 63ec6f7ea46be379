"""Checks running sums, products and extremes against naive loops."""

from std.testing import assert_equal

from maccel.reductions import Prod, Sum
from maccel.scan import scan_columns, scan_extremes, scan_rows
from maccel.team import Team

from team_fixture import buffer, control_block, filled

comptime F = DType.float32
comptime I = DType.int64


def check(outer: Int, n: Int, inner: Int, size: Int) raises:
    var count = outer * n * inner
    var x = filled[F](count, 3)
    var sums = buffer[F](count)
    var columns = buffer[F](count)
    var best = buffer[F](count)
    var place = buffer[I](count)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * inner + col)

    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        sums.unsafe_store(row * inner + col, v)

    def load3[w: Int](o: Int, k: Int, i: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w]((o * n + k) * inner + i)

    def store3[w: Int](o: Int, k: Int, i: Int, v: SIMD[F, w]) {imm}:
        columns.unsafe_store((o * n + k) * inner + i, v)

    def store_best[w: Int](o: Int, k: Int, i: Int, v: SIMD[F, w]) {imm}:
        best.unsafe_store((o * n + k) * inner + i, v)

    def store_place[w: Int](o: Int, k: Int, i: Int, v: SIMD[I, w]) {imm}:
        place.unsafe_store((o * n + k) * inner + i, v)

    var block = control_block(size, 64)
    for tid in range(size):
        var team = Team(block, tid)
        scan_rows[Sum, F, DType.float64](team, outer * n, inner, load, store)
        scan_columns[Prod, 8, F, DType.float64](
            team, outer, n, inner, load3, store3
        )
        scan_extremes[True, 8, F](
            team, outer, n, inner, load3, store_best, store_place
        )
    for o in range(outer):
        for k in range(n):
            for i in range(inner):
                var at = (o * n + k) * inner + i
                var v = x[unsafe_offset=at]
                var sum = v + (sums[unsafe_offset=at - 1] if i > 0 else 0)
                assert_equal(sums[unsafe_offset=at], sum)
                var up = at - inner
                if k == 0:
                    assert_equal(columns[unsafe_offset=at], v)
                    assert_equal(place[unsafe_offset=at], 0)
                elif v >= best[unsafe_offset=up]:
                    assert_equal(best[unsafe_offset=at], v)
                    assert_equal(place[unsafe_offset=at], Int64(k))
                else:
                    assert_equal(best[unsafe_offset=at], best[unsafe_offset=up])


def main() raises:
    for size in range(1, 4):
        check(0, 3, 4, size)
        check(1, 1, 1, size)
        check(2, 5, 7, size)
        check(3, 9, 33, size)
        check(1, 40, 1001, size)
