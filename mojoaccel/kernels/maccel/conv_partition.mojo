"""How convolutions divide their work: among threads, into blocks, into sums that stay in registers."""

from std.sys import size_of

from maccel.conv_tile import tile_rows
from maccel.image import ImageView
from maccel.pairs import PAIR
from maccel.team import Share, Team

comptime BLOCK_BYTES = 1 << 20
"""Gathered values a thread keeps while the weights do not fit in its L2 cache: a panel that comes
from memory is then used for several tiles."""

comptime SMALL_WEIGHT_BYTES = 1 << 20
"""Weights that stay in the L2 cache: a thread then gathers one tile at a time, which stays in the
L1 cache. Measured on 64 channels, 3x3, 56x56: 159 GFLOP/s against 152 with 8 tiles (peak 178)."""

comptime BLOCK_TILES = 8
"""Most register tiles in a block; more would not reuse a weight panel noticeably better."""

comptime MAX_DEPTH = 192
"""Longest sum kept in registers; longer ones are cut evenly. The error over the spread of the
results, for 384 products each: 3.5e-7 in one sum, 2.5e-7 cut at 192 (PyTorch 2.5e-7), 2.1e-7 at 128.
Speed, against sums of 384: 0 to 1.2 % less at 192, 1 to 2.5 % less at 128. Models that amplify
roundings (attention scores of thousands) need it. Pairs of bfloat16 are cut at MAX_LINE: their own
rounding is what one sees.
"""

comptime MAX_LINE = 384
"""Longest row of a window that is multiplied where it lies (see `maccel.conv_strip`)."""


@always_inline
def row_elements[acc: DType, depth: Int]() -> Int:
    """Returns the distance of gathered rows: an odd number of cache lines, so that the rows of a
    tile never fall on the same cache sets."""
    comptime lanes = 64 // size_of[acc]()
    return ((depth + lanes - 1) // lanes | 1) * lanes


@always_inline
def block_tiles[acc: DType, depth: Int, panel: Int, weight_bytes: Int]() -> Int:
    """Returns how many register tiles of gathered rows a thread keeps at once.
    """
    comptime bytes = row_elements[acc, depth]() * tile_rows[
        acc, panel
    ]() * size_of[acc]()
    comptime if weight_bytes <= SMALL_WEIGHT_BYTES:
        return 1
    else:
        return max(1, min(BLOCK_TILES, BLOCK_BYTES // bytes))


@fieldwise_init
struct TilePartition(Copyable, Movable, TrivialRegisterPassable):
    """The pixels [begin, end) and panels [first, last) that one thread computes.
    """

    var pixels: Share
    var panels: Share


@always_inline
def partition_tiles[
    rows: Int
](
    team: Team, pixels: Int, panels: Int, gather_cost: Int, panel_cost: Int
) -> TilePartition:
    """Splits a grid of register tiles over the team in two dimensions.

    Every thread gathers its own pixels and streams its own panels, so a split costs, in
    sixteenths of a tile, `gather_cost` per row of tiles and `panel_cost` per panel. Few pixels
    with many channels (7x7x512) split over the panels, the reverse over the pixels.
    """
    var tiles = (pixels + rows - 1) // rows
    var best = 1
    var best_cost = Int.MAX
    for across in range(1, min(team.size, panels) + 1):
        var down = team.size // across
        var t = (tiles + down - 1) // down
        var p = (panels + across - 1) // across
        var cost = t * p * 16 + t * gather_cost + p * panel_cost
        if cost < best_cost:
            best_cost = cost
            best = across
    var down = team.size // best
    var i = team.id // best
    var j = team.id % best
    if i >= down:
        return TilePartition(Share(0, 0), Share(0, 0))
    return TilePartition(
        Share(
            tiles * i // down * rows,
            min(pixels, tiles * (i + 1) // down * rows),
        ),
        Share(panels * j // best, panels * (j + 1) // best),
    )


@always_inline
def longest_sum[vt: DType]() -> Int:
    """Returns how many products, or pairs of them, are summed in registers at most.
    """
    return MAX_LINE if vt == PAIR else MAX_DEPTH


@always_inline
def is_matrix[dt: DType, //, channels: Int](x: ImageView[dt]) -> Bool:
    """Returns whether a pointwise convolution multiplies an image of `channels` where it lies.

    Rows 4096 bytes apart fall on the same set of the L1 cache, which holds 8: then they are
    gathered (1024 channels to 256: 64 % of the peak in place, 94 % gathered).
    """
    comptime if channels * size_of[dt]() % 4096 == 0:
        return False
    return (
        x.sw == channels
        and x.sh == x.width * x.sw
        and (x.sn == x.height * x.sh or x.count == 1)
    )
