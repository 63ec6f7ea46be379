"""One block of queries against a range of keys: the inside of `attention`.

The rows of a block are the queries of all heads that share a key head, so that grouped heads read
keys and values once. Keys come in tiles; for each tile a row keeps its largest score, the sum of
its exponentials and the weighted sum of values, all relative to that largest score (online
softmax: Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022).
"""

from std.memory import stack_allocation

from maccel.attention_buffers import (
    FEW_ROWS,
    KEYS,
    VECTORS,
    Buffers,
    Following,
    pack_pairs,
    pairs_at,
    touch_rows,
)
from maccel.amx import (
    TILE_ROWS,
    TILE_STEPS,
    configure_tiles,
    fits_tiles,
    release_tiles,
    tile_steps,
)
from maccel.attention_weights import largest_of, mask_row, slack, weigh_row
from maccel.dot import DOT_COLS, DOT_ROWS, dot_rows
from maccel.gemm import gemm_rows
from maccel.math_poly import constant
from maccel.pack import pack_panel
from maccel.pairs import PAIR
from maccel.tiles import Rows, multiply_rows
from maccel.types import Ptr


@always_inline
def attend[
    acc: DType,
    k_dt: DType,
    v_dt: DType,
    q_dt: DType,
    D: Int,
    DV: Int,
    //,
    causal: Bool,
    has_mask: Bool,
    able: Bool,
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
    paired: Bool,
    scale: Scalar[acc],
    following: Following[q_dt, k_dt, v_dt],
    mask: Mask,
):
    """Runs rows [first_row, first_row + rows) of a key head over keys [begin, end).

    Parameters:
        acc: Type of all values.
        k_dt: Stored type of the keys.
        v_dt: Stored type of the values.
        q_dt: Stored type of the queries.
        D: Depth of queries and keys.
        DV: Depth of values.
        causal: Query i sees keys j <= i.
        has_mask: Whether to add the mask.
        able: Whether a block may be `paired`.
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
        paired: Multiply pairs of bfloat16; the queries have been copied as pairs.
        scale: Factor of the scores, if `paired`.
        following: What comes after the block.
        mask: The additive mask.
    """
    comptime B = Buffers[acc, D, DV]
    comptime W = B.W
    comptime NR = B.NR
    comptime MR = B.tile
    comptime value_panels = B.value_depth // NR
    comptime in_place = v_dt == acc and DV % NR == 0
    comptime amx = able and fits_tiles[D // 2]()
    comptime steps = tile_steps[D // 2]()
    var few = rows <= FEW_ROWS
    # AMX computes whole tiles: there are as many rows only where no other block follows.
    var tiled = amx and paired and base == 0
    var tiles = (rows + MR - 1) // MR
    if tiled:
        tiles = (rows + 2 * TILE_ROWS - 1) // (2 * TILE_ROWS)
        configure_tiles(TILE_ROWS, steps)
    var largest = stack_allocation[B.score_rows, Scalar[acc]]()

    for key in range(begin, end, KEYS):
        var count = min(KEYS, end - key)
        comptime if causal:
            # Keys after the last query of the block are seen by none.
            var last_query = q_len - 1
            if first_row // q_len == (first_row + rows - 1) // q_len:
                last_query = (first_row + rows - 1) % q_len
            count = min(count, last_query + 1 - key)
            if count <= 0:
                break
        var k0 = keys.unsafe_offset(key * key_row)
        var v0 = values.unsafe_offset(key * value_row)
        comptime if able:
            if paired:
                pack_pairs(buffers, k0, key_row, v0, value_row, count)
        if not few and not paired:
            for j in range(0, count, NR):
                pack_panel[NR](
                    k0.unsafe_offset(j * key_row),
                    1,
                    key_row,
                    D,
                    min(NR, count - j),
                    buffers.keys.unsafe_offset(j * D),
                )
        if not (few and in_place) and not paired:
            comptime for p in range(value_panels):
                pack_panel[NR](
                    v0.unsafe_offset(p * NR),
                    value_row,
                    1,
                    count,
                    min(NR, DV - p * NR),
                    buffers.values.unsafe_offset(p * NR * KEYS),
                )
        var last = key + KEYS >= end
        var next_count = following.count if last else min(
            KEYS, end - key - KEYS
        )
        var next_keys = following.keys
        var next_values = following.values
        if not last:
            next_keys = k0.unsafe_offset(KEYS * key_row)
            next_values = v0.unsafe_offset(KEYS * value_row)
        for tile in range(tiles):
            if not few:
                touch_rows[D](next_keys, key_row, next_count, tile, tiles)
                touch_rows[DV](next_values, value_row, next_count, tile, tiles)
                if last:
                    touch_rows[D](
                        following.queries,
                        following.query_row,
                        following.rows,
                        tile,
                        tiles,
                    )
            var r = rows * tile // tiles
            var height = rows * (tile + 1) // tiles - r
            if tiled:
                r = 2 * TILE_ROWS * tile
                height = min(2 * TILE_ROWS, rows - r)
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
            elif paired:
                comptime if able:
                    for j in range(0, seen, NR):
                        var panel = pairs_at(buffers.keys, j * D)
                        if seen - j <= W and not tiled:
                            gemm_rows[acc, PAIR, PAIR, 1](
                                height,
                                pairs_at(q, 0),
                                D,
                                1,
                                panel,
                                NR,
                                buffers.scores.unsafe_offset(j),
                                KEYS,
                                D // 2,
                                True,
                                panel,
                            )
                            break
                        comptime if amx:
                            if tiled:
                                multiply_rows[steps](
                                    height,
                                    pairs_at(q, 0),
                                    D,
                                    D // 2,
                                    panel,
                                    as_floats(buffers.scores.unsafe_offset(j)),
                                    KEYS,
                                    True,
                                )
                                continue
                        gemm_rows[acc, PAIR, PAIR, VECTORS](
                            height,
                            pairs_at(q, 0),
                            D,
                            1,
                            panel,
                            NR,
                            buffers.scores.unsafe_offset(j),
                            KEYS,
                            D // 2,
                            True,
                            panel,
                        )
            else:
                for j in range(0, seen, NR):
                    var panel = buffers.keys.unsafe_offset(j * D)
                    if seen - j <= W:
                        gemm_rows[acc, acc, acc, 1](
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
                        break
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
            if tiled:
                padded = (seen + NR - 1) // NR * NR
            var fresh = key == begin
            var narrow = able and paired
            var room = Scalar[acc](slack[True]() if narrow else slack[False]())
            # Two loops: the maxima of all rows are found side by side.
            for i in range(height):
                var row = first_row + r + i
                var valid = seen
                comptime if causal:
                    valid = max(0, min(seen, row % q_len + 1 - key))

                @always_inline
                def additive[w: Int](j: Int) {imm} -> SIMD[acc, w]:
                    return mask[w](row, key + j)

                var scores = buffers.scores.unsafe_offset(i * KEYS)
                var high: SIMD[acc, W]
                if narrow:
                    high = mask_row[has_mask, True](
                        scores, valid, padded, scale, additive
                    )
                else:
                    high = mask_row[has_mask, False](
                        scores, valid, padded, scale, additive
                    )
                # Seldom more than `top`: one comparison is faster than the largest of the lanes.
                var known = buffers.top[unsafe_offset=base + r + i]
                if fresh or high.gt(known + room).reduce_or():
                    known = largest_of(high)
                largest[unsafe_offset=i] = known
            for i in range(height):
                var at = base + r + i
                var scores = buffers.scores.unsafe_offset(i * KEYS)
                var high = largest[unsafe_offset=i]
                var top = buffers.top.unsafe_offset(at)
                var total = buffers.total.unsafe_offset(at)
                var factor: Scalar[acc]
                if narrow:
                    factor = weigh_row[has_mask, True](
                        scores, padded, fresh, high, scale, top, total
                    )
                else:
                    factor = weigh_row[has_mask, False](
                        scores, padded, fresh, high, scale, top, total
                    )
                if not fresh and factor != 1:
                    var line = buffers.output.unsafe_offset(at * B.value_depth)
                    comptime for d in range(B.value_depth // W):
                        line.unsafe_store(
                            d * W, line.unsafe_load[width=W](d * W) * factor
                        )
            comptime if amx and steps != TILE_STEPS:
                if tiled:
                    configure_tiles(TILE_ROWS, TILE_STEPS)
            comptime for p in range(value_panels):
                var panel = buffers.values.unsafe_offset(p * NR * KEYS)
                var panel_row = NR
                var sums = buffers.output.unsafe_offset(
                    (base + r) * B.value_depth + p * NR
                )
                comptime if able:
                    if paired:
                        var pairs = pairs_at(panel, 0)
                        comptime if amx:
                            if tiled:
                                multiply_rows[TILE_STEPS](
                                    height,
                                    pairs_at(buffers.scores, 0),
                                    KEYS,
                                    padded // 2,
                                    pairs,
                                    as_floats(sums),
                                    B.value_depth,
                                    fresh,
                                )
                                continue
                        gemm_rows[acc, PAIR, PAIR, VECTORS](
                            height,
                            pairs_at(buffers.scores, 0),
                            KEYS,
                            1,
                            pairs,
                            NR,
                            sums,
                            B.value_depth,
                            (seen + 1) // 2,
                            fresh,
                            pairs,
                        )
                        continue
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
                    sums,
                    B.value_depth,
                    seen,
                    fresh,
                    panel,
                )
            comptime if amx and steps != TILE_STEPS:
                if tiled:
                    configure_tiles(TILE_ROWS, steps)
    comptime if amx:
        if tiled:
            release_tiles()


@always_inline
def as_floats[acc: DType, //](data: Ptr[acc]) -> Ptr[DType.float32]:
    """Returns values that are float32 wherever there are tiles."""
    return data.unsafe_bitcast[Float32]()
