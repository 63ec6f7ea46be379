"""The register tile of matrix products, shared by `linear`, `matmul` and `attention`.

A tile of C lives in vector registers while the reduction runs: each step loads one row of B
(`vectors` vectors) and broadcasts one element of A per row (the outer-product micro-kernel of
Goto and van de Geijn 2008). Sizes and strides are run-time values and the tile goes to memory,
from where the caller's epilogue reads it back while it is in L1: so all layers of a model share
one copy of each height, which measures as fast as comptime strides. Writing and reading a tile
costs about 50 cycles beside 12 per step of the reduction.

A tile sums CHUNK steps in registers and adds them to memory: one long chain of 4096 float32 sums
is 5 times less exact than PyTorch's blocked ones, this one more exact, for 2 % of the time. The
order of additions is the same for all heights that one product mixes (half a tile and more; fewer
rows are a product of their own and sum chains half as long) and for every blocking by CHUNK.
"""

from std.math import fma
from std.sys import CompilationTarget, simd_width_of, size_of
from std.sys.intrinsics import PrefetchOptions, prefetch

from maccel.pairs import PAIR, dot_pairs, load_pair
from maccel.types import Ptr

comptime TO_L2 = PrefetchOptions().for_read().medium_locality().to_data_cache()

comptime CHUNK = 128
"""Steps of the reduction that are summed in one chain."""

comptime DISTANCE = 128
"""Steps that a streaming tile prefetches ahead; without, 8 rows take 20 % longer."""

comptime GROUP = 4
"""Steps of the reduction between two branches; each step prefetches one cache line."""


@always_inline
def tile_rows[vectors: Int]() -> Int:
    """Returns the height of a register tile that is `vectors` vectors wide.

    Sums, one row of B and one broadcast element must fit in the register file: 32 vectors on
    AVX-512 and NEON, 16 on AVX2.
    """
    comptime if CompilationTarget.has_avx512f() or not CompilationTarget.is_x86():
        return max(1, min(8, 24 // vectors))
    else:
        return max(1, min(6, 12 // vectors))


@always_inline
def multiply_step[
    acc: DType, a_dt: DType, b_dt: DType, //, rows: Int, vectors: Int, W: Int
](
    a: Ptr[a_dt],
    a_row: Int,
    b: Ptr[b_dt],
    mut sums: Array[SIMD[acc, W], rows * vectors],
):
    """Adds the outer product of a column of A and a row of B; of two each if they are pairs.
    """
    comptime V = SIMD[acc, W]
    comptime if a_dt == PAIR:
        comptime assert (
            acc == DType.float32 and b_dt == PAIR
        ), "pairs of bfloat16"
        var pairs = Array[SIMD[PAIR, W], vectors](fill=SIMD[PAIR, W](0))
        comptime for j in range(vectors):
            pairs[j] = b.unsafe_bitcast[Scalar[PAIR]]().unsafe_load[width=W](
                j * W
            )
        comptime for i in range(rows):
            var pair = SIMD[PAIR, W](
                load_pair(a.unsafe_bitcast[Scalar[PAIR]](), i * a_row)
            )
            comptime for j in range(vectors):
                sums[i * vectors + j] = rebind[V](
                    dot_pairs[W](
                        pair,
                        pairs[j],
                        rebind[SIMD[DType.float32, W]](sums[i * vectors + j]),
                    )
                )
        return
    var row = Array[V, vectors](fill=V(0))
    comptime for j in range(vectors):
        row[j] = b.unsafe_load[width=W](j * W).cast[acc]()
    comptime for i in range(rows):
        var value = V(a[unsafe_offset=i * a_row].cast[acc]())
        comptime for j in range(vectors):
            sums[i * vectors + j] = fma(value, row[j], sums[i * vectors + j])


@no_inline
def gemm_tile[
    acc: DType,
    a_dt: DType,
    b_dt: DType,
    rows: Int,
    vectors: Int,
    streaming: Bool,
](
    a: Ptr[a_dt],
    a_row: Int,
    a_col: Int,
    b: Ptr[b_dt],
    b_row: Int,
    c: Ptr[acc],
    c_row: Int,
    depth: Int,
    first: Bool,
    ahead: Ptr[b_dt],
):
    """Computes `c[rows, vectors * W] (+)= a[rows, depth] @ b[depth, vectors * W]`.

    Parameters:
        acc: Type of the sums.
        a_dt: Stored type of `a`.
        b_dt: Stored type of `b`.
        rows: Height of the tile.
        vectors: Width of the tile in vectors of `acc`.
        streaming: This call is the only one that reads the panel: prefetch along it, not `ahead`.

    Args:
        a: First row.
        a_row: Elements between rows of `a`.
        a_col: Elements between columns of `a`.
        b: First row, whose elements are neighbours.
        b_row: Elements between rows of `b`.
        c: The tile.
        c_row: Elements between rows of `c`.
        depth: Length of the reduction.
        first: Write the sums instead of adding them to what `c` holds.
        ahead: Memory to bring to L2 on the way, one cache line per step.
    """
    comptime W = simd_width_of[acc]()
    comptime V = SIMD[acc, W]
    comptime line = 64 // size_of[b_dt]()
    # With one or two rows the loads themselves keep memory busy; more prefetches only delay
    # those that hit L2.
    comptime reach = vectors * W if rows > 2 else 1
    comptime few = rows < (tile_rows[vectors]() + 1) // 2
    comptime chunk = CHUNK // 2 if few else CHUNK
    var ap = a
    var bp = b
    var next = ahead
    var left = depth
    var fresh = first
    while True:
        var sums = Array[V, rows * vectors](fill=V(0))
        var steps = min(left, chunk)
        for _ in range(steps // GROUP):
            comptime for u in range(GROUP):
                comptime if streaming:
                    comptime for j in range(0, reach, line):
                        prefetch[TO_L2](
                            bp.unsafe_offset((u + DISTANCE) * b_row + j)
                        )
                else:
                    prefetch[TO_L2](next.unsafe_offset(u * line))
                multiply_step[rows, vectors, W](
                    ap.unsafe_offset(u * a_col),
                    a_row,
                    bp.unsafe_offset(u * b_row),
                    sums,
                )
            ap = ap.unsafe_offset(GROUP * a_col)
            bp = bp.unsafe_offset(GROUP * b_row)
            next = next.unsafe_offset(GROUP * line)
        for _ in range(steps % GROUP):
            multiply_step[rows, vectors, W](ap, a_row, bp, sums)
            ap = ap.unsafe_offset(a_col)
            bp = bp.unsafe_offset(b_row)
        if fresh:
            comptime for i in range(rows):
                comptime for j in range(vectors):
                    c.unsafe_store(i * c_row + j * W, sums[i * vectors + j])
        else:
            comptime for i in range(rows):
                comptime for j in range(vectors):
                    var at = i * c_row + j * W
                    c.unsafe_store(
                        at, c.unsafe_load[width=W](at) + sums[i * vectors + j]
                    )
        fresh = False
        left -= steps
        if left <= 0:
            return


@no_inline
def gemm_rows[
    acc: DType,
    a_dt: DType,
    b_dt: DType,
    vectors: Int,
    *,
    lowest: Int = 1,
    streaming: Bool = False,
](
    rows: Int,
    a: Ptr[a_dt],
    a_row: Int,
    a_col: Int,
    b: Ptr[b_dt],
    b_row: Int,
    c: Ptr[acc],
    c_row: Int,
    depth: Int,
    first: Bool,
    ahead: Ptr[b_dt],
):
    """Runs the tile of height `rows`, from `lowest` to `tile_rows[vectors]()`.
    """
    comptime for r in range(lowest, tile_rows[vectors]() + 1):
        if rows == r:
            gemm_tile[acc, a_dt, b_dt, r, vectors, streaming](
                a, a_row, a_col, b, b_row, c, c_row, depth, first, ahead
            )


@always_inline
def store_tile[
    acc: DType,
    //,
    W: Int,
    ragged: Bool,
    Store: def[w: Int](Int, Int, SIMD[acc, w]) -> None,
](
    tile: Ptr[acc],
    tile_row: Int,
    row: Int,
    rows: Int,
    col: Int,
    cols: Int,
    store: Store,
):
    """Hands a finished tile to the epilogue, row by row.

    Parameters:
        acc: Type of the sums.
        W: SIMD width.
        ragged: `cols` may be no multiple of `W`; the rest goes 4 wide and 1 wide.
        Store: `store[w](row, col, value)`.

    Args:
        tile: The tile.
        tile_row: Elements between its rows.
        row: Its first row in C.
        rows: Its height.
        col: Its first column in C.
        cols: Its width.
        store: The epilogue.
    """
    for i in range(rows):
        var source = tile.unsafe_offset(i * tile_row)
        var j = 0
        while j + W <= cols:
            store[W](row + i, col + j, source.unsafe_load[width=W](j))
            j += W
        comptime if ragged:
            comptime if W > 4:
                while j + 4 <= cols:
                    store[4](row + i, col + j, source.unsafe_load[width=4](j))
                    j += 4
            while j < cols:
                store[1](row + i, col + j, source.unsafe_load[width=1](j))
                j += 1


@fieldwise_init
struct Part(Copyable, Movable, TrivialRegisterPassable):
    """The tiles of one thread: row tiles [top, bottom), and of these, counted panel by panel,
    the items [begin, end): item i is row tile `top + i % height` of panel `i // height`.
    """

    var top: Int
    var bottom: Int
    var begin: Int
    var end: Int

    @always_inline
    def first_panel(self) -> Int:
        """Returns the first panel that the thread works on."""
        return self.begin // max(1, self.bottom - self.top)

    @always_inline
    def last_panel(self) -> Int:
        """Returns one past the last panel that the thread works on."""
        var height = max(1, self.bottom - self.top)
        return (self.end + height - 1) // height

    @always_inline
    def from_tile(self, panel: Int, at_least: Int) -> Int:
        """Returns the first row tile of a panel, not before `at_least`."""
        var height = self.bottom - self.top
        return max(at_least, self.top + self.begin - panel * height)

    @always_inline
    def to_tile(self, panel: Int, at_most: Int) -> Int:
        """Returns one past the last row tile of a panel, not after `at_most`.
        """
        var height = self.bottom - self.top
        return min(at_most, self.top + self.end - panel * height)


def partition(
    id: Int,
    size: Int,
    tiles: Int,
    panels: Int,
    tile_height: Int,
    panel_width: Int,
) -> Part:
    """Splits tiles x panels over threads: a grid of row groups, then runs of tiles.

    The runs differ by at most one tile. Rows are cut in as many groups as cost least: reading
    weights (twice as dear as activations: they come from memory, and only once when no other
    thread wants them) against reading activations, beside the arithmetic of the largest share.

    Args:
        id: The thread.
        size: Number of threads.
        tiles: Row tiles.
        panels: Panels of columns.
        tile_height: Rows in a tile.
        panel_width: Columns in a panel.

    Returns:
        The thread's part.
    """
    var groups = 1
    var least = Int.MAX
    for g in range(1, size + 1):
        if size % g != 0:
            continue
        var height = (tiles + g - 1) // g
        var run = size // g
        var items = (height * panels + run - 1) // run
        var rows = min(height, items) * tile_height
        var cols = min(panels, (panels + run - 1) // run) * panel_width
        var cost = items * tile_height * panel_width // 16 + rows + 2 * cols
        if cost < least:
            least = cost
            groups = g
    var run = size // groups
    var group = id // run
    var top = tiles * group // groups
    var bottom = tiles * (group + 1) // groups
    var count = (bottom - top) * panels
    return Part(
        top,
        bottom,
        count * (id % run) // run,
        count * (id % run + 1) // run,
    )
