"""Grouped products: each expert of a mixture multiplies its own range of rows."""

from maccel.matmul import matmul
from maccel.team import Team
from maccel.types import Ptr


@always_inline
def grouped_matmul[
    a_dt: DType,
    b_dt: DType,
    i_dt: DType,
    //,
    acc: DType,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    groups: Int,
    m: Int,
    n: Int,
    k: Int,
    a: Ptr[a_dt],
    a_row: Int,
    a_col: Int,
    b: Ptr[b_dt],
    b_batch: Int,
    b_row: Int,
    b_col: Int,
    ends: Ptr[i_dt],
    ends_step: Int,
    store: Store,
):
    """Computes this thread's share of `C[i] = A[i] @ B[g]`, g being the group that row i is in.

    Group g takes the rows from the end of group g - 1 to `ends[g]` (torch._grouped_mm with
    offsets); rows after the last end are zeros. Ends are known only at run time; one that is out
    of order or beyond the rows is moved to the nearest row possible.

    Parameters:
        a_dt: Stored type of A.
        b_dt: Stored type of B.
        i_dt: Type of the ends.
        acc: Type of the sums.
        Store: `store[w](row, col, value)`, called once per element.

    Args:
        team: The threads.
        groups: Number of groups.
        m: Rows of A.
        n: Columns of every B.
        k: Length of the reduction.
        a: First element of A.
        a_row: Stride between rows of A.
        a_col: Stride between columns of A.
        b: First element of B.
        b_batch: Stride between the matrices of B.
        b_row: Stride between rows of a matrix of B.
        b_col: Stride between columns of a matrix of B.
        ends: Where each group ends.
        ends_step: Stride between ends.
        store: The epilogue.

    Scratch per thread: that of `maccel.matmul`.
    """
    var start = 0
    for g in range(groups):
        var end = min(m, max(start, Int(ends[unsafe_offset=g * ends_step])))

        @always_inline
        def shifted[
            w: Int
        ](batch: Int, row: Int, col: Int, v: SIMD[acc, w]) {imm} -> None:
            store[w](start + row, col, v)

        matmul[acc](
            team,
            1,
            1,
            1,
            end - start,
            n,
            k,
            a.unsafe_offset(start * a_row),
            0,
            0,
            0,
            a_row,
            a_col,
            b.unsafe_offset(g * b_batch),
            0,
            0,
            0,
            b_row,
            b_col,
            shifted,
        )
        start = end
    var rest = team.share(m - start)
    for row in range(start + rest.begin, start + rest.end):
        for col in range(n):
            store[1](row, col, SIMD[acc, 1](0))
