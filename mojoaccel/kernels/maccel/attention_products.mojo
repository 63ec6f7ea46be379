"""The products of attention: what a tile of queries and a tile of keys and values make together.

There are four ways to multiply, chosen for a whole block: few rows read keys and values where they
are; more rows read packed panels; pairs of bfloat16 have panels of pairs; AMX multiplies those by
its tiles.
"""

from maccel.amx import TILE_STEPS, fits_tiles, tile_steps
from maccel.attention_buffers import (
    KEYS,
    VECTORS,
    Buffers,
    pack_pairs,
    pairs_at,
)
from maccel.dot import DOT_COLS, DOT_ROWS, dot_rows
from maccel.gemm import gemm_rows
from maccel.pack import pack_panel
from maccel.pairs import PAIR
from maccel.tiles import multiply_rows
from maccel.types import Ptr


@fieldwise_init
struct Way(Copyable, Movable, TrivialRegisterPassable):
    """How a block multiplies."""

    var few: Bool
    """Few rows: keys and values are read in place."""
    var paired: Bool
    """By pairs of bfloat16."""
    var tiled: Bool
    """Pairs, by AMX."""


@fieldwise_init
struct Tile(Copyable, Movable, TrivialRegisterPassable):
    """Rows that meet a tile of keys together."""

    var row: Int
    """First row in the buffers."""
    var query: Int
    """First row of the key head: query `query % q_len` of head `query // q_len`."""
    var height: Int
    """Number of rows."""
    var key: Int
    """First key."""
    var seen: Int
    """Keys from there on that any of the rows sees."""
    var fresh: Bool
    """Whether these are the rows' first keys."""


@always_inline
def values_in_place[acc: DType, v_dt: DType, DV: Int, NR: Int]() -> Bool:
    """Returns whether values can be multiplied without being packed."""
    return v_dt == acc and DV % NR == 0


@always_inline
def pack_tile[
    acc: DType, k_dt: DType, v_dt: DType, D: Int, DV: Int, //, able: Bool
](
    buffers: Buffers[acc, D, DV],
    way: Way,
    keys: Ptr[k_dt],
    key_row: Int,
    values: Ptr[v_dt],
    value_row: Int,
    count: Int,
):
    """Packs `count` keys and values as the block wants them.

    Parameters:
        acc: Type of all computing.
        k_dt: Stored type of the keys.
        v_dt: Stored type of the values.
        D: Depth of the keys.
        DV: Depth of the values.
        able: Whether a block may be paired.

    Args:
        buffers: Get the panels.
        way: How the block multiplies.
        keys: First key.
        key_row: Elements between keys.
        values: First value.
        value_row: Elements between values.
        count: Number of keys.
    """
    comptime B = Buffers[acc, D, DV]
    comptime NR = B.NR
    comptime in_place = values_in_place[acc, v_dt, DV, NR]()
    comptime if able:
        if way.paired:
            pack_pairs(buffers, keys, key_row, values, value_row, count)
            return
    if not way.few:
        for j in range(0, count, NR):
            pack_panel[NR](
                keys.unsafe_offset(j * key_row),
                1,
                key_row,
                D,
                min(NR, count - j),
                buffers.keys.unsafe_offset(j * D),
            )
    if not (way.few and in_place):
        comptime for p in range(B.value_depth // NR):
            pack_panel[NR](
                values.unsafe_offset(p * NR),
                value_row,
                1,
                count,
                min(NR, DV - p * NR),
                buffers.values.unsafe_offset(p * NR * KEYS),
            )


@always_inline
def score_tile[
    acc: DType, k_dt: DType, D: Int, DV: Int, //, able: Bool
](
    buffers: Buffers[acc, D, DV],
    way: Way,
    tile: Tile,
    keys: Ptr[k_dt],
    key_row: Int,
):
    """Computes the scores of the keys that a tile's rows see.

    Parameters:
        acc: Type of all computing.
        k_dt: Stored type of the keys.
        D: Depth of queries and keys.
        DV: Depth of values.
        able: Whether a block may be paired.

    Args:
        buffers: Have queries and packed keys, get the scores.
        way: How the block multiplies.
        tile: The rows.
        keys: First key.
        key_row: Elements between keys.
    """
    comptime B = Buffers[acc, D, DV]
    if way.few:
        score_in_place(buffers, tile, keys, key_row)
        return
    var q = buffers.queries.unsafe_offset(tile.row * D)
    for j in range(0, tile.seen, B.NR):
        # The last keys may fill one vector only.
        var narrow = tile.seen - j <= B.W
        comptime if able:
            if way.paired:
                score_pairs(buffers, way.tiled, tile.height, q, j, narrow)
                continue
        var panel = buffers.keys.unsafe_offset(j * D)
        var scores = buffers.scores.unsafe_offset(j)
        if narrow:
            gemm_rows[acc, acc, acc, 1](
                tile.height, q, D, 1, panel, B.NR, scores, KEYS, D, True, panel
            )
        else:
            gemm_rows[acc, acc, acc, VECTORS](
                tile.height, q, D, 1, panel, B.NR, scores, KEYS, D, True, panel
            )


@always_inline
def score_in_place[
    acc: DType, k_dt: DType, D: Int, DV: Int, //
](buffers: Buffers[acc, D, DV], tile: Tile, keys: Ptr[k_dt], key_row: Int):
    """Computes the scores of few rows by sums of products along keys that are not packed.
    """
    var q = buffers.queries.unsafe_offset(tile.row * D)
    for start in range(0, tile.height, DOT_ROWS):
        # The last group overlaps the one before rather than leave the tile.
        var i = min(start, max(0, tile.height - DOT_ROWS))
        for j in range(0, tile.seen, DOT_COLS):
            dot_rows[acc](
                q.unsafe_offset(i * D),
                D,
                min(DOT_ROWS, tile.height - i),
                keys.unsafe_offset(j * key_row),
                key_row,
                min(DOT_COLS, tile.seen - j),
                D,
                buffers.scores.unsafe_offset(i * KEYS + j),
                KEYS,
            )


@always_inline
def score_pairs[
    acc: DType, D: Int, DV: Int, //
](
    buffers: Buffers[acc, D, DV],
    tiled: Bool,
    height: Int,
    queries: Ptr[acc],
    key: Int,
    narrow: Bool,
):
    """Computes the scores of the panel of pairs that begins with key `key`."""
    comptime NR = Buffers[acc, D, DV].NR
    var q = pairs_at(queries, 0)
    var panel = pairs_at(buffers.keys, key * D)
    var scores = buffers.scores.unsafe_offset(key)
    comptime if fits_tiles[D // 2]():
        if tiled:
            multiply_rows[tile_steps[D // 2]()](
                height, q, D, D // 2, panel, as_floats(scores), KEYS, True
            )
            return
    if narrow:
        gemm_rows[acc, PAIR, PAIR, 1](
            height, q, D, 1, panel, NR, scores, KEYS, D // 2, True, panel
        )
    else:
        gemm_rows[acc, PAIR, PAIR, VECTORS](
            height, q, D, 1, panel, NR, scores, KEYS, D // 2, True, panel
        )


@always_inline
def add_values[
    acc: DType, v_dt: DType, D: Int, DV: Int, //, able: Bool
](
    buffers: Buffers[acc, D, DV],
    way: Way,
    tile: Tile,
    values: Ptr[v_dt],
    value_row: Int,
):
    """Adds the values that a tile's rows see, times their weights, to what the rows have summed.

    Parameters:
        acc: Type of all computing.
        v_dt: Stored type of the values.
        D: Depth of queries and keys.
        DV: Depth of values.
        able: Whether a block may be paired.

    Args:
        buffers: Have weights and packed values, get the sums.
        way: How the block multiplies.
        tile: The rows.
        values: First value.
        value_row: Elements between values.
    """
    comptime B = Buffers[acc, D, DV]
    comptime NR = B.NR
    comptime for p in range(B.value_depth // NR):
        var panel = buffers.values.unsafe_offset(p * NR * KEYS)
        var panel_row = NR
        var sums = buffers.output.unsafe_offset(
            tile.row * B.value_depth + p * NR
        )
        comptime if able:
            if way.paired:
                add_value_pairs(
                    buffers, way.tiled, tile, pairs_at(panel, 0), sums
                )
                continue
        comptime if values_in_place[acc, v_dt, DV, NR]():
            if way.few:
                panel = values.unsafe_offset(p * NR).unsafe_bitcast[
                    Scalar[acc]
                ]()
                panel_row = value_row
        gemm_rows[acc, acc, acc, VECTORS](
            tile.height,
            buffers.scores,
            KEYS,
            1,
            panel,
            panel_row,
            sums,
            B.value_depth,
            tile.seen,
            tile.fresh,
            panel,
        )


@always_inline
def add_value_pairs[
    acc: DType, D: Int, DV: Int, //
](
    buffers: Buffers[acc, D, DV],
    tiled: Bool,
    tile: Tile,
    panel: Ptr[PAIR],
    sums: Ptr[acc],
):
    """Adds the products of a tile's weights and a panel of values, pairs along the keys.
    """
    comptime B = Buffers[acc, D, DV]
    var weights = pairs_at(buffers.scores, 0)
    comptime if fits_tiles[D // 2]():
        if tiled:
            multiply_rows[TILE_STEPS](
                tile.height,
                weights,
                KEYS,
                padded_keys(tile.seen, B.NR) // 2,
                panel,
                as_floats(sums),
                B.value_depth,
                tile.fresh,
            )
            return
    gemm_rows[acc, PAIR, PAIR, VECTORS](
        tile.height,
        weights,
        KEYS,
        1,
        panel,
        B.NR,
        sums,
        B.value_depth,
        (tile.seen + 1) // 2,
        tile.fresh,
        panel,
    )


@always_inline
def padded_keys(seen: Int, multiple: Int) -> Int:
    """Returns how many keys of a tile get a weight."""
    return (seen + multiple - 1) // multiple * multiple


@always_inline
def as_floats[acc: DType, //](data: Ptr[acc]) -> Ptr[DType.float32]:
    """Returns values that are float32 wherever there are tiles."""
    return data.unsafe_bitcast[Float32]()
