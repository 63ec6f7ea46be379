"""Checks reductions, variances and log-sum-exp against naive loops."""

from std.math import exp, log
from std.testing import assert_true

from maccel.reduce import reduce_columns, reduce_rows
from maccel.reductions import (
    All,
    Any,
    ArgMax,
    ArgMin,
    Max,
    Min,
    Reduction,
    Sum,
)
from maccel.team import Team
from maccel.types import Args, Ptr, arg_int, arg_ptr
from maccel.variance import logsumexp_rows, variance_columns, variance_rows

from team_fixture import buffer, filled
from threads_fixture import address, run_task

comptime F = DType.float32
comptime D = DType.float64


def rows_task[
    op: Reduction, out: DType
](args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[out](args, 1)
    var cols = arg_int(args, 3)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * cols + col)

    def store[w: Int](row: Int, v: SIMD[out, w]) {imm}:
        y.unsafe_store(row, v)

    reduce_rows[op=op, W=16, dt=F, out=out](
        Team(pool, tid), arg_int(args, 2), cols, load, store
    )


def columns_task[
    op: Reduction, out: DType
](args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[out](args, 1)
    var n = arg_int(args, 3)
    var inner = arg_int(args, 4)

    def load[w: Int](o: Int, r: Int, i: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w]((o * n + r) * inner + i)

    def store[w: Int](o: Int, i: Int, v: SIMD[out, w]) {imm}:
        y.unsafe_store(o * inner + i, v)

    reduce_columns[op=op, W=16, dt=F, out=out](
        Team(pool, tid), arg_int(args, 2), n, inner, load, store
    )


def naive[
    op: Reduction, out: DType
](x: Ptr[F], start: Int, count: Int, step: Int) -> Float64:
    """Reduces in float64; positions are found by strict comparison."""
    var total = op.identity[D]()
    var place = 0
    for i in range(count):
        var v = SIMD[D, 1](Float64(x[unsafe_offset=start + i * step]))
        var next = op.combine(SIMD[D, 1](total), op.lift(v))[0]
        if next != total:
            place = i
        total = next
    return Float64(place) if op.indexed else total


def check[op: Reduction, out: DType](exact: Bool) raises:
    for threads in range(1, 4, 2):
        for shape in range(6):
            var outer = [1, 3, 2, 1, 1, 2][shape]
            var n = [1, 5, 17, 3, 40000, 600][shape]
            var inner = [1, 7, 33, 30011, 3, 65][shape]
            var x = filled[F](outer * n * inner, 5)
            var y = buffer[out](outer * n * inner)
            var a = address(x)
            var b = address(y)
            run_task(rows_task[op, out], threads, a, b, outer * n, inner)
            for row in range(0, outer * n, 1 + outer * n // 50):
                var e = naive[op, out](x, row * inner, inner, 1)
                var found = Float64(y[unsafe_offset=row])
                assert_true(abs(found - e) <= (0.0 if exact else 1e-3))
            run_task(columns_task[op, out], threads, a, b, outer, n, inner)
            for at in range(0, outer * inner, 1 + outer * inner // 50):
                var start = at // inner * n * inner + at % inner
                var e = naive[op, out](x, start, n, inner)
                var found = Float64(y[unsafe_offset=at])
                assert_true(abs(found - e) <= (0.0 if exact else 1e-3))


def statistics_task[kind: Int](args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[F](args, 1)
    var n = arg_int(args, 2)
    var inner = arg_int(args, 3)
    var team = Team(pool, tid)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * inner + col)

    def load3[w: Int](o: Int, row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * inner + col)

    def store[w: Int](row: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row, v)

    def store2[w: Int](o: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(col, v)

    comptime if kind == 0:
        variance_rows[16, F](team, n, inner, 1, load, store)
    elif kind == 1:
        variance_columns[16, F](team, 1, n, inner, 1, load3, store2)
    else:
        logsumexp_rows[16, F](team, n, inner, load, store)


def variance(x: Ptr[F], start: Int, count: Int, step: Int) -> Float64:
    """Returns the unbiased variance."""
    var mean = Float64(0)
    var squares = Float64(0)
    for i in range(count):
        mean += Float64(x[unsafe_offset=start + i * step]) / Float64(count)
    for i in range(count):
        squares += (Float64(x[unsafe_offset=start + i * step]) - mean) ** 2
    return squares / Float64(count - 1)


def test_statistics() raises:
    for threads in range(1, 4, 2):
        for shape in range(3):
            var n = [5, 3, 300][shape]
            var inner = [7, 20011, 33][shape]
            var x = filled[F](n * inner, 9)
            for i in range(n * inner):
                x[unsafe_offset=i] += 50
            var y = buffer[F](max(n, inner))
            var a = address(x)
            var b = address(y)
            run_task(statistics_task[0], threads, a, b, n, inner)
            for row in range(n):
                var e = variance(x, row * inner, inner, 1)
                assert_true(abs(Float64(y[unsafe_offset=row]) - e) < 1e-5)
            run_task(statistics_task[1], threads, a, b, n, inner)
            for col in range(0, inner, 1 + inner // 20):
                var e = variance(x, col, n, inner)
                assert_true(abs(Float64(y[unsafe_offset=col]) - e) < 1e-5)
            run_task(statistics_task[2], threads, a, b, n, inner)
            for row in range(0, n, 7):
                var total = Float64(0)
                for i in range(inner):
                    total += exp(Float64(x[unsafe_offset=row * inner + i]) - 50)
                var e = log(total) + 50
                assert_true(abs(Float64(y[unsafe_offset=row]) - e) < 1e-5)


def main() raises:
    # Inputs are multiples of 1/16: these sums are exact in any order.
    check[Sum, F](True)
    check[Max, F](True)
    check[Min, F](True)
    check[Any, F](True)
    check[All, F](True)
    check[ArgMax, DType.int64](True)
    check[ArgMin, DType.int64](True)
    test_statistics()
