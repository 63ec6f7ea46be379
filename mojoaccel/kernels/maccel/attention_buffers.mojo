"""What one thread keeps while it computes attention, and how operands get there.

Where the time goes, 12 heads of 64 on one thread of a Zen 4: 128 keys run 1.09 times as fast without
the softmax in float32 and 1.14 in pairs, 1.04 and 1.02 without packing; the rest, mostly products, is
at 90 % of the peak (1500 keys: 95 %). Written and dropped, because no faster: scores transposed, keys
in place as the rows of A and queries packed as columns, which needs neither packing nor sums across
lanes (128, 197, 1500 keys: 1.03, 0.98, 1.00 times as fast in float32, 1.01, 0.94, 0.96 in pairs, less
on two threads: queries and results are turned instead, and the last queries of a head fill vectors
badly in both products); panels of 4 vectors (0.99-1.02); 8 vectors side by side in the softmax's
polynomial (0.97-1.00).
"""

from std.sys import simd_width_of, size_of

from maccel.amx import TILE_ROWS, TILE_STEPS, has_amx
from maccel.gemm import tile_rows
from maccel.conv_gather import zero_run
from maccel.math_poly import INF, constant
from maccel.memory import touch
from maccel.pack import pack_panel
from maccel.pairs import PAIR, as_pairs, has_pairs, pack_row_pairs
from maccel.types import Ptr

comptime VECTORS = 2
"""Panel width in vectors, of keys and of values."""

comptime BLOCK_ROWS = 256
"""Most rows of a block: packing a tile of keys and values costs as much as a few rows. 512 rows
gain nothing beyond noise at 1500 keys. Measured on 1 thread of a Zen 4, 64 deep, 1500 keys: 98 of 115
GFLOP/s in float32, 179 of 229 in pairs, of which products take 76 % (at the peak), the softmax 18 %,
packing 3 %. At 197 keys 95 and 166: a head's last keys and rows fill vectors badly too."""

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


@fieldwise_init
struct Following[q_dt: DType, k_dt: DType, v_dt: DType](
    Copyable, Movable, TrivialRegisterPassable
):
    """What a thread works on after a block: it comes to the cache while the block is computed.

    A head's rows are short pieces of long ones, half of them written by another core. Measured in
    models of 12 heads, 2 threads: 319 -> 282 us at 128 keys, 724 -> 687 us at 197.
    """

    var queries: Ptr[Self.q_dt]
    """First row of queries."""
    var query_row: Int
    """Elements between them."""
    var rows: Int
    """Number of rows; 0 if there is no other block."""
    var keys: Ptr[Self.k_dt]
    """First key."""
    var values: Ptr[Self.v_dt]
    """First value."""
    var count: Int
    """Number of keys."""

    @always_inline
    def touch[
        D: Int, DV: Int
    ](self, key_row: Int, value_row: Int, part: Int, parts: Int):
        """Brings one part of it to the cache."""
        touch_rows[D](self.keys, key_row, self.count, part, parts)
        touch_rows[DV](self.values, value_row, self.count, part, parts)
        touch_rows[D](self.queries, self.query_row, self.rows, part, parts)


@always_inline
def touch_rows[
    dt: DType, //, depth: Int
](data: Ptr[dt], row: Int, count: Int, part: Int, parts: Int):
    """Brings one part of `count` rows to the cache."""
    for i in range(count * part // parts, count * (part + 1) // parts):
        comptime for d in range(0, depth, 64 // size_of[dt]()):
            touch(data, i * row + d)


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
    comptime score_rows = 2 * TILE_ROWS if has_amx() else Self.tile
    comptime key_elements = KEYS * Self.D
    comptime value_elements = KEYS * Self.value_depth
    comptime output_elements = BLOCK_ROWS * Self.value_depth
    comptime elements = (
        Self.key_elements
        + Self.value_elements
        + Self.output_elements
        + Self.score_rows * KEYS
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
    """Scores, then weights, of one row tile, [score_rows][KEYS]."""
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
        self.top = self.scores.unsafe_offset(Self.score_rows * KEYS)
        self.total = self.top.unsafe_offset(BLOCK_ROWS)
        self.queries = self.total.unsafe_offset(BLOCK_ROWS)

    @always_inline
    def clear(self, first: Int, rows: Int):
        """Prepares rows for their first keys."""
        for i in range(first, first + rows):
            self.top[unsafe_offset=i] = constant[Self.acc, 1](-INF)
            self.total[unsafe_offset=i] = 0
        for i in range(
            first * Self.value_depth, (first + rows) * Self.value_depth
        ):
            self.output[unsafe_offset=i] = 0


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


@no_inline
def copy_query_pairs[
    acc: DType, dt: DType, //, D: Int
](
    queries: Heads[dt],
    batch: Int,
    first_head: Int,
    q_len: Int,
    row: Int,
    rows: Int,
    target: Ptr[acc],
):
    """Copies rows as `copy_queries` does, as pairs at the beginning of each row and not scaled.
    """
    for r in range(rows):
        var head = (row + r) // q_len
        var source = queries.at(
            batch, first_head + head, row + r - head * q_len
        )
        var line = target.unsafe_offset(r * D).unsafe_bitcast[Scalar[dt]]()
        comptime for d in range(0, D // 32 * 32, 32):
            line.unsafe_store(d, source.unsafe_load[width=32](d))
        comptime for d in range(D // 32 * 32, D, 2):
            line.unsafe_store(d, source.unsafe_load[width=2](d))


@always_inline
def pairs_at[dt: DType, //](data: Ptr[dt], index: Int) -> Ptr[PAIR]:
    """Returns scratch memory at an element as pairs."""
    return data.unsafe_offset(index).unsafe_bitcast[Scalar[PAIR]]()


@always_inline
def can_pair[
    q_dt: DType, k_dt: DType, v_dt: DType, acc: DType, D: Int
]() -> Bool:
    """Returns whether blocks may multiply pairs of bfloat16: queries and keys along the depth,
    weights (rounded to bfloat16, as PyTorch does) and values along the keys.
    """
    comptime H = DType.bfloat16
    comptime stored = q_dt == H and k_dt == H and v_dt == H
    return stored and acc == DType.float32 and D % 2 == 0 and has_pairs()


@no_inline
def pack_pairs[
    acc: DType, k_dt: DType, v_dt: DType, D: Int, DV: Int, //
](
    buffers: Buffers[acc, D, DV],
    keys: Ptr[k_dt],
    key_row: Int,
    values: Ptr[v_dt],
    value_row: Int,
    count: Int,
):
    """Packs `count` keys, pairs along the depth, and values, pairs along the keys.

    Values that only fill up a tile are zero: their weights are, but 0 * NaN is not.
    """
    comptime NR = Buffers[acc, D, DV].NR
    comptime H = DType.bfloat16
    for j in range(0, count, NR):
        pack_panel[NR](
            as_pairs(
                keys.unsafe_bitcast[Scalar[H]]().unsafe_offset(j * key_row)
            ),
            1,
            key_row // 2,
            D // 2,
            min(NR, count - j),
            pairs_at(buffers.keys, j * D),
        )
    for p in range(0, DV, NR):
        pack_row_pairs[NR](
            values.unsafe_bitcast[Scalar[H]]().unsafe_offset(p),
            value_row,
            count,
            min(NR, DV - p),
            pairs_at(buffers.values, p * KEYS),
        )
        comptime if has_amx():
            var pairs = (count + 1) // 2
            var whole = (pairs + TILE_STEPS - 1) // TILE_STEPS * TILE_STEPS
            zero_run(
                pairs_at(buffers.values, p * KEYS + pairs * NR),
                (whole - pairs) * NR,
            )
