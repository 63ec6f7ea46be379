"""Checks that pointwise nests visit every element once and that transposed copies transpose."""

from std.testing import assert_equal

from maccel.loops import pointwise, pointwise_1d
from maccel.team import Team
from maccel.transpose import copy_transposed

from team_fixture import buffer, control_block, filled

comptime F = DType.float32
comptime W = 8


def check_nest(rows: Int, cols: Int, size: Int) raises:
    var count = rows * cols
    var seen = buffer[F](count + W)
    var flat = buffer[F](count + W)
    for i in range(count + W):
        seen[unsafe_offset=i] = 0
        flat[unsafe_offset=i] = 0

    def visit[w: Int](row: Int, col: Int) {imm}:
        var at = row * cols + col
        seen.unsafe_store(at, seen.unsafe_load[width=w](at) + 1)

    def visit_flat[w: Int](i: Int) {imm}:
        flat.unsafe_store(i, flat.unsafe_load[width=w](i) + 1)

    var block = control_block(size, 64)
    for tid in range(size):
        pointwise[W](Team(block, tid), rows, cols, visit)
        pointwise_1d[W, grain=64](Team(block, tid), count, visit_flat)
    for i in range(count + W):
        var expected = Float32(1 if i < count else 0)
        assert_equal(seen[unsafe_offset=i], expected)
        assert_equal(flat[unsafe_offset=i], expected)


def test_pointwise_visits_each_element_once() raises:
    for size in range(1, 5):
        check_nest(0, 5, size)
        check_nest(5, 0, size)
        check_nest(1, 1, size)
        check_nest(3, W - 1, size)
        check_nest(7, W, size)
        check_nest(7, W + 1, size)
        check_nest(1, 60001, size)
        check_nest(900, 37, size)


def check_transpose(batch: Int, rows: Int, cols: Int, size: Int) raises:
    var count = batch * rows * cols
    var source = filled[F](count, 3)
    var target = buffer[F](count)
    var block = control_block(size, 64)
    for tid in range(size):
        copy_transposed(
            Team(block, tid),
            source,
            target,
            1,
            batch,
            rows,
            cols,
            0,
            rows * cols,
            rows,
            0,
            rows * cols,
            cols,
        )
    for b in range(batch):
        for r in range(rows):
            for c in range(cols):
                assert_equal(
                    target[unsafe_offset=(b * rows + r) * cols + c],
                    source[unsafe_offset=(b * cols + c) * rows + r],
                )


def test_copy_transposed_transposes() raises:
    for size in range(1, 4):
        check_transpose(0, 3, 4, size)
        check_transpose(1, 1, 1, size)
        check_transpose(2, 16, 16, size)
        check_transpose(3, 17, 200, size)
        check_transpose(1, 333, 222, size)


def main() raises:
    test_pointwise_visits_each_element_once()
    test_copy_transposed_transposes()
