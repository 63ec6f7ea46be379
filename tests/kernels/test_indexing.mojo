"""Checks gathering and scattering, repeated and invalid indices included."""

from std.testing import assert_equal

from maccel.indexing import (
    circular_index,
    gather_rows,
    reflect_index,
    replicate_index,
)
from maccel.scattering import SCATTER_ADD, SCATTER_SET, scatter_at
from maccel.team import Team

from team_fixture import buffer, control_block, filled

comptime F = DType.float32
comptime I = DType.int64


def check_gather(rows: Int, cols: Int, table_rows: Int, size: Int) raises:
    var table = filled[F](table_rows * cols, 4)
    var picked = buffer[I](rows)
    var y = buffer[F](rows * cols)
    var status = buffer[I](1)
    status[] = 0
    for i in range(rows):
        # The last one is invalid; negative ones count from the end.
        picked[unsafe_offset=i] = Int64((i * 7) % table_rows)
        if i % 5 == 4:
            picked[unsafe_offset=i] -= Int64(table_rows)
    if rows > 1:
        picked[unsafe_offset=rows - 1] = Int64(table_rows)

    def index[w: Int](row: Int) {imm} -> SIMD[I, w]:
        return picked.unsafe_load[width=w](row)

    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * cols + col, v)

    var block = control_block(size, 64)
    for tid in range(size):
        gather_rows[8, F](
            Team(block, tid),
            rows,
            cols,
            table,
            table_rows,
            cols,
            index,
            store,
            status,
        )
    assert_equal(status[] != 0, rows > 1)
    for row in range(rows - 1):
        for col in range(cols):
            assert_equal(
                y[unsafe_offset=row * cols + col],
                table[unsafe_offset=(row * 7) % table_rows * cols + col],
            )


def check_scatter(
    outer: Int, count: Int, inner: Int, length: Int, size: Int
) raises:
    var x = filled[F](outer * count * inner, 4)
    var added = buffer[F](outer * length * inner)
    var by_rows = buffer[F](outer * length * inner)
    var last = buffer[F](outer * length * inner)
    for i in range(outer * length * inner):
        added[unsafe_offset=i] = 1
        by_rows[unsafe_offset=i] = 1
        last[unsafe_offset=i] = 1

    def position[w: Int](o: Int, k: Int, i: Int) {imm} -> SIMD[I, w]:
        return SIMD[I, w](Int64((o * length + (k * 3) % length) * inner + i))

    def load[w: Int](o: Int, k: Int, i: Int) {imm} -> SIMD[F, w]:
        return x.unsafe_load[width=w]((o * count + k) * inner + i)

    var block = control_block(size, 64)
    var numel = outer * length * inner
    for tid in range(size):
        var team = Team(block, tid)
        scatter_at[1, F, SCATTER_ADD](
            team, outer, count, inner, added, numel, position, load
        )
        scatter_at[8, F, SCATTER_ADD](
            team, outer, count, inner, by_rows, numel, position, load
        )
        scatter_at[8, F, SCATTER_SET](
            team, outer, count, inner, last, numel, position, load
        )
    for o in range(outer):
        for r in range(length):
            for i in range(inner):
                var sum = Float32(1)
                var final = Float32(1)
                for k in range(count):
                    if (k * 3) % length == r:
                        final = x[unsafe_offset=(o * count + k) * inner + i]
                        sum += final
                var at = (o * length + r) * inner + i
                assert_equal(added[unsafe_offset=at], sum)
                assert_equal(by_rows[unsafe_offset=at], sum)
                assert_equal(last[unsafe_offset=at], final)


def test_padding_positions() raises:
    var i = SIMD[I, 8](-3, -2, -1, 0, 3, 4, 5, 6)
    assert_equal(reflect_index(i, 5), SIMD[I, 8](3, 2, 1, 0, 3, 4, 3, 2))
    assert_equal(replicate_index(i, 5), SIMD[I, 8](0, 0, 0, 0, 3, 4, 4, 4))
    assert_equal(circular_index(i, 5), SIMD[I, 8](2, 3, 4, 0, 3, 4, 0, 1))


def main() raises:
    for size in range(1, 4):
        check_gather(0, 4, 3, size)
        check_gather(1, 1, 1, size)
        check_gather(33, 17, 10, size)
        check_gather(500, 64, 90, size)
        check_scatter(1, 1, 1, 1, size)
        check_scatter(2, 9, 33, 4, size)
        check_scatter(3, 20, 700, 7, size)
    test_padding_positions()
