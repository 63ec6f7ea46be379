"""Checks softmax against its formula in float64, for every way of sharing the work."""

from std.math import exp, log
from std.testing import assert_true

from maccel.softmax import softmax, softmax_columns
from maccel.team import Team
from maccel.types import Args, Ptr, arg_int, arg_ptr

from team_fixture import buffer, filled
from threads_fixture import address, run_task

comptime F = DType.float32


def rows_task[
    buffered: Bool, logarithm: Bool
](args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[F](args, 1)
    var cols = arg_int(args, 3)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * cols + col)

    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * cols + col, v)

    softmax[16, F, buffered=buffered, logarithm=logarithm](
        Team(pool, tid), arg_int(args, 2), cols, load, store
    )


def columns_task(args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[F](args, 1)
    var n = arg_int(args, 3)
    var inner = arg_int(args, 4)

    def load[w: Int](o: Int, r: Int, i: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w]((o * n + r) * inner + i)

    def store[w: Int](o: Int, r: Int, i: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((o * n + r) * inner + i, v)

    softmax_columns[16, F](
        Team(pool, tid), arg_int(args, 2), n, inner, load, store
    )


def check(
    x: Ptr[F], y: Ptr[F], start: Int, count: Int, step: Int, logarithm: Bool
) raises:
    """Compares one run of values with the formula."""
    var top = Float64(-1e300)
    for i in range(count):
        top = max(top, Float64(x[unsafe_offset=start + i * step]))
    var total = Float64(0)
    for i in range(count):
        total += exp(Float64(x[unsafe_offset=start + i * step]) - top)
    for i in range(count):
        var d = Float64(x[unsafe_offset=start + i * step]) - top
        var expected = d - log(total) if logarithm else exp(d) / total
        var miss = abs(Float64(y[unsafe_offset=start + i * step]) - expected)
        assert_true(miss <= 1e-6 * abs(expected) + 1e-7)


def test_rows_match_formula() raises:
    for threads in range(1, 4, 2):
        for shape in range(7):
            var rows = [0, 3, 5, 7, 40, 1, 2][shape]
            var cols = [4, 1, 15, 16, 33, 50257, 20000][shape]
            var x = filled[F](rows * cols, 5)
            var y = buffer[F](rows * cols)
            for mode in range(3):
                var a = address(x)
                var b = address(y)
                if mode == 0:
                    run_task(rows_task[True, False], threads, a, b, rows, cols)
                elif mode == 1:
                    run_task(rows_task[False, False], threads, a, b, rows, cols)
                else:
                    run_task(rows_task[True, True], threads, a, b, rows, cols)
                for row in range(rows):
                    check(x, y, row * cols, cols, 1, mode == 2)


def test_columns_match_formula() raises:
    var x = filled[F](3 * 11 * 37, 6)
    var y = buffer[F](3 * 11 * 37)
    run_task(columns_task, 3, address(x), address(y), 3, 11, 37)
    for o in range(3):
        for i in range(37):
            check(x, y, o * 11 * 37 + i, 11, 37, False)


def test_infinite_rows() raises:
    comptime inf = Float32(3e38) * 10
    var x = buffer[F](40)
    var y = buffer[F](40)
    for i in range(20):
        x[unsafe_offset=i] = -inf
        x[unsafe_offset=20 + i] = -inf if i > 0 else 1.0
    run_task(rows_task[True, False], 1, address(x), address(y), 2, 20)
    assert_true(not (y[unsafe_offset=0] == y[unsafe_offset=0]))
    assert_true(y[unsafe_offset=20] == 1.0)
    assert_true(y[unsafe_offset=21] == 0.0)


def main() raises:
    test_rows_match_formula()
    test_columns_match_formula()
    test_infinite_rows()
