"""Factorisations and exponentials of batches of small matrices.

Each thread takes whole matrices. Operands come through closures `load[1](matrix, row, col)` and
results leave through `store[1](matrix, row, col, value)`, all in float64, so that any layout and
type, and a transpose, cost nothing here. A singular or indefinite matrix is told by `info` and
gives infinities or NaN, never an error.
"""

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
    reflect_all,
    size_of_number,
)
from maccel.math_basic import sqrt
from maccel.team import Team
from maccel.types import Ptr

comptime Numbers = SIMD[D, 1]


@always_inline
def read[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w]
](into: Ptr[D], matrix: Int, rows: Int, cols: Int, load: Load):
    """Copies a matrix to scratch memory."""
    for i in range(rows):
        for j in range(cols):
            into[unsafe_offset=i * cols + j] = load[1](matrix, i, j)[0]


@always_inline
def write[
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None
](source: Ptr[D], matrix: Int, rows: Int, cols: Int, store: Store):
    """Copies a matrix from scratch memory."""
    for i in range(rows):
        for j in range(cols):
            store[1](matrix, i, j, Numbers(source[unsafe_offset=i * cols + j]))


@always_inline
def lu_factor[
    pivot: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StorePivot: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreInfo: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    rows: Int,
    cols: Int,
    load: Load,
    store: Store,
    store_pivot: StorePivot,
    store_info: StoreInfo,
):
    """Factors matrices P A = L U (torch.linalg.lu_factor_ex)."""
    var a = team.scratch[D]()
    var pivots = a.unsafe_offset(rows * cols)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, rows, cols, load)
        var info = factor_lu(a, pivots, rows, cols, pivot)
        write(a, index, rows, cols, store)
        write(pivots, index, 1, min(rows, cols), store_pivot)
        store_info[1](index, 0, 0, Numbers(Float64(info)))


@always_inline
def permutation[
    LoadPivot: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    count: Int,
    load_pivot: LoadPivot,
    store: Store,
):
    """Writes the matrix P of A = P L U that `count` exchanges of rows make."""
    var a = team.scratch[D]()
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        identity(a, n, n)
        for back in range(count):
            var k = count - 1 - back
            exchange_rows(a, k, Int(load_pivot[1](index, 0, k)[0]) - 1, n)
        write(a, index, n, n, store)


@always_inline
def cholesky[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreInfo: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    load: Load,
    store: Store,
    store_info: StoreInfo,
):
    """Factors A = L L^T (torch.linalg.cholesky_ex); the lower triangle counts.
    """
    var a = team.scratch[D]()
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        var info = factor_cholesky(a, n)
        write(a, index, n, n, store)
        store_info[1](index, 0, 0, Numbers(Float64(info)))


@always_inline
def qr[
    with_q: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    StoreQ: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreR: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    rows: Int,
    cols: Int,
    width: Int,
    load: Load,
    store_q: StoreQ,
    store_r: StoreR,
):
    """Factors A = Q R (torch.linalg.qr), Q having `width` columns and R as many rows.
    """
    var a = team.scratch[D]()
    var tau = a.unsafe_offset(rows * cols)
    var q = tau.unsafe_offset(min(rows, cols))
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, rows, cols, load)
        factor_qr(a, tau, rows, cols)
        for i in range(width):
            for j in range(cols):
                var value = Float64(0)
                if j >= i:
                    value = a[unsafe_offset=i * cols + j]
                store_r[1](index, i, j, Numbers(value))
        comptime if with_q:
            identity(q, rows, width)
            reflect_all(a, cols, tau, min(rows, cols), q, width, rows, False)
            write(q, index, rows, width, store_q)


@always_inline
def geqrf[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreTau: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    rows: Int,
    cols: Int,
    load: Load,
    store: Store,
    store_tau: StoreTau,
):
    """Factors A = Q R as LAPACK keeps it (torch.geqrf): R above, reflections below the diagonal.
    """
    var a = team.scratch[D]()
    var tau = a.unsafe_offset(rows * cols)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, rows, cols, load)
        factor_qr(a, tau, rows, cols)
        write(a, index, rows, cols, store)
        write(tau, index, 1, min(rows, cols), store_tau)


@always_inline
def householder[
    product: Bool,
    forward: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadTau: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadOther: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    rows: Int,
    cols: Int,
    count: Int,
    width: Int,
    load: Load,
    load_tau: LoadTau,
    load_other: LoadOther,
    store: Store,
):
    """Multiplies a matrix [rows, width] by the Q of `count` reflections.

    With `product` the matrix is the identity (torch.linalg.householder_product); else it is read
    (torch.ormqr), and with `forward` multiplied by Q^T.
    """
    var a = team.scratch[D]()
    var tau = a.unsafe_offset(rows * cols)
    var c = tau.unsafe_offset(count)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, rows, cols, load)
        read(tau, index, 1, count, load_tau)
        comptime if product:
            identity(c, rows, width)
        else:
            read(c, index, rows, width, load_other)
        reflect_all(a, cols, tau, count, c, width, rows, forward)
        write(c, index, rows, width, store)


@always_inline
def eigh[
    lower: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    StoreValues: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreVectors: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    load: Load,
    store_values: StoreValues,
    store_vectors: StoreVectors,
):
    """Finds eigenvalues, ascending, and eigenvectors of symmetric matrices (torch.linalg.eigh).

    One triangle counts. The sign of a vector is arbitrary, as in LAPACK. `store_vectors` gets
    (matrix, position, element).
    """
    var a = team.scratch[D]()
    var v = a.unsafe_offset(n * n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        for i in range(n):
            for j in range(i + 1):
                var x = Float64(0)
                comptime if lower:
                    x = load[1](index, i, j)[0]
                else:
                    x = load[1](index, j, i)[0]
                a[unsafe_offset=i * n + j] = x
                a[unsafe_offset=j * n + i] = x
        jacobi_symmetric(a, v, n)
        for rank in range(n):
            var best = rank
            for i in range(rank + 1, n):
                if (
                    a[unsafe_offset=i * n + i]
                    < a[unsafe_offset=best * n + best]
                ):
                    best = i
            exchange_rows(v, rank, best, n)
            var t = a[unsafe_offset=rank * n + rank]
            a[unsafe_offset=rank * n + rank] = a[unsafe_offset=best * n + best]
            a[unsafe_offset=best * n + best] = t
            store_values[1](
                index, 0, rank, Numbers(a[unsafe_offset=rank * n + rank])
            )
        write(v, index, n, n, store_vectors)


@always_inline
def svd[
    vectors: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    StoreLong: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreValues: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreShort: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    rows: Int,
    cols: Int,
    width: Int,
    load: Load,
    store_long: StoreLong,
    store_values: StoreValues,
    store_short: StoreShort,
):
    """Finds singular values, descending, and vectors of tall matrices (torch.linalg.svd).

    `load(matrix, column, row)`; rows >= cols, width in {cols, rows} long vectors. The vectors go
    out as (matrix, position, element). Their signs are arbitrary, as in LAPACK.
    """
    var u = team.scratch[D]()
    var v = u.unsafe_offset(rows * max(width, cols))
    var values = v.unsafe_offset(cols * cols)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(u, index, cols, rows, load)
        jacobi_singular(u, v, rows, cols)
        for k in range(cols):
            var x = u.unsafe_offset(k * rows)
            values[unsafe_offset=k] = sqrt(Numbers(inner(x, x, rows)))[0]
        var kept = 0
        for rank in range(cols):
            var best = rank
            for k in range(rank + 1, cols):
                if values[unsafe_offset=k] > values[unsafe_offset=best]:
                    best = k
            exchange_rows(u, rank, best, rows)
            exchange_rows(v, rank, best, cols)
            exchange_rows(values, rank, best, 1)
            var value = values[unsafe_offset=rank]
            store_values[1](index, 0, rank, Numbers(value))
            if value > values[unsafe_offset=0] * 1e-15 and kept == rank:
                kept = rank + 1
                for i in range(rows):
                    u[unsafe_offset=rank * rows + i] /= value
        comptime if vectors:
            complete(u, rows, kept, width)
            write(u, index, width, rows, store_long)
            write(v, index, cols, cols, store_short)


@always_inline
def matrix_exp[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](team: Team, batch: Int, n: Int, load: Load, store: Store):
    """Computes e^A by scaling, a Taylor polynomial of degree 18 and squaring (torch.matrix_exp).
    """
    var a = team.scratch[D]()
    var e = a.unsafe_offset(n * n)
    var t = e.unsafe_offset(n * n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        var norm = Float64(0)
        for i in range(n):
            var sum = Float64(0)
            for j in range(n):
                sum += size_of_number(a[unsafe_offset=i * n + j])
            norm = max(norm, sum)
        var squarings = 0
        while norm > 0.5 and squarings < 1100:
            norm *= 0.5
            squarings += 1
            for i in range(n * n):
                a[unsafe_offset=i] *= 0.5
        identity(e, n, n)
        for back in range(18):
            multiply(a, e, t, n)
            var inverse = 1 / Float64(18 - back)
            for i in range(n):
                for j in range(n):
                    var one = Float64(1) if i == j else Float64(0)
                    e[unsafe_offset=i * n + j] = (
                        one + t[unsafe_offset=i * n + j] * inverse
                    )
        for _ in range(squarings):
            multiply(e, e, t, n)
            for i in range(n * n):
                e[unsafe_offset=i] = t[unsafe_offset=i]
        write(e, index, n, n, store)
