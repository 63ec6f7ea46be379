"""One block of queries against a range of keys: the inside of `attention`.

The rows of a block are the queries of all heads that share a key head, so that grouped heads read
keys and values once. Keys come in tiles; for each tile a row keeps its largest score, the sum of
its exponentials and the weighted sum of values, all relative to that largest score (online
softmax: Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022).
"""

from std.memory import stack_allocation

from maccel.amx import (
    TILE_ROWS,
    TILE_STEPS,
    configure_tiles,
    fits_tiles,
    release_tiles,
    tile_steps,
)
from maccel.attention_buffers import FEW_ROWS, KEYS, Buffers, Following
from maccel.attention_products import (
    Tile,
    Way,
    add_values,
    pack_tile,
    padded_keys,
    score_tile,
)
from maccel.attention_weights import largest_of, mask_row, slack, weigh_row
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
    comptime amx = able and fits_tiles[D // 2]()
    comptime steps = tile_steps[D // 2]()
    # AMX computes whole tiles: there are as many rows only where no other block follows.
    var way = Way(
        few=rows <= FEW_ROWS,
        paired=paired,
        tiled=amx and paired and base == 0,
    )
    var tiles = (rows + B.tile - 1) // B.tile
    if way.tiled:
        tiles = (rows + 2 * TILE_ROWS - 1) // (2 * TILE_ROWS)
        configure_tiles(TILE_ROWS, steps)
    var largest = stack_allocation[B.score_rows, Scalar[acc]]()

    for key in range(begin, end, KEYS):
        var count = min(KEYS, end - key)
        comptime if causal:
            count = min(count, last_query(first_row, rows, q_len) + 1 - key)
            if count <= 0:
                break
        var k0 = keys.unsafe_offset(key * key_row)
        var v0 = values.unsafe_offset(key * value_row)
        pack_tile[able](buffers, way, k0, key_row, v0, value_row, count)
        var next = following
        if key + KEYS < end:
            next.rows = 0
            next.keys = k0.unsafe_offset(KEYS * key_row)
            next.values = v0.unsafe_offset(KEYS * value_row)
            next.count = min(KEYS, end - key - KEYS)
        for index in range(tiles):
            if not way.few:
                next.touch[D, DV](key_row, value_row, index, tiles)
            var r = rows * index // tiles
            var height = rows * (index + 1) // tiles - r
            if way.tiled:
                r = 2 * TILE_ROWS * index
                height = min(2 * TILE_ROWS, rows - r)
            var tile = Tile(
                base + r, first_row + r, height, key, count, key == begin
            )
            comptime if causal:
                tile.seen = min(count, keys_seen(tile, q_len))
                if tile.seen <= 0:
                    continue
            score_tile[able](buffers, way, tile, k0, key_row)
            comptime if able:
                if way.paired:
                    weigh_tile[causal, has_mask, True](
                        buffers, way, tile, q_len, scale, largest, mask
                    )
                else:
                    weigh_tile[causal, has_mask, False](
                        buffers, way, tile, q_len, scale, largest, mask
                    )
            else:
                weigh_tile[causal, has_mask, False](
                    buffers, way, tile, q_len, scale, largest, mask
                )
            comptime if amx and steps != TILE_STEPS:
                if way.tiled:
                    configure_tiles(TILE_ROWS, TILE_STEPS)
            add_values[able](buffers, way, tile, v0, value_row)
            comptime if amx and steps != TILE_STEPS:
                if way.tiled:
                    configure_tiles(TILE_ROWS, steps)
    comptime if amx:
        if way.tiled:
            release_tiles()


@always_inline
def last_query(first_row: Int, rows: Int, q_len: Int) -> Int:
    """Returns the last query of a block, which sees the most keys."""
    var last = first_row + rows - 1
    var one_head = first_row // q_len == last // q_len
    return last % q_len if one_head else q_len - 1


@always_inline
def keys_seen(tile: Tile, q_len: Int) -> Int:
    """Returns how many keys, from the tile's first on, any of its rows sees if none sees later ones.
    """
    var seen = 0
    for i in range(tile.height):
        seen = max(seen, (tile.query + i) % q_len + 1 - tile.key)
    return seen


@always_inline
def weigh_tile[
    acc: DType,
    D: Int,
    DV: Int,
    //,
    causal: Bool,
    has_mask: Bool,
    narrow: Bool,
    Mask: def[w: Int](Int, Int) -> SIMD[acc, w],
](
    buffers: Buffers[acc, D, DV],
    way: Way,
    tile: Tile,
    q_len: Int,
    scale: Scalar[acc],
    largest: Ptr[acc],
    mask: Mask,
):
    """Turns a tile's scores into weights, and what its rows have summed to what that is beside them.

    Parameters:
        acc: Type of all values.
        D: Depth of queries and keys.
        DV: Depth of values.
        causal: Query i sees keys j <= i.
        has_mask: Whether to add the mask.
        narrow: The weights become bfloat16.
        Mask: `mask[w](row, j)`.

    Args:
        buffers: Have the scores, get the weights.
        way: How the block multiplies.
        tile: The rows.
        q_len: Queries of a head.
        scale: Factor of the scores, if `narrow`.
        largest: Room for a number of each row.
        mask: The additive mask.
    """
    comptime B = Buffers[acc, D, DV]
    comptime W = B.W
    comptime room = Scalar[acc](slack[narrow]())
    var padded = padded_keys(tile.seen, B.NR if way.tiled else W)
    # Two loops: the maxima of all rows are found side by side.
    for i in range(tile.height):
        var row = tile.query + i
        var valid = tile.seen
        comptime if causal:
            valid = max(0, min(valid, row % q_len + 1 - tile.key))

        @always_inline
        def additive[w: Int](j: Int) {imm} -> SIMD[acc, w]:
            return mask[w](row, tile.key + j)

        var high = mask_row[has_mask, narrow](
            buffers.scores.unsafe_offset(i * KEYS),
            valid,
            padded,
            scale,
            additive,
        )
        # Seldom more than `top`: one comparison is faster than the largest of the lanes.
        var known = buffers.top[unsafe_offset=tile.row + i]
        if tile.fresh or high.gt(known + room).reduce_or():
            known = largest_of(high)
        largest[unsafe_offset=i] = known
    for i in range(tile.height):
        var at = tile.row + i
        var factor = weigh_row[has_mask, narrow](
            buffers.scores.unsafe_offset(i * KEYS),
            padded,
            tile.fresh,
            largest[unsafe_offset=i],
            scale,
            buffers.top.unsafe_offset(at),
            buffers.total.unsafe_offset(at),
        )
        if not tile.fresh and factor != 1:
            var line = buffers.output.unsafe_offset(at * B.value_depth)
            comptime for d in range(B.value_depth // W):
                line.unsafe_store(
                    d * W, line.unsafe_load[width=W](d * W) * factor
                )
