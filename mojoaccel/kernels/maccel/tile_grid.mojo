"""Products with packed weights by AMX tiles: rows cut into tiles, a panel at a time."""

from std.memory import stack_allocation
from std.sys import simd_width_of

from maccel.amx import TILE_ROWS, configure_tiles, release_tiles, tile_steps
from maccel.gemm import partition, store_tile
from maccel.pairs import PAIR
from maccel.team import Team
from maccel.tiles import F, PANEL, Rows, multiply_tiles
from maccel.types import Ptr

comptime SUMS = 2 * TILE_ROWS * PANEL
"""Elements of the sums of two tiles of rows."""

comptime DEPTH = 192
"""Pairs of a panel that meet all rows before the next ones: 24 KB, which stay in L1."""

comptime BLOCK_BYTES = 1 << 20
"""Bytes of A that stay in L2 while panels pass."""

comptime BLOCK = 16
"""Most double tiles of rows whose partial sums wait in scratch memory."""


@fieldwise_init
struct Grid(Copyable, Movable, TrivialRegisterPassable):
    """Rows of A cut into tiles of one height: `lines` lines of `width` rows each.

    The last tile of a line overlaps the one before; rows that two tiles compute are stored once.
    """

    var lines: Int
    var width: Int
    var across: Int
    var height: Int

    @always_inline
    def __init__(out self, lines: Int, width: Int):
        """Cuts `lines` lines of `width` rows, at least one of each."""
        self.lines = lines
        self.width = width
        self.across = (width + TILE_ROWS - 1) // TILE_ROWS
        self.height = (width + self.across - 1) // self.across

    @always_inline
    def tiles(self) -> Int:
        """Returns the number of tiles."""
        return self.lines * self.across

    @always_inline
    def start(self, tile: Int) -> Int:
        """Returns the first row that a tile computes, within its line."""
        return min(tile % self.across * self.height, self.width - self.height)

    @always_inline
    def first(self, tile: Int) -> Int:
        """Returns the first row that a tile computes."""
        return tile // self.across * self.width + self.start(tile)

    @always_inline
    def skip(self, tile: Int) -> Int:
        """Returns how many of its rows the tile before stores."""
        return tile % self.across * self.height - self.start(tile)


@always_inline
def tiles_scratch() -> Int:
    """Returns the scratch bytes per thread of `linear_tiles`, and of the sums of `multiply_grid`.
    """
    return BLOCK * SUMS * 4


@always_inline
def multiply_grid[
    segments: Int,
    line: Int,
    panels: Int,
    most: Int,
    Prepare: def(Int, Int) -> Rows,
    Finish: def(Ptr[F], Int, Int, Int) -> None,
](
    team: Team,
    grid: Grid,
    a_row: Int,
    b: Ptr[PAIR],
    prepare: Prepare,
    finish: Finish,
):
    """Computes this thread's share of a product, B packed into panels.

    Parameters:
        segments: Stretches of a row of A.
        line: Pairs of a stretch, of which `tile_steps` finds tiles.
        panels: Panels of B, `[segments * line][PANEL]` each.
        most: Double tiles that a block of a panel meets at a time, at most BLOCK.
        Prepare: `prepare(tile, slot)` finds the rows of a tile; `slot` counts within a block.
        Finish: `finish(sums, first_row, rows, panel)`, called once for every row and panel.

    Args:
        team: The threads.
        grid: The tiles of rows.
        a_row: Pairs between rows of A.
        b: The panels.
        prepare: Where rows are.
        finish: The epilogue.

    Scratch per thread: `tiles_scratch`, which `prepare` may follow.
    """
    comptime steps = tile_steps[line]()
    # A block of a panel: some whole stretches, or a part of one.
    comptime parts = (line + DEPTH - 1) // DEPTH
    comptime part_count = (line // steps + parts - 1) // parts
    comptime together = 1 if parts > 1 else max(1, min(segments, DEPTH // line))
    comptime blocks = parts * ((segments + together - 1) // together)

    var tiles = grid.tiles()
    var part = partition(
        team.id, team.size, (tiles + 1) // 2, panels, 2 * TILE_ROWS, PANEL
    )
    var sums = team.scratch[F]()
    var rows = stack_allocation[2 * most, Rows]()
    configure_tiles(grid.height, steps)
    for top in range(part.top, part.bottom, most):
        var bottom = min(part.bottom, top + most)
        for tile in range(2 * top, min(2 * bottom, tiles)):
            var slot = tile - 2 * top
            rows[unsafe_offset=slot] = prepare(tile, slot)
        for panel in range(part.first_panel(), part.last_panel()):
            var begin = part.from_tile(panel, top)
            var end = part.to_tile(panel, bottom)
            if begin >= end:
                continue
            for block in range(blocks):
                var segment = block // parts * together
                var stretches = min(together, segments - segment)
                var from_step = block % parts * part_count
                var count = min(part_count, line // steps - from_step)
                var k = from_step * steps
                var weights = b.unsafe_offset(
                    ((panel * segments + segment) * line + k) * PANEL
                )
                # The next block of weights comes from memory while this one is used.
                var doubles = end - begin
                var lines = (steps * PANEL // 16 + doubles - 1) // doubles
                var ahead = weights.unsafe_offset(
                    stretches * count * steps * PANEL
                )
                for double in range(begin, end):
                    var tile = 2 * double
                    var c = sums
                    comptime if blocks > 1:
                        c = sums.unsafe_offset((double - begin) * SUMS)
                    var upper = rows[unsafe_offset=tile - 2 * top]
                    upper.data = upper.data.unsafe_offset(
                        segment * upper.step + k
                    )
                    if tile + 1 < tiles:
                        var lower = rows[unsafe_offset=tile + 1 - 2 * top]
                        lower.data = lower.data.unsafe_offset(
                            segment * lower.step + k
                        )
                        multiply_tiles[True, steps](
                            upper,
                            lower,
                            a_row,
                            stretches,
                            count,
                            weights,
                            PANEL,
                            c,
                            PANEL,
                            block == 0,
                            ahead,
                            lines,
                        )
                    else:
                        multiply_tiles[False, steps](
                            upper,
                            upper,
                            a_row,
                            stretches,
                            count,
                            weights,
                            PANEL,
                            c,
                            PANEL,
                            block == 0,
                            ahead,
                            lines,
                        )
                    ahead = ahead.unsafe_offset(stretches * count * lines * 16)
                    if block < blocks - 1:
                        continue
                    for t in range(tile, min(tile + 2, tiles)):
                        var skip = grid.skip(t)
                        finish(
                            c.unsafe_offset(
                                ((t - tile) * TILE_ROWS + skip) * PANEL
                            ),
                            grid.first(t) + skip,
                            grid.height - skip,
                            panel,
                        )
    release_tiles()


@always_inline
def linear_tiles[
    N: Int,
    K: Int,
    Store: def[w: Int](Int, Int, SIMD[F, w]) -> None,
](team: Team, rows: Int, a: Ptr[PAIR], a_row: Int, b: Ptr[PAIR], store: Store,):
    """Computes this thread's share of `C = A @ B` of pairs, B packed into panels.

    Parameters:
        N: Columns of B.
        K: Pairs of rows of B, of which `tile_steps` finds tiles.
        Store: `store[w](row, col, value)`, called once per element.

    Args:
        team: The threads.
        rows: Rows of A.
        a: First row of A.
        a_row: Pairs between rows of A.
        b: The panels, `[ceil(N/PANEL)][K][PANEL]`.
        store: The epilogue.

    Scratch per thread: `tiles_scratch`.
    """
    comptime W = simd_width_of[F]()
    comptime most = max(1, min(BLOCK, BLOCK_BYTES // (8 * TILE_ROWS * K)))
    if rows == 0:
        return
    var grid = Grid(1, rows)

    @always_inline
    def rows_of(tile: Int, slot: Int) {imm} -> Rows:
        return Rows(a.unsafe_offset(grid.first(tile) * a_row), 0)

    @always_inline
    def finish(c: Ptr[F], row: Int, height: Int, panel: Int) {imm}:
        store_tile[W, N % W != 0](
            c,
            PANEL,
            row,
            height,
            panel * PANEL,
            min(PANEL, N - panel * PANEL),
            store,
        )

    multiply_grid[1, K, (N + PANEL - 1) // PANEL, most](
        team, grid, a_row, b, rows_of, finish
    )
