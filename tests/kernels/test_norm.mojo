"""Checks layer, RMS and group norm against their formulas, on one thread and on several."""

from std.math import sqrt
from std.testing import assert_equal, assert_true

from maccel.group_norm import group_norm_first, group_norm_last
from maccel.norm import layer_norm, normalize_rows, rms_norm
from maccel.team import Team
from maccel.types import Args, Ptr, arg_int, arg_ptr

from team_fixture import buffer, filled
from threads_fixture import address, run_task

comptime F = DType.float32
comptime EPS = 1e-5


def rows_task[kind: Int](args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[F](args, 1)
    var rows = arg_int(args, 2)
    var cols = arg_int(args, 3)
    var team = Team(pool, tid)

    def load[w: Int](row: Int, col: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w](row * cols + col)

    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * cols + col, v)

    comptime if kind == 0:
        layer_norm[16, F](team, rows, cols, EPS, load, store)
    elif kind == 1:
        layer_norm[16, F, buffered=True](team, rows, cols, EPS, load, store)
    elif kind == 2:
        rms_norm[16, F](team, rows, cols, EPS, load, store)
    else:
        normalize_rows[16, F](team, rows, cols, EPS, load, store)


def expected_row[
    kind: Int
](x: Ptr[F], start: Int, cols: Int, col: Int) -> Float64:
    """Returns the formula's value of one element."""
    var mean = Float64(0)
    var squares = Float64(0)
    for i in range(cols):
        mean += Float64(x[unsafe_offset=start + i])
    mean /= Float64(cols)
    comptime if kind >= 2:
        mean = 0
    for i in range(cols):
        squares += (Float64(x[unsafe_offset=start + i]) - mean) ** 2
    var v = Float64(x[unsafe_offset=start + col]) - mean
    comptime if kind == 3:
        return v / max(sqrt(squares), EPS)
    return v / sqrt(squares / Float64(cols) + EPS)


def check_rows[kind: Int]() raises:
    for threads in range(1, 4, 2):
        for shape in range(6):
            var rows = [0, 3, 5, 9, 1, 2][shape]
            var cols = [4, 2, 15, 49, 40001, 20000][shape]
            var x = filled[F](rows * cols, 5)
            var y = buffer[F](rows * cols)
            var a = address(x)
            var b = address(y)
            run_task(rows_task[kind], threads, a, b, rows, cols)
            for row in range(rows):
                for col in range(0, cols, 1 + cols // 9):
                    var e = expected_row[kind](x, row * cols, cols, col)
                    var found = y[unsafe_offset=row * cols + col]
                    assert_true(abs(Float64(found) - e) < 3e-6)


def group_task[
    last: Bool, channels: Int, groups: Int
](args: Args, pool: Args, tid: Int) abi("C"):
    var x = arg_ptr[F](args, 0)
    var y = arg_ptr[F](args, 1)
    var images = arg_int(args, 2)
    var pixels = arg_int(args, 3)
    var team = Team(pool, tid)

    def store[w: Int](n: Int, i: Int, j: Int, v: SIMD[F, w]) {imm}:
        comptime if last:
            y.unsafe_store((n * pixels + i) * channels + j, v)
        else:
            y.unsafe_store((n * channels + i) * pixels + j, v)

    comptime if last:
        group_norm_last[W=16, acc=F, channels=channels, groups=groups](
            team, images, pixels, x, channels * pixels, EPS, store
        )
    else:
        group_norm_first[W=16, acc=F, channels=channels, groups=groups](
            team, images, pixels, x, channels * pixels, EPS, store
        )


def check_group[
    last: Bool, channels: Int, groups: Int
](images: Int, pixels: Int) raises:
    comptime size = channels // groups
    var count = images * channels * pixels
    var x = filled[F](count, 7)
    for i in range(count):
        x[unsafe_offset=i] += 20
    var first = buffer[F](count)
    for threads in range(1, 4):
        var y = buffer[F](count)
        run_task(
            group_task[last, channels, groups],
            threads,
            address(x),
            address(y),
            images,
            pixels,
        )
        for i in range(count):
            if threads == 1:
                first[unsafe_offset=i] = y[unsafe_offset=i]
            assert_equal(first[unsafe_offset=i], y[unsafe_offset=i])
    for n in range(images):
        for g in range(groups):
            # The group as one row.
            var row = buffer[F](size * pixels)
            for c in range(size):
                for p in range(pixels):
                    var channel = g * size + c
                    var at = (n * channels + channel) * pixels + p
                    if last:
                        at = (n * pixels + p) * channels + channel
                    row[unsafe_offset=c * pixels + p] = x[unsafe_offset=at]
            for p in range(0, pixels, 1 + pixels // 5):
                var at = (n * channels + g * size) * pixels + p
                if last:
                    at = (n * pixels + p) * channels + g * size
                var e = expected_row[0](row, 0, size * pixels, p)
                assert_true(abs(Float64(first[unsafe_offset=at]) - e) < 1e-5)


def main() raises:
    check_rows[0]()
    check_rows[1]()
    check_rows[2]()
    check_rows[3]()
    check_group[False, 12, 4](2, 50)
    check_group[True, 12, 4](2, 50)
    check_group[False, 6, 6](1, 20000)
    check_group[True, 40, 4](1, 1000)
