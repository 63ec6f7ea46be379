"""Dot products of few rows with columns that are dense along the reduction.

Such columns (keys of attention, a transposed operand) would have to be transposed to become
panels of a register tile; for a few rows, that costs more than the products.
"""

from std.math import fma
from std.sys import simd_width_of

from maccel.types import Ptr

comptime DOT_ROWS = 4
comptime DOT_COLS = 4


@no_inline
def dot_tile[
    acc: DType, a_dt: DType, b_dt: DType, height: Int
](
    a: Ptr[a_dt],
    a_row: Int,
    rows: Int,
    b: Ptr[b_dt],
    b_col: Int,
    cols: Int,
    k: Int,
    c: Ptr[acc],
    c_row: Int,
):
    """Computes `c[height, DOT_COLS]`; rows and columns that do not exist repeat the last one.

    Parameters:
        acc: Type of the sums.
        a_dt: Stored type of `a`.
        b_dt: Stored type of `b`.
        height: Rows of the tile.

    Args:
        a: First row, dense.
        a_row: Elements between rows.
        rows: Rows that exist, at least 1.
        b: First column, dense.
        b_col: Elements between columns.
        cols: Columns that exist, at least 1.
        k: Length of the reduction.
        c: Result.
        c_row: Elements between its rows.
    """
    comptime W = simd_width_of[acc]()
    comptime V = SIMD[acc, W]
    comptime C = DOT_COLS
    var ap = Array[Ptr[a_dt], height](fill=a)
    comptime for i in range(height):
        ap[i] = a.unsafe_offset(min(i, rows - 1) * a_row)
    var bp = Array[Ptr[b_dt], C](fill=b)
    comptime for j in range(C):
        bp[j] = b.unsafe_offset(min(j, cols - 1) * b_col)
    var sums = Array[V, height * C](fill=V(0))
    var at = 0
    while at + W <= k:
        var row = Array[V, C](fill=V(0))
        comptime for j in range(C):
            row[j] = bp[j].unsafe_load[width=W](at).cast[acc]()
        comptime for i in range(height):
            var v = ap[i].unsafe_load[width=W](at).cast[acc]()
            comptime for j in range(C):
                sums[i * C + j] = fma(v, row[j], sums[i * C + j])
        at += W
    comptime for i in range(height):
        comptime for j in range(C):
            var sum = sums[i * C + j].reduce_add()
            for rest in range(at, k):
                sum += (
                    ap[i][unsafe_offset=rest].cast[acc]()
                    * bp[j][unsafe_offset=rest].cast[acc]()
                )
            c[unsafe_offset=i * c_row + j] = sum


@always_inline
def dot_rows[
    acc: DType, a_dt: DType, b_dt: DType
](
    a: Ptr[a_dt],
    a_row: Int,
    rows: Int,
    b: Ptr[b_dt],
    b_col: Int,
    cols: Int,
    k: Int,
    c: Ptr[acc],
    c_row: Int,
):
    """Runs the tile of height 1 or `DOT_ROWS`; see `dot_tile`."""
    if rows == 1:
        dot_tile[acc, a_dt, b_dt, 1](
            a, a_row, rows, b, b_col, cols, k, c, c_row
        )
    else:
        dot_tile[acc, a_dt, b_dt, DOT_ROWS](
            a, a_row, rows, b, b_col, cols, k, c, c_row
        )
