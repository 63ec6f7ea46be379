"""Copies that exchange the consecutive dim: tiles are transposed in registers."""

from std.sys import simd_width_of

from maccel.loops import share_active
from maccel.team import Team
from maccel.types import Ptr

comptime TRANSPOSE_GRAIN = 4096


@always_inline
def transpose_tile[
    dt: DType, T: Int
](source: Ptr[dt], source_stride: Int, target: Ptr[dt], target_stride: Int):
    """Transposes one T x T tile: `target[i * ts + j] = source[j * ss + i]`.

    Interleaving vector j with vector j + T/2, log2(T) times, is a transposition.
    """
    var v = Array[SIMD[dt, T], T](fill=SIMD[dt, T](0))
    comptime for j in range(T):
        v[j] = source.unsafe_load[width=T](j * source_stride)
    comptime stages = 4 if T == 16 else (3 if T == 8 else 2)
    comptime for _ in range(stages):
        var mixed = Array[SIMD[dt, T], T](fill=SIMD[dt, T](0))
        comptime for j in range(T // 2):
            var both = v[j].interleave(v[j + T // 2])
            mixed[2 * j] = both.slice[T, offset=0]()
            mixed[2 * j + 1] = both.slice[T, offset=T]()
        v = mixed^
    comptime for i in range(T):
        target.unsafe_store(i * target_stride, v[i])


@always_inline
def copy_transposed[
    dt: DType
](
    team: Team,
    source: Ptr[dt],
    target: Ptr[dt],
    batch0: Int,
    batch1: Int,
    rows: Int,
    cols: Int,
    source_batch0: Int,
    source_batch1: Int,
    source_col: Int,
    target_batch0: Int,
    target_batch1: Int,
    target_row: Int,
):
    """Copies a batch of matrices into their transposes (a materialised permutation).

    target[b0*tb0 + b1*tb1 + r*target_row + c] = source[b0*sb0 + b1*sb1 + c*source_col + r]

    Parameters:
        dt: Element type (copied bit by bit).

    Args:
        team: The threads.
        source: First element of the source, consecutive along rows.
        target: First element of the target, consecutive along cols.
        batch0: Size of the outer batch dim.
        batch1: Size of the inner batch dim.
        rows: Size of the dim consecutive in the source.
        cols: Size of the dim consecutive in the target.
        source_batch0: Source stride of the outer batch dim.
        source_batch1: Source stride of the inner batch dim.
        source_col: Source stride between columns.
        target_batch0: Target stride of the outer batch dim.
        target_batch1: Target stride of the inner batch dim.
        target_row: Target stride between rows.
    """
    # A tile's line is one cache line of 4-byte elements on AVX-512; wider tiles would spill.
    comptime T = max(4, min(16, simd_width_of[DType.float32]()))
    var strips = (rows + T - 1) // T
    var count = batch0 * batch1 * strips
    var work = batch0 * batch1 * rows * cols
    # Few strips: split the columns as well.
    var pieces = 1 if count >= 4 * team.size else (cols + 4 * T - 1) // (4 * T)
    var mine = share_active(team, count * pieces, work, TRANSPOSE_GRAIN)
    for item in range(mine.begin, mine.end):
        var piece = item % pieces
        var strip = item // pieces
        var r = strip % strips * T
        var batch = strip // strips
        var b0 = batch // batch1
        var b1 = batch - b0 * batch1
        var src = source.unsafe_offset(b0 * source_batch0 + b1 * source_batch1)
        var dst = target.unsafe_offset(b0 * target_batch0 + b1 * target_batch1)
        var c = piece * 4 * T
        var end = cols if pieces == 1 else min(cols, c + 4 * T)
        var r_end = min(rows, r + T)
        if r_end - r == T:
            while c + T <= end:
                transpose_tile[dt, T](
                    src.unsafe_offset(c * source_col + r),
                    source_col,
                    dst.unsafe_offset(r * target_row + c),
                    target_row,
                )
                c += T
        while c < end:
            for i in range(r, r_end):
                dst.unsafe_store(
                    i * target_row + c,
                    src.unsafe_load[width=1](c * source_col + i),
                )
            c += 1
