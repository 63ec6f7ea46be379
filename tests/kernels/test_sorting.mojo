"""Checks that sorting and selection are ordered and complete, with NaN as the largest value."""

from std.testing import assert_equal, assert_true

from maccel.selection import introsort_rows, kth_rows, median_rows, topk_rows
from maccel.sorting import sort_rows
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
        topk_rows[8, F, descending, True](
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
                # Of equal values another one may stand here.
                var q = Int(top_place[unsafe_offset=row * k + i])
                assert_equal(rank(x[unsafe_offset=row * cols + q]), v)
                assert_equal(rank(top[unsafe_offset=row * k + i]), v)
        for i in range(cols):
            assert_equal(seen[unsafe_offset=i], 1)


def check_selection(rows: Int, cols: Int, k: Int) raises:
    """Compares the unstable kernels with the stable sort."""
    var x = filled[F](rows * cols, 5)
    var y = buffer[F](rows * cols)
    var other = buffer[F](rows * cols)
    var found = buffer[F](2 * rows)
    var places = buffer[I](rows * cols)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * cols + col)

    def store[w: Int](row: Int, i: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * cols + i, v)

    def store_other[w: Int](row: Int, i: Int, v: SIMD[F, w]) {imm}:
        other.unsafe_store(row * cols + i, v)

    def store_kth[w: Int](row: Int, i: Int, v: SIMD[F, w]) {imm}:
        found.unsafe_store(2 * row, v)

    def store_median[w: Int](row: Int, i: Int, v: SIMD[F, w]) {imm}:
        found.unsafe_store(2 * row + 1, v)

    def store_place[w: Int](row: Int, i: Int, v: SIMD[I, w]) {imm}:
        places.unsafe_store(row * cols + i, v)

    var team = Team(control_block(1, cols * 24 + 128), 0)
    sort_rows[F, False](team, rows, cols, load, store, store_place)
    introsort_rows[F, False](team, rows, cols, load, store_other, store_place)
    kth_rows[F](team, rows, cols, k, load, store_kth, store_place)
    median_rows[F, False](team, rows, cols, load, store_median, store_place)
    for row in range(rows):
        for i in range(cols):
            assert_equal(
                other[unsafe_offset=row * cols + i],
                y[unsafe_offset=row * cols + i],
            )
        var at = row * cols
        assert_equal(found[unsafe_offset=2 * row], y[unsafe_offset=at + k - 1])
        var middle = y[unsafe_offset=at + (cols - 1) // 2]
        assert_equal(found[unsafe_offset=2 * row + 1], middle)


def main() raises:
    check_selection(3, 1, 1)
    check_selection(2, 16, 5)
    check_selection(2, 500, 17)
    for size in range(1, 3):
        check[False](0, 4, 2, size)
        check[False](1, 1, 1, size)
        check[True](3, 7, 7, size)
        check[False](2, 16, 5, size)
        check[True](2, 17, 16, size)
        check[True](5, 1000, 50, size)
        check[False](2, 777, 300, size)
