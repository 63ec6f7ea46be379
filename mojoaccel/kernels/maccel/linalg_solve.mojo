"""Solving and determinants on batches of small matrices.

Each thread takes whole matrices. Operands come through closures `load[1](matrix, row, col)` and
results leave through `store[1](matrix, row, col, value)`, all in float64, so that any layout and
type, and a transpose, cost nothing here. A singular or indefinite matrix is told by `info` and
gives infinities or NaN, never an error.
"""

from maccel.dense import (
    D,
    exchange_rows,
    factor_lu,
    size_of_number,
    solve_lower,
    solve_upper,
)
from maccel.linalg_factor import Numbers, read, write
from maccel.math_exp import log
from maccel.team import Team


@always_inline
def determinant[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    StoreSign: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreLog: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreValue: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StorePivot: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    load: Load,
    store_sign: StoreSign,
    store_log: StoreLog,
    store_value: StoreValue,
    store: Store,
    store_pivot: StorePivot,
):
    """Computes determinants, their signs and the logarithms of their sizes, and the LU factors.
    """
    var a = team.scratch[D]()
    var pivots = a.unsafe_offset(n * n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        _ = factor_lu(a, pivots, n, n, True)
        var value = Float64(1)
        var sign = Float64(1)
        var total = Float64(0)
        for k in range(n):
            var x = a[unsafe_offset=k * n + k]
            if pivots[unsafe_offset=k] != Float64(k + 1):
                value = -value
                sign = -sign
            value *= x
            sign = -sign if x < 0 else (sign * 0 if x == 0 else sign)
            total += log(Numbers(size_of_number(x)))[0]
        store_sign[1](index, 0, 0, Numbers(sign))
        store_log[1](index, 0, 0, Numbers(total))
        store_value[1](index, 0, 0, Numbers(value))
        write(a, index, n, n, store)
        write(pivots, index, 1, n, store_pivot)


@always_inline
def solve[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadRight: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
    StoreInfo: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    cols: Int,
    load: Load,
    load_right: LoadRight,
    store: Store,
    store_info: StoreInfo,
):
    """Solves A X = B by LU with partial pivoting (torch.linalg.solve_ex, inv_ex).
    """
    var a = team.scratch[D]()
    var pivots = a.unsafe_offset(n * n)
    var b = pivots.unsafe_offset(n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        read(b, index, n, cols, load_right)
        var info = factor_lu(a, pivots, n, n, True)
        for k in range(n):
            exchange_rows(b, k, Int(pivots[unsafe_offset=k]) - 1, cols)
        solve_lower(a, b, n, cols, True)
        solve_upper(a, b, n, cols, False)
        write(b, index, n, cols, store)
        store_info[1](index, 0, 0, Numbers(Float64(info)))


@always_inline
def lu_solve[
    transposed: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadPivot: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadRight: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    cols: Int,
    load: Load,
    load_pivot: LoadPivot,
    load_right: LoadRight,
    store: Store,
):
    """Solves with given LU factors (torch.linalg.lu_solve); `transposed`: of A^T, the factors then
    being loaded transposed: lower becomes upper."""
    var a = team.scratch[D]()
    var b = a.unsafe_offset(n * n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        read(b, index, n, cols, load_right)
        comptime if transposed:
            solve_lower(a, b, n, cols, False)
            solve_upper(a, b, n, cols, True)
            for back in range(n):
                var k = n - 1 - back
                exchange_rows(
                    b, k, Int(load_pivot[1](index, 0, k)[0]) - 1, cols
                )
        else:
            for k in range(n):
                exchange_rows(
                    b, k, Int(load_pivot[1](index, 0, k)[0]) - 1, cols
                )
            solve_lower(a, b, n, cols, True)
            solve_upper(a, b, n, cols, False)
        write(b, index, n, cols, store)


@always_inline
def solve_triangular[
    upper: Bool,
    unit: Bool,
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadRight: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    cols: Int,
    load: Load,
    load_right: LoadRight,
    store: Store,
):
    """Solves A X = B, one triangle of A counting (torch.linalg.solve_triangular).
    """
    var a = team.scratch[D]()
    var b = a.unsafe_offset(n * n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        read(b, index, n, cols, load_right)
        comptime if upper:
            solve_upper(a, b, n, cols, unit)
        else:
            solve_lower(a, b, n, cols, unit)
        write(b, index, n, cols, store)


@always_inline
def cholesky_solve[
    Load: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadUpper: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    LoadRight: def[w: Int](Int, Int, Int) -> SIMD[D, w],
    Store: def[w: Int](Int, Int, Int, SIMD[D, w]) -> None,
](
    team: Team,
    batch: Int,
    n: Int,
    cols: Int,
    load: Load,
    load_upper: LoadUpper,
    load_right: LoadRight,
    store: Store,
):
    """Solves L L^T X = B (torch.cholesky_solve); `load_upper` reads L^T."""
    var a = team.scratch[D]()
    var b = a.unsafe_offset(n * n)
    var mine = team.share(batch)
    for index in range(mine.begin, mine.end):
        read(a, index, n, n, load)
        read(b, index, n, cols, load_right)
        solve_lower(a, b, n, cols, False)
        read(a, index, n, n, load_upper)
        solve_upper(a, b, n, cols, False)
        write(b, index, n, cols, store)
