"""Checks factorisations: their factors multiply to the matrix and have the shape they claim."""

from std.testing import assert_almost_equal, assert_equal

from maccel.dense import (
    D,
    complete,
    exchange_rows,
    factor_cholesky,
    factor_lu,
    factor_qr,
    identity,
    inner,
    jacobi_singular,
    jacobi_symmetric,
    multiply,
    reflect,
    solve_lower,
    solve_upper,
)
from maccel.types import Ptr

from team_fixture import buffer, filled


def copy(a: Ptr[D], count: Int) -> Ptr[D]:
    var b = buffer[D](count)
    for i in range(count):
        b[unsafe_offset=i] = a[unsafe_offset=i]
    return b


def near(a: Ptr[D], b: Ptr[D], count: Int) raises:
    for i in range(count):
        assert_almost_equal(a[unsafe_offset=i], b[unsafe_offset=i], atol=1e-9)


def check_solving(n: Int) raises:
    var a = filled[D](n * n, n)
    for i in range(n):
        a[unsafe_offset=i * n + (n - 1 - i)] += 4
    var x = filled[D](n * 2, 9)
    var b = buffer[D](n * 2)
    for i in range(n):
        for j in range(2):
            var sum = Float64(0)
            for k in range(n):
                sum += a[unsafe_offset=i * n + k] * x[unsafe_offset=k * 2 + j]
            b[unsafe_offset=i * 2 + j] = sum
    var pivots = buffer[D](n)
    assert_equal(factor_lu(a, pivots, n, n, True), 0)
    for k in range(n):
        exchange_rows(b, k, Int(pivots[unsafe_offset=k]) - 1, 2)
    solve_lower(a, b, n, 2, True)
    solve_upper(a, b, n, 2, False)
    near(b, x, n * 2)


def check_symmetric(n: Int) raises:
    var r = filled[D](n * n, n + 5)
    var a = buffer[D](n * n)
    for i in range(n):
        for j in range(n):
            var sum = Float64(1) if i == j else Float64(0)
            for k in range(n):
                sum += r[unsafe_offset=i * n + k] * r[unsafe_offset=j * n + k]
            a[unsafe_offset=i * n + j] = sum
    var l = copy(a, n * n)
    assert_equal(factor_cholesky(l, n), 0)
    for i in range(n):
        for j in range(n):
            var sum = inner(l.unsafe_offset(i * n), l.unsafe_offset(j * n), n)
            assert_almost_equal(sum, a[unsafe_offset=i * n + j], atol=1e-9)
    var d = copy(a, n * n)
    var v = buffer[D](n * n)
    jacobi_symmetric(d, v, n)
    for row in range(n):  # A v = lambda v
        var x = v.unsafe_offset(row * n)
        for i in range(n):
            var sum = inner(a.unsafe_offset(i * n), x, n)
            var value = d[unsafe_offset=row * n + row] * x[unsafe_offset=i]
            assert_almost_equal(sum, value, atol=1e-9)


def check_tall(rows: Int, cols: Int) raises:
    var a = filled[D](rows * cols, rows + cols)
    var f = copy(a, rows * cols)
    var tau = buffer[D](cols)
    factor_qr(f, tau, rows, cols)
    var q = buffer[D](rows * rows)
    identity(q, rows, rows)
    for back in range(cols):
        var k = cols - 1 - back
        reflect(f, cols, k, tau[unsafe_offset=k], q, rows, rows, 0, rows)
    for i in range(rows):
        for j in range(cols):
            var sum = Float64(0)
            for k in range(j + 1):
                sum += (
                    q[unsafe_offset=i * rows + k]
                    * f[unsafe_offset=k * cols + j]
                )
            assert_almost_equal(sum, a[unsafe_offset=i * cols + j], atol=1e-9)

    var u = buffer[D](rows * rows)
    for j in range(cols):
        for i in range(rows):
            u[unsafe_offset=j * rows + i] = a[unsafe_offset=i * cols + j]
    var v = buffer[D](cols * cols)
    jacobi_singular(u, v, rows, cols)
    for i in range(rows):  # U S V^T = A, U still holding U S
        for j in range(cols):
            var sum = Float64(0)
            for k in range(cols):
                sum += (
                    u[unsafe_offset=k * rows + i]
                    * v[unsafe_offset=k * cols + j]
                )
            assert_almost_equal(sum, a[unsafe_offset=i * cols + j], atol=1e-9)
    complete(u, rows, 0, rows)
    for i in range(rows):
        for j in range(rows):
            var sum = inner(
                u.unsafe_offset(i * rows), u.unsafe_offset(j * rows), rows
            )
            assert_almost_equal(sum, Float64(1 if i == j else 0), atol=1e-9)


def main() raises:
    for n in range(7):
        check_solving(n)
        check_symmetric(n)
    check_tall(1, 1)
    check_tall(5, 3)
    check_tall(9, 8)
    var zero = buffer[D](4)
    for i in range(4):
        zero[unsafe_offset=i] = 0
    assert_equal(factor_lu(zero, buffer[D](2), 2, 2, True), 1)
    assert_equal(factor_cholesky(zero, 2), 1)
    var c = buffer[D](4)
    multiply(zero, zero, c, 2)
    near(c, zero, 4)
