"""One block of queries against a range of keys: the inside of `attention`.

The rows of a block are the queries of all heads that share a key head, so that grouped heads read
keys and values once. Keys come in tiles; for each tile a row keeps its largest score, the sum of
its exponentials and the weighted sum of values, all relative to that largest score (online
softmax: Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022).
"""

from std.memory import stack_allocation
from std.sys import simd_width_of

from maccel.attention_weights import mask_row, weigh_row
from maccel.dot import DOT_COLS, DOT_ROWS, dot_rows
from maccel.gemm import gemm_rows, tile_rows
from maccel.pack import pack_panel
from maccel.types import Ptr

comptime VECTORS = 2
"""Panel width in vectors, of keys and of values."""

comptime BLOCK_ROWS = 256
"""Most rows of a block: packing a tile of keys and values costs as much as a few rows."""

comptime KEYS = 256
"""Keys of a tile."""

comptime FEW_ROWS = 8
"""Up to so many rows, keys and values are read in place instead of packed."""


@fieldwise_init
struct Heads[dt: DType](Copyable, Movable, TrivialRegisterPassable):
    """Queries, keys or values: strides of batch, head and position; the depth is dense.
    """

    var data: Ptr[Self.dt]
    var batch: Int
    var head: Int
    var position: Int

    @always_inline
    def at(self, batch: Int, head: Int, position: Int) -> Ptr[Self.dt]:
        """Returns the vector of one position."""
        return self.data.unsafe_offset(
            batch * self.batch + head * self.head + position * self.position
        )


struct Buffers[acc: DType, D: Int, DV: Int](
    Copyable, Movable, TrivialRegisterPassable
):
    """Scratch memory of one thread.

    Parameters:
        acc: Type of all values.
        D: Depth of queries and keys.
        DV: Depth of values.
    """

    comptime W = simd_width_of[Self.acc]()
    comptime NR = VECTORS * Self.W
    comptime value_depth = (Self.DV + Self.NR - 1) // Self.NR * Self.NR
    comptime tile = tile_rows[VECTORS]()
    comptime key_elements = KEYS * Self.D
    comptime value_elements = KEYS * Self.value_depth
    comptime output_elements = BLOCK_ROWS * Self.value_depth
    comptime elements = (
        Self.key_elements
        + Self.value_elements
        + Self.output_elements
        + Self.tile * KEYS
        + 2 * BLOCK_ROWS
        + (BLOCK_ROWS * Self.D + 15) // 16 * 16
    )

    var keys: Ptr[Self.acc]
    """Packed keys, [KEYS / NR][D][NR]."""
    var values: Ptr[Self.acc]
    """Packed values, [value_depth / NR][KEYS][NR]."""
    var output: Ptr[Self.acc]
    """Weighted sums of values, [BLOCK_ROWS][value_depth]."""
    var scores: Ptr[Self.acc]
    """Scores, then weights, of one row tile, [tile][KEYS]."""
    var top: Ptr[Self.acc]
    """Largest score of each row so far."""
    var total: Ptr[Self.acc]
    """Sum of the row's exponentials relative to `top`."""
    var queries: Ptr[Self.acc]
    """Scaled queries, [BLOCK_ROWS][D]."""

    @always_inline
    def __init__(out self, scratch: Ptr[Self.acc]):
        self.keys = scratch
        self.values = self.keys.unsafe_offset(Self.key_elements)
        self.output = self.values.unsafe_offset(Self.value_elements)
        self.scores = self.output.unsafe_offset(Self.output_elements)
        self.top = self.scores.unsafe_offset(Self.tile * KEYS)
        self.total = self.top.unsafe_offset(BLOCK_ROWS)
        self.queries = self.total.unsafe_offset(BLOCK_ROWS)


@no_inline
def copy_queries[
    acc: DType, dt: DType, //, D: Int
](
    queries: Heads[dt],
    batch: Int,
    first_head: Int,
    q_len: Int,
    row: Int,
    rows: Int,
    scale: Scalar[acc],
    target: Ptr[acc],
):
    """Copies rows [row, row + rows) of a key head's queries to `target[rows][D]`, scaled.
    """
    comptime W = simd_width_of[acc]()
    for r in range(rows):
        var head = (row + r) // q_len
        var source = queries.at(
            batch, first_head + head, row + r - head * q_len
        )
        var line = target.unsafe_offset(r * D)
        comptime for d in range(D // W):
            var v = source.unsafe_load[width=W](d * W).cast[acc]()
            line.unsafe_store(d * W, v * scale)
        comptime for d in range(D // W * W, D):
            line[unsafe_offset=d] = source[unsafe_offset=d].cast[acc]() * scale


@always_inline
def attend[
    acc: DType,
    k_dt: DType,
    v_dt: DType,
    D: Int,
    DV: Int,
    //,
    causal: Bool,
    has_mask: Bool,
    Mask: def[w: Int](Int, Int) -> SIMD[acc, w],
](
    buffers: Buffers[acc, D, DV],
    base: Int,
    keys: Ptr[k_dt],
    key_row: Int,
    values: Ptr[v_dt],
    value_row: Int,
    q_len: Int,
    first_row: Int,
    rows: Int,
    begin: Int,
    end: Int,
    mask: Mask,
):
    """Runs rows [first_row, first_row + rows) of a key head over keys [begin, end).

    Parameters:
        acc: Type of all values.
        k_dt: Stored type of the keys.
        v_dt: Stored type of the values.
        D: Depth of queries and keys.
        DV: Depth of values.
        causal: Query i sees keys j <= i.
        has_mask: Whether to add the mask.
        Mask: `mask[w](row, j)`.

    Args:
        buffers: Scratch memory; the queries have been copied to row `base` on.
        base: First row of the buffers that belongs to the block.
        keys: Key 0.
        key_row: Elements between keys.
        values: Value 0.
        value_row: Elements between values.
        q_len: Queries of a head.
        first_row: First row: query `row % q_len` of head `row // q_len`.
        rows: Number of rows.
        begin: First key.
        end: One past the last key.
        mask: The additive mask.
    """
    comptime B = Buffers[acc, D, DV]
    comptime W = B.W
    comptime NR = B.NR
    comptime MR = B.tile
    comptime value_panels = B.value_depth // NR
    comptime in_place = v_dt == acc and DV % NR == 0
    var few = rows <= FEW_ROWS
    var tiles = (rows + MR - 1) // MR
    var largest = stack_allocation[MR, Scalar[acc]]()

    for key in range(begin, end, KEYS):
        var count = min(KEYS, end - key)
        comptime if causal:
            # Keys after the last query of the block are seen by none.
            var last = q_len - 1
            if first_row // q_len == (first_row + rows - 1) // q_len:
                last = (first_row + rows - 1) % q_len
            count = min(count, last + 1 - key)
            if count <= 0:
                break
        var k0 = keys.unsafe_offset(key * key_row)
        var v0 = values.unsafe_offset(key * value_row)
        if not few:
            for j in range(0, count, NR):
                pack_panel[NR](
                    k0.unsafe_offset(j * key_row),
                    1,
                    key_row,
                    D,
                    min(NR, count - j),
                    buffers.keys.unsafe_offset(j * D),
                )
        if not (few and in_place):
            comptime for p in range(value_panels):
                pack_panel[NR](
                    v0.unsafe_offset(p * NR),
                    value_row,
                    1,
                    count,
                    min(NR, DV - p * NR),
                    buffers.values.unsafe_offset(p * NR * KEYS),
                )
        for tile in range(tiles):
            var r = rows * tile // tiles
            var height = rows * (tile + 1) // tiles - r
            var q = buffers.queries.unsafe_offset((base + r) * D)
            var seen = count
            comptime if causal:
                seen = 0
                for i in range(height):
                    seen = max(seen, (first_row + r + i) % q_len + 1 - key)
                seen = min(seen, count)
                if seen <= 0:
                    continue
            if few:
                for start in range(0, height, DOT_ROWS):
                    # The last group overlaps the one before rather than leave the tile.
                    var i = min(start, max(0, height - DOT_ROWS))
                    for j in range(0, seen, DOT_COLS):
                        dot_rows[acc](
                            q.unsafe_offset(i * D),
                            D,
                            min(DOT_ROWS, height - i),
                            k0.unsafe_offset(j * key_row),
                            key_row,
                            min(DOT_COLS, seen - j),
                            D,
                            buffers.scores.unsafe_offset(i * KEYS + j),
                            KEYS,
                        )
            else:
                for j in range(0, seen, NR):
                    var panel = buffers.keys.unsafe_offset(j * D)
                    gemm_rows[acc, acc, acc, VECTORS](
                        height,
                        q,
                        D,
                        1,
                        panel,
                        NR,
                        buffers.scores.unsafe_offset(j),
                        KEYS,
                        D,
                        True,
                        panel,
                    )
            var padded = (seen + W - 1) // W * W
            var fresh = key == begin
            # Two loops: the maxima of all rows are found side by side.
            for i in range(height):
                var row = first_row + r + i
                var valid = seen
                comptime if causal:
                    valid = max(0, min(seen, row % q_len + 1 - key))

                @always_inline
                def additive[w: Int](j: Int) {imm} -> SIMD[acc, w]:
                    return mask[w](row, key + j)

                var high = mask_row[has_mask](
                    buffers.scores.unsafe_offset(i * KEYS),
                    valid,
                    padded,
                    additive,
                ).reduce_max()
                largest[unsafe_offset=i] = high
            for i in range(height):
                var at = base + r + i
                var factor = weigh_row[has_mask](
                    buffers.scores.unsafe_offset(i * KEYS),
                    padded,
                    fresh,
                    largest[unsafe_offset=i],
                    buffers.top.unsafe_offset(at),
                    buffers.total.unsafe_offset(at),
                )
                if not fresh and factor != 1:
                    var line = buffers.output.unsafe_offset(at * B.value_depth)
                    comptime for d in range(B.value_depth // W):
                        line.unsafe_store(
                            d * W, line.unsafe_load[width=W](d * W) * factor
                        )
            comptime for p in range(value_panels):
                var panel = buffers.values.unsafe_offset(p * NR * KEYS)
                var panel_row = NR
                comptime if in_place:
                    if few:
                        panel = v0.unsafe_offset(p * NR).unsafe_bitcast[
                            Scalar[acc]
                        ]()
                        panel_row = value_row
                gemm_rows[acc, acc, acc, VECTORS](
                    height,
                    buffers.scores,
                    KEYS,
                    1,
                    panel,
                    panel_row,
                    buffers.output.unsafe_offset(
                        (base + r) * B.value_depth + p * NR
                    ),
                    B.value_depth,
                    seen,
                    fresh,
                    panel,
                )
