"""Packing of run-time matrices into panels of columns, in the type they are summed in."""

from std.sys import simd_width_of

from maccel.types import Ptr


@always_inline
def load_transposed[
    acc: DType, dt: DType, //, T: Int
](source: Ptr[dt], stride: Int, target: Ptr[acc], target_stride: Int):
    """Transposes a T x T tile and casts it: `target[i * ts + j] = source[j * stride + i]`.

    Interleaving vector j with vector j + T/2, log2(T) times, is a transposition.
    """
    comptime V = SIMD[acc, T]
    var v = Array[V, T](fill=V(0))
    comptime for j in range(T):
        v[j] = source.unsafe_load[width=T](j * stride).cast[acc]()
    comptime stages = 4 if T == 16 else (3 if T == 8 else T // 2)
    comptime for _ in range(stages):
        var mixed = Array[V, T](fill=V(0))
        comptime for j in range(T // 2):
            var both = v[j].interleave(v[j + T // 2])
            mixed[2 * j] = both.slice[T, offset=0]()
            mixed[2 * j + 1] = both.slice[T, offset=T]()
        v = mixed^
    comptime for i in range(T):
        target.unsafe_store(i * target_stride, v[i])


@no_inline
def pack_panel[
    acc: DType, dt: DType, //, NR: Int
](
    source: Ptr[dt],
    row: Int,
    col: Int,
    depth: Int,
    cols: Int,
    target: Ptr[acc],
):
    """Copies `depth` rows of at most NR columns into `target[depth][NR]`, zero padded.

    Parameters:
        acc: Type of the panel.
        dt: Stored type of the matrix.
        NR: Columns of the panel, a multiple of the SIMD width of `acc`.

    Args:
        source: First element.
        row: Elements between rows of the matrix.
        col: Elements between its columns.
        depth: Rows.
        cols: Columns that exist, at least 1.
        target: The panel.
    """
    comptime W = simd_width_of[acc]()
    comptime V = SIMD[acc, W]
    if col == 1 and cols == NR:
        for k in range(depth):
            comptime for j in range(NR // W):
                target.unsafe_store(
                    k * NR + j * W,
                    source.unsafe_load[width=W](k * row + j * W).cast[acc](),
                )
        return
    if cols < NR:
        for i in range(0, depth * NR, W):
            target.unsafe_store(i, V(0))
    var j = 0
    if col == 1:
        while j + W <= cols:
            for k in range(depth):
                target.unsafe_store(
                    k * NR + j,
                    source.unsafe_load[width=W](k * row + j).cast[acc](),
                )
            j += W
    elif row == 1:
        # Columns are the dense dim: a tile of W columns and W steps is transposed in registers.
        while j + W <= cols:
            var k = 0
            while k + W <= depth:
                load_transposed[W](
                    source.unsafe_offset(j * col + k),
                    col,
                    target.unsafe_offset(k * NR + j),
                    NR,
                )
                k += W
            while k < depth:
                for i in range(j, j + W):
                    target[unsafe_offset=k * NR + i] = source[
                        unsafe_offset=i * col + k
                    ].cast[acc]()
                k += 1
            j += W
    for k in range(depth):
        for i in range(j, cols):
            target[unsafe_offset=k * NR + i] = source[
                unsafe_offset=k * row + i * col
            ].cast[acc]()


@no_inline
def widen_rows[
    acc: DType, dt: DType, //
](
    source: Ptr[dt],
    row: Int,
    rows: Int,
    depth: Int,
    target: Ptr[acc],
    target_row: Int,
):
    """Copies dense rows in the type they are summed in.

    Broadcasting a bfloat16 takes several instructions and a row is broadcast once per panel.

    Args:
        source: First row.
        row: Elements between rows of the source.
        rows: Rows.
        depth: Elements of a row.
        target: First row of the copy.
        target_row: Elements between its rows.
    """
    comptime W = simd_width_of[acc]()
    for i in range(rows):
        var from_row = source.unsafe_offset(i * row)
        var to_row = target.unsafe_offset(i * target_row)
        var j = 0
        while j + W <= depth:
            to_row.unsafe_store(j, from_row.unsafe_load[width=W](j).cast[acc]())
            j += W
        while j < depth:
            to_row[unsafe_offset=j] = from_row[unsafe_offset=j].cast[acc]()
            j += 1
