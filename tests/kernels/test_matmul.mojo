"""Checks matmul against a naive loop; inputs are exact, so results must be equal."""

from std.testing import assert_equal

from maccel.matmul import matmul, matmul_scratch
from maccel.team import Team

from team_fixture import buffer, control_block, filled


def check[
    dt: DType, acc: DType
](
    b0: Int,
    b1: Int,
    b2: Int,
    m: Int,
    n: Int,
    k: Int,
    a_transposed: Bool,
    b_transposed: Bool,
    broadcast: Bool,
    team_size: Int,
) raises:
    """`broadcast`: A repeats along batch1, B along batch0. Rows are 3 apart when dense.
    """
    var batch = b0 * b1 * b2
    var a_row = 1 if a_transposed else k + 3
    var a_col = m + 1 if a_transposed else 1
    var b_row = 1 if b_transposed else n + 2
    var b_col = k + 1 if b_transposed else 1
    var a_size = (m + 1) * (k + 3)
    var b_size = (n + 2) * (k + 1)
    var a_b2 = a_size
    var a_b1 = 0 if broadcast else a_size * b2
    var a_b0 = a_size * b2 * b1
    var b_b2 = b_size
    var b_b1 = b_size * b2
    var b_b0 = 0 if broadcast else b_size * b2 * b1
    var a = filled[dt](batch * a_size + 1, 1)
    var b = filled[dt](batch * b_size + 1, 2)
    var y = buffer[acc](batch * m * n + 1)
    var calls = buffer[DType.int32](batch * m * n + 1)
    for i in range(batch * m * n + 1):
        y[unsafe_offset=i] = -1000
        calls[unsafe_offset=i] = 0

    def store[w: Int](index: Int, row: Int, col: Int, v: SIMD[acc, w]) {imm}:
        y.unsafe_store((index * m + row) * n + col, v)
        for i in range(w):
            calls[unsafe_offset=(index * m + row) * n + col + i] += 1

    var block = control_block(team_size, matmul_scratch[acc]())
    for tid in range(team_size):
        matmul[acc=acc](
            Team(block, tid),
            b0,
            b1,
            b2,
            m,
            n,
            k,
            a,
            a_b0,
            a_b1,
            a_b2,
            a_row,
            a_col,
            b,
            b_b0,
            b_b1,
            b_b2,
            b_row,
            b_col,
            store,
        )
    for i0 in range(b0):
        for i1 in range(b1):
            for i2 in range(b2):
                var ap = a.unsafe_offset(i0 * a_b0 + i1 * a_b1 + i2 * a_b2)
                var bp = b.unsafe_offset(i0 * b_b0 + i1 * b_b1 + i2 * b_b2)
                for i in range(m):
                    for j in range(n):
                        var sum = Scalar[acc](0)
                        for l in range(k):
                            sum += (
                                ap[unsafe_offset=i * a_row + l * a_col].cast[
                                    acc
                                ]()
                                * bp[unsafe_offset=l * b_row + j * b_col].cast[
                                    acc
                                ]()
                            )
                        var at = (((i0 * b1 + i1) * b2 + i2) * m + i) * n + j
                        assert_equal(y[unsafe_offset=at], sum)
                        assert_equal(calls[unsafe_offset=at], 1)
    assert_equal(calls[unsafe_offset=batch * m * n], 0)


def check_layouts[
    dt: DType, acc: DType
](b0: Int, b1: Int, b2: Int, m: Int, n: Int, k: Int, team_size: Int) raises:
    for layout in range(4):
        check[dt, acc](
            b0,
            b1,
            b2,
            m,
            n,
            k,
            layout % 2 == 1,
            layout // 2 == 1,
            layout % 2 == 0,
            team_size,
        )


comptime F = DType.float32


def test_layouts_and_batches() raises:
    check_layouts[F, F](2, 3, 2, 5, 37, 19, 3)
    check_layouts[F, F](1, 2, 1, 33, 70, 40, 4)
    check_layouts[F, F](1, 1, 1, 17, 64, 33, 2)
    check_layouts[F, F](1, 1, 3, 9, 3, 50, 1)


def test_edges() raises:
    for size in range(3):
        check_layouts[F, F](1, 1, 1, size, 5, 3, 2)
        check_layouts[F, F](1, 1, 1, 5, size, 3, 2)
        check_layouts[F, F](1, 1, 1, 5, 20, size, 2)
        check_layouts[F, F](size, 1, 2, 12, 20, 4, 2)


def test_long_reduction_and_many_rows() raises:
    check_layouts[F, F](1, 1, 1, 20, 40, 2100, 2)
    check_layouts[F, F](1, 1, 1, 700, 33, 1100, 1)
    check_layouts[F, F](1, 1, 1, 3, 33, 1100, 5)


def test_other_types() raises:
    check_layouts[DType.float64, DType.float64](1, 2, 1, 11, 20, 9, 2)
    check_layouts[DType.bfloat16, F](1, 2, 1, 11, 40, 9, 2)
    check_layouts[DType.float16, F](1, 1, 1, 3, 40, 19, 2)


def test_integers() raises:
    check_layouts[DType.int64, DType.int64](1, 2, 2, 5, 19, 7, 3)
    check_layouts[DType.int32, DType.int32](1, 1, 1, 5, 35, 7, 1)
    check_layouts[DType.int8, DType.int8](1, 1, 1, 5, 3, 7, 1)


def main() raises:
    test_layouts_and_batches()
    test_edges()
    test_long_reduction_and_many_rows()
    test_other_types()
    test_integers()
    print("ok")
