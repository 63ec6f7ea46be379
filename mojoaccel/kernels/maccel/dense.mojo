"""Factorisations of one small dense matrix in scratch memory, row by row, in float64.

From Golub and Van Loan, Matrix Computations (4th ed., 2013): LU with partial pivoting (3.4),
Cholesky (4.2), Householder QR (5.2), Jacobi's eigenvalue method (8.5) and one-sided Jacobi for
singular values (8.6). Float64 whatever the tensor's type: models invert small matrices, where
digits matter more than time.
"""

from std.math import sqrt

from maccel.math_basic import copysign
from maccel.types import Ptr

comptime D = DType.float64
comptime SWEEPS = 60
"""Jacobi sweeps at most; 6 to 10 are usual."""

comptime TINY = 1e-300
"""Sums of squares below this count as zero."""


@always_inline
def size_of_number(x: Float64) -> Float64:
    """Returns |x|."""
    return -x if x < 0 else x


def identity(a: Ptr[D], rows: Int, cols: Int):
    """Fills a matrix with ones on the diagonal and zeros elsewhere."""
    for i in range(rows):
        for j in range(cols):
            a[unsafe_offset=i * cols + j] = 1 if i == j else 0


def multiply(a: Ptr[D], b: Ptr[D], c: Ptr[D], n: Int):
    """Computes C = A @ B of square matrices."""
    for i in range(n):
        for j in range(n):
            c[unsafe_offset=i * n + j] = 0
        for k in range(n):
            var x = a[unsafe_offset=i * n + k]
            for j in range(n):
                c[unsafe_offset=i * n + j] += x * b[unsafe_offset=k * n + j]


def factor_lu(
    a: Ptr[D], pivots: Ptr[D], rows: Int, cols: Int, pivot: Bool
) -> Int:
    """Factors P A = L U in place (unit L below the diagonal).

    Args:
        a: The matrix.
        pivots: Takes the 1-based row that each step exchanged with its own.
        rows: Rows.
        cols: Columns.
        pivot: Whether rows are exchanged.

    Returns:
        0, or the 1-based position of the first pivot that is zero.
    """
    var info = 0
    for k in range(min(rows, cols)):
        var best = k
        if pivot:
            for i in range(k + 1, rows):
                if size_of_number(
                    a[unsafe_offset=i * cols + k]
                ) > size_of_number(a[unsafe_offset=best * cols + k]):
                    best = i
        pivots[unsafe_offset=k] = Float64(best + 1)
        if a[unsafe_offset=best * cols + k] == 0:
            if info == 0:
                info = k + 1
            continue
        if best != k:
            exchange_rows(a, k, best, cols)
        var inverse = 1 / a[unsafe_offset=k * cols + k]
        for i in range(k + 1, rows):
            var factor = a[unsafe_offset=i * cols + k] * inverse
            a[unsafe_offset=i * cols + k] = factor
            for j in range(k + 1, cols):
                a[unsafe_offset=i * cols + j] -= (
                    factor * a[unsafe_offset=k * cols + j]
                )
    return info


def exchange_rows(a: Ptr[D], first: Int, second: Int, cols: Int):
    """Exchanges two rows."""
    if first == second:
        return
    for j in range(cols):
        var t = a[unsafe_offset=first * cols + j]
        a[unsafe_offset=first * cols + j] = a[unsafe_offset=second * cols + j]
        a[unsafe_offset=second * cols + j] = t


def solve_lower(a: Ptr[D], b: Ptr[D], n: Int, cols: Int, unit: Bool):
    """Solves L X = B in place of B, L being the lower triangle of A."""
    for i in range(n):
        for k in range(i):
            var factor = a[unsafe_offset=i * n + k]
            for j in range(cols):
                b[unsafe_offset=i * cols + j] -= (
                    factor * b[unsafe_offset=k * cols + j]
                )
        if not unit:
            for j in range(cols):
                b[unsafe_offset=i * cols + j] /= a[unsafe_offset=i * n + i]


def solve_upper(a: Ptr[D], b: Ptr[D], n: Int, cols: Int, unit: Bool):
    """Solves U X = B in place of B, U being the upper triangle of A."""
    for back in range(n):
        var i = n - 1 - back
        for k in range(i + 1, n):
            var factor = a[unsafe_offset=i * n + k]
            for j in range(cols):
                b[unsafe_offset=i * cols + j] -= (
                    factor * b[unsafe_offset=k * cols + j]
                )
        if not unit:
            for j in range(cols):
                b[unsafe_offset=i * cols + j] /= a[unsafe_offset=i * n + i]


def transpose_square(a: Ptr[D], n: Int):
    """Transposes in place."""
    for i in range(n):
        for j in range(i):
            var t = a[unsafe_offset=i * n + j]
            a[unsafe_offset=i * n + j] = a[unsafe_offset=j * n + i]
            a[unsafe_offset=j * n + i] = t


def factor_cholesky(a: Ptr[D], n: Int) -> Int:
    """Factors A = L L^T in place, the upper triangle becoming zero; only the lower one is read.

    Returns:
        0, or the 1-based order of the first leading minor that is not positive.
    """
    var info = 0
    for j in range(n):
        for i in range(j):
            a[unsafe_offset=i * n + j] = 0
    for j in range(n):
        var sum = a[unsafe_offset=j * n + j]
        for k in range(j):
            sum -= a[unsafe_offset=j * n + k] * a[unsafe_offset=j * n + k]
        if not (sum > 0):
            return j + 1
        var root = sqrt(sum)
        a[unsafe_offset=j * n + j] = root
        for i in range(j + 1, n):
            var value = a[unsafe_offset=i * n + j]
            for k in range(j):
                value -= a[unsafe_offset=i * n + k] * a[unsafe_offset=j * n + k]
            a[unsafe_offset=i * n + j] = value / root
    return info


def factor_qr(a: Ptr[D], tau: Ptr[D], rows: Int, cols: Int):
    """Factors A = Q R in place: R on and above the diagonal, Householder vectors below.

    Signs as LAPACK's: R's diagonal has the opposite sign of what it replaces.
    """
    for k in range(min(rows, cols)):
        var alpha = a[unsafe_offset=k * cols + k]
        var below = Float64(0)
        for i in range(k + 1, rows):
            below += (
                a[unsafe_offset=i * cols + k] * a[unsafe_offset=i * cols + k]
            )
        if below == 0:
            tau[unsafe_offset=k] = 0
            continue
        var beta = -copysign(sqrt(alpha * alpha + below), alpha)
        tau[unsafe_offset=k] = (beta - alpha) / beta
        var inverse = 1 / (alpha - beta)
        for i in range(k + 1, rows):
            a[unsafe_offset=i * cols + k] *= inverse
        a[unsafe_offset=k * cols + k] = beta
        reflect(a, cols, k, tau[unsafe_offset=k], a, cols, rows, k + 1, cols)


def reflect(
    v: Ptr[D],
    v_cols: Int,
    k: Int,
    tau: Float64,
    a: Ptr[D],
    a_cols: Int,
    rows: Int,
    begin: Int,
    end: Int,
):
    """Applies the reflection in column `k` of `v` to columns begin..end-1 of `a`.
    """
    for j in range(begin, end):
        var sum = a[unsafe_offset=k * a_cols + j]
        for i in range(k + 1, rows):
            sum += (
                v[unsafe_offset=i * v_cols + k]
                * a[unsafe_offset=i * a_cols + j]
            )
        sum *= tau
        a[unsafe_offset=k * a_cols + j] -= sum
        for i in range(k + 1, rows):
            a[unsafe_offset=i * a_cols + j] -= (
                sum * v[unsafe_offset=i * v_cols + k]
            )


def reflect_all(
    v: Ptr[D],
    v_cols: Int,
    tau: Ptr[D],
    count: Int,
    a: Ptr[D],
    width: Int,
    rows: Int,
    forward: Bool,
):
    """Multiplies `a` [rows, width] by Q = H_0 H_1 ... in place, or by Q^T with `forward`.
    """
    for step in range(count):
        var k = step if forward else count - 1 - step
        reflect(v, v_cols, k, tau[unsafe_offset=k], a, width, rows, 0, width)


def rotation(zeta: Float64) -> Float64:
    """Returns the tangent of the smaller angle that annihilates an element."""
    var root = sqrt(1 + zeta * zeta)
    return 1 / (zeta + root) if zeta >= 0 else -1 / (-zeta + root)


def rotate(p: Ptr[D], q: Ptr[D], count: Int, step: Int, c: Float64, s: Float64):
    """Replaces vectors p, q by c p - s q, s p + c q."""
    for i in range(count):
        var x = p[unsafe_offset=i * step]
        var y = q[unsafe_offset=i * step]
        p[unsafe_offset=i * step] = c * x - s * y
        q[unsafe_offset=i * step] = s * x + c * y


def jacobi_symmetric(a: Ptr[D], v: Ptr[D], n: Int):
    """Turns symmetric A into a diagonal matrix V^T A V; rows of `v` become eigenvectors.
    """
    identity(v, n, n)
    for _ in range(SWEEPS):
        var off = Float64(0)
        var all = Float64(0)
        for i in range(n):
            for j in range(n):
                var x = a[unsafe_offset=i * n + j]
                all += x * x
                if i != j:
                    off += x * x
        if not (off > 1e-34 * all) or off < TINY:
            return
        for p in range(n):
            for q in range(p + 1, n):
                var x = a[unsafe_offset=p * n + q]
                if x == 0:
                    continue
                var t = rotation(
                    (a[unsafe_offset=q * n + q] - a[unsafe_offset=p * n + p])
                    / (2 * x)
                )
                var c = 1 / sqrt(1 + t * t)
                var s = t * c
                rotate(a.unsafe_offset(p), a.unsafe_offset(q), n, n, c, s)
                rotate(
                    a.unsafe_offset(p * n), a.unsafe_offset(q * n), n, 1, c, s
                )
                rotate(
                    v.unsafe_offset(p * n), v.unsafe_offset(q * n), n, 1, c, s
                )


def inner(x: Ptr[D], y: Ptr[D], count: Int) -> Float64:
    """Returns the inner product of two dense vectors."""
    var sum = Float64(0)
    for i in range(count):
        sum += x[unsafe_offset=i] * y[unsafe_offset=i]
    return sum


def jacobi_singular(u: Ptr[D], v: Ptr[D], rows: Int, cols: Int):
    """Makes the columns of a tall matrix orthogonal; they lie in rows of `u`.

    Args:
        u: Columns of A, each dense; they become singular values times left vectors.
        v: Takes the right vectors, as rows.
        rows: Length of a column.
        cols: Number of columns.
    """
    identity(v, cols, cols)
    for _ in range(SWEEPS):
        var turned = False
        for p in range(cols):
            for q in range(p + 1, cols):
                var x = u.unsafe_offset(p * rows)
                var y = u.unsafe_offset(q * rows)
                var alpha = inner(x, x, rows)
                var beta = inner(y, y, rows)
                var gamma = inner(x, y, rows)
                if (
                    not (size_of_number(gamma) > 1e-16 * sqrt(alpha * beta))
                    or size_of_number(gamma) < TINY
                ):
                    continue
                turned = True
                var t = rotation((beta - alpha) / (2 * gamma))
                var c = 1 / sqrt(1 + t * t)
                rotate(x, y, rows, 1, c, t * c)
                rotate(
                    v.unsafe_offset(p * cols),
                    v.unsafe_offset(q * cols),
                    cols,
                    1,
                    c,
                    t * c,
                )
        if not turned:
            return


def complete(u: Ptr[D], length: Int, begin: Int, end: Int):
    """Makes rows begin..end-1 of `u` orthonormal to all rows before (Gram-Schmidt, twice).
    """
    for row in range(begin, end):
        var x = u.unsafe_offset(row * length)
        var axis = 0
        while axis < length:
            for i in range(length):
                x[unsafe_offset=i] = 1 if i == axis else 0
            for _ in range(2):
                for other in range(row):
                    var y = u.unsafe_offset(other * length)
                    var part = inner(x, y, length)
                    for i in range(length):
                        x[unsafe_offset=i] -= part * y[unsafe_offset=i]
            var size = sqrt(inner(x, x, length))
            axis += 1
            # Some axis leaves at least this much, as the rows before span fewer dims.
            if size * size * Float64(length) > 0.5:
                for i in range(length):
                    x[unsafe_offset=i] /= size
                break
