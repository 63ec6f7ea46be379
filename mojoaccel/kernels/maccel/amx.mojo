"""The tile registers of AMX: eight of up to 16 rows of 64 bytes, and the product of two of them.

Tiles 0 to 3 hold sums (float32), 4 and 5 rows of A, 6 and 7 columns of B. A tile of B holds pairs
of bfloat16 along the reduction (`[steps][16][2]`), which is the layout of packed weights in pairs;
it may lie at any distance between rows. TDPBF16PS rounds each addition to nearest and takes
denormals for zero (Intel, Architecture Instruction Set Extensions, chapter 3). A process needs the
kernel's permission (`request_amx` in `libc`), or the first tile instruction ends it.
"""

from std.memory import stack_allocation
from std.sys import CompilationTarget
from std.sys.intrinsics import llvm_intrinsic

from maccel.pairs import PAIR, has_pairs
from maccel.types import Ptr

comptime TILE_ROWS = 16
"""Rows of a tile of A and of sums."""

comptime TILE_STEPS = 16
"""Pairs along the reduction that a tile of A holds in a row."""

comptime TILE_COLS = 16
"""Columns of a tile of B and of sums."""


@always_inline
def has_amx() -> Bool:
    """Returns whether the target has tiles that multiply pairs of bfloat16."""
    return has_pairs() and CompilationTarget._has_feature["amx-bf16"]()


@always_inline
def tile_steps[pairs: Int]() -> Int:
    """Returns the pairs that a tile takes of a reduction of `pairs`: a divisor of it, so that
    every tile is full; below 8, tiles do not pay.
    """
    comptime for steps in range(TILE_STEPS, 8, -1):
        comptime if pairs % steps == 0:
            return steps
    return 8 if pairs % 8 == 0 else 1


@always_inline
def fits_tiles[pairs: Int]() -> Bool:
    """Returns whether a reduction of `pairs` is multiplied by tiles."""
    comptime fits = pairs > 0 and tile_steps[pairs]() >= 8
    return has_amx() and fits


@no_inline
def configure_tiles(rows: Int, steps: Int):
    """Gives this thread's tiles their sizes; `release_tiles` ends it.

    Args:
        rows: Rows of A and of sums in a tile, at most TILE_ROWS.
        steps: Pairs along the reduction in a tile of A or B, at most TILE_STEPS.
    """
    var config = stack_allocation[64, UInt8, alignment=64]()
    for i in range(64):
        config[unsafe_offset=i] = 0
    config[unsafe_offset=0] = 1  # the palette of eight tiles
    for tile in range(8):
        var row_bytes = 4 * steps if tile == 4 or tile == 5 else 64
        config[unsafe_offset=16 + 2 * tile] = UInt8(row_bytes)
        config[unsafe_offset=48 + tile] = UInt8(steps if tile >= 6 else rows)
    llvm_intrinsic["llvm.x86.ldtilecfg", NoneType](config)


@always_inline
def release_tiles():
    """Empties the tiles, so that the system need not save them."""
    llvm_intrinsic["llvm.x86.tilerelease", NoneType]()


@always_inline
def zero_tile[tile: Int]():
    """Clears a tile."""
    llvm_intrinsic["llvm.x86.tilezero", NoneType](Int8(tile))


@always_inline
def load_tile[dt: DType, //, tile: Int](data: Ptr[dt], row: Int):
    """Reads a tile whose rows lie `row` elements of 4 bytes apart."""
    llvm_intrinsic["llvm.x86.tileloadd64", NoneType](
        Int8(tile), data, Int64(4 * row)
    )


@always_inline
def store_tile_sums[tile: Int](data: Ptr[DType.float32], row: Int):
    """Writes a tile of sums, rows `row` elements apart."""
    llvm_intrinsic["llvm.x86.tilestored64", NoneType](
        Int8(tile), data, Int64(4 * row)
    )


@always_inline
def dot_tiles[sums: Int, a: Int, b: Int]():
    """Adds the product of two tiles to a tile of sums."""
    llvm_intrinsic["llvm.x86.tdpbf16ps", NoneType](Int8(sums), Int8(a), Int8(b))
