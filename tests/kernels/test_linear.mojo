"""Checks linear against a naive loop; inputs are exact, so results must be equal."""

from std.sys import simd_width_of
from std.testing import assert_equal, assert_true

from maccel.amx import has_amx
from maccel.gemm import partition
from maccel.linear import linear, linear_pairs, linear_scratch
from maccel.pairs import has_pairs
from maccel.team import Team
from maccel.tile_grid import tiles_scratch
from maccel.types import Ptr

from team_fixture import buffer, control_block, filled, tiles_permitted


def check[
    a_dt: DType,
    b_dt: DType,
    N: Int,
    K: Int,
    vectors: Int,
    widen: Bool = False,
    pairs: Bool = False,
](rows: Int, padding: Int, team_size: Int) raises:
    comptime acc = DType.float64 if a_dt == DType.float64 else DType.float32
    comptime NR = vectors * simd_width_of[acc]()
    comptime panels = (N + NR - 1) // NR
    var a_row = K + padding
    var a = filled[a_dt](rows * a_row + 1, 1)
    var w = filled[b_dt](K * N, 2)
    var packed = buffer[b_dt](panels * K * NR)
    for p in range(panels):
        for k in range(K):
            for j in range(NR):
                var at = (p * K + k) * NR + j
                comptime if pairs:
                    at = (p * K + k - k % 2) * NR + 2 * j + k % 2
                packed[unsafe_offset=at] = w[
                    unsafe_offset=k * N + p * NR + j
                ] if p * NR + j < N else Scalar[b_dt](0)
    var y = buffer[acc](rows * N + 1)
    var calls = buffer[DType.int32](rows * N + 1)
    for i in range(rows * N + 1):
        y[unsafe_offset=i] = -1000
        calls[unsafe_offset=i] = 0

    def store[w: Int](row: Int, col: Int, v: SIMD[acc, w]) {imm}:
        y.unsafe_store(row * N + col, v)
        for i in range(w):
            calls[unsafe_offset=row * N + col + i] += 1

    @always_inline
    def ahead[w: Int](row: Int, col: Int) {imm}:
        for i in range(col, min(N, col + w)):
            calls[unsafe_offset=row * N + i] *= 2
            calls[unsafe_offset=row * N + i] += 2

    var block = control_block(
        team_size,
        max(tiles_scratch(), linear_scratch[K, NR, acc, a_dt, b_dt, widen]()),
    )
    for tid in range(team_size):
        comptime if pairs:
            linear_pairs[N=N, K=K, NR=NR](
                Team(block, tid),
                rows,
                Ptr[DType.bfloat16](unsafe_from_address=Int(a)),
                a_row,
                Ptr[DType.bfloat16](unsafe_from_address=Int(packed)),
                store,
                ahead,
            )
        else:
            linear[N=N, K=K, NR=NR, acc=acc, widen=widen](
                Team(block, tid), rows, a, a_row, packed, store, ahead
            )
    for i in range(rows):
        for j in range(N):
            var sum = Scalar[acc](0)
            for k in range(K):
                sum += (
                    a[unsafe_offset=i * a_row + k].cast[acc]()
                    * w[unsafe_offset=k * N + j].cast[acc]()
                )
            assert_equal(y[unsafe_offset=i * N + j], sum)
            # Once ahead, then once stored; AMX tiles bring nothing to the cache.
            var called = calls[unsafe_offset=i * N + j]
            comptime if pairs and has_amx():
                assert_true(called == 1 or called == 3)
            else:
                assert_equal(called, 3)
    assert_equal(calls[unsafe_offset=rows * N], 0)


def test_every_height_and_ragged_columns() raises:
    comptime F = DType.float32
    for rows in range(0, 27):
        check[F, F, 117, 37, 3](rows, 0, 1 + rows % 3)
    check[F, F, 117, 37, 3](200, 11, 4)


def test_widths_of_panels() raises:
    comptime F = DType.float32
    for rows in range(1, 14):
        check[F, F, 64, 8, 4](rows, 1, 1)
        check[F, F, 33, 8, 2](rows, 1, 2)


def test_small_sizes() raises:
    comptime F = DType.float32
    check[F, F, 1, 1, 3](1, 0, 1)
    check[F, F, 1, 1, 3](9, 0, 4)
    check[F, F, 15, 0, 3](3, 1, 2)
    check[F, F, 16, 3, 3](2, 0, 7)


def test_long_reduction() raises:
    comptime F = DType.float32
    check[F, F, 450, 2500, 3](3, 0, 1)
    check[F, F, 450, 2500, 3](150, 4, 3)


def test_other_types() raises:
    check[DType.float64, DType.float64, 50, 300, 3](11, 0, 2)
    check[DType.bfloat16, DType.bfloat16, 50, 20, 3](11, 1, 2)
    check[DType.float16, DType.float16, 50, 20, 3](11, 0, 2)
    check[DType.float32, DType.bfloat16, 50, 20, 3](11, 0, 1)
    check[DType.float32, DType.bfloat16, 50, 20, 3, True](21, 0, 2)
    check[DType.float16, DType.float32, 50, 20, 3, True](21, 0, 2)
    check[DType.bfloat16, DType.bfloat16, 50, 1100, 3, True](150, 3, 2)
    check[DType.bfloat16, DType.bfloat16, 50, 20, 3, True](3, 0, 2)


def test_pairs_of_bfloat16() raises:
    comptime if has_pairs():
        if not tiles_permitted():
            return
        comptime H = DType.bfloat16
        for rows in range(1, 18):
            check[H, H, 50, 20, 3, pairs=True](rows, 2, 2)
        check[H, H, 130, 6, 4, pairs=True](9, 0, 3)
        for rows in range(1, 20):
            check[H, H, 50, 64, 2, pairs=True](rows, 0, 2)
        check[H, H, 50, 2300, 2, pairs=True](150, 4, 2)
        check[H, H, 50, 2, 3, pairs=True](3, 0, 1)


def test_partition_covers_every_tile_once() raises:
    for size in range(1, 9):
        for tiles in range(0, 14):
            for panels in range(1, 8):
                var seen = buffer[DType.int32](tiles * panels + 1)
                for i in range(tiles * panels):
                    seen[unsafe_offset=i] = 0
                for id in range(size):
                    var part = partition(id, size, tiles, panels, 8, 48)
                    for p in range(part.first_panel(), part.last_panel()):
                        for t in range(
                            part.from_tile(p, part.top),
                            part.to_tile(p, part.bottom),
                        ):
                            seen[unsafe_offset=t * panels + p] += 1
                for i in range(tiles * panels):
                    assert_equal(seen[unsafe_offset=i], 1)


def main() raises:
    test_every_height_and_ragged_columns()
    test_widths_of_panels()
    test_small_sizes()
    test_long_reduction()
    test_other_types()
    test_pairs_of_bfloat16()
    test_partition_covers_every_tile_once()
    print("ok")
