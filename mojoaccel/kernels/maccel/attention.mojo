"""Scaled dot-product attention; scores never reach memory."""

from std.sys import size_of

from maccel.attention_block import attend
from maccel.attention_buffers import (
    BLOCK_ROWS,
    FEW_ROWS,
    KEYS,
    Buffers,
    Following,
    Heads,
    can_pair,
    copy_queries,
    copy_query_pairs,
)
from maccel.attention_weights import LOG2_E, weight_of
from maccel.math_poly import INF, constant
from maccel.team import POOL_SCRATCH_BYTES, Team
from maccel.types import Ptr

comptime SPLIT_KEYS = 128
"""Keys that make it worth while to let one more thread work on a head."""

comptime PACKING_ROWS = 16
"""Rows of queries that cost as much as packing the keys and values that they meet."""


@always_inline
def attention_scratch[D: Int, DV: Int, acc: DType]() -> Int:
    """Returns the scratch bytes per thread of `attention`."""
    return Buffers[acc, D, DV].elements * size_of[acc]()


@no_inline
def block_count(items: Int, rows: Int, size: Int) -> Int:
    """Returns in how many blocks to cut the rows of each key head.

    The slowest thread counts; a block costs its rows plus the packing of keys and values.
    """
    var fewest = max(1, (rows + BLOCK_ROWS - 1) // BLOCK_ROWS)
    var best = fewest
    var least = Int.MAX
    for count in range(fewest, fewest + 2 * size):
        var height = (rows + count - 1) // count
        var rounds = (items * count + size - 1) // size
        var cost = rounds * (height + PACKING_ROWS)
        if cost < least:
            least = cost
            best = count
    return best


@always_inline
def attention[
    q_dt: DType,
    k_dt: DType,
    v_dt: DType,
    //,
    acc: DType,
    D: Int,
    DV: Int,
    causal: Bool,
    has_mask: Bool,
    Mask: def[w: Int](Int, Int, Int, Int) -> SIMD[acc, w],
    Store: def[w: Int](Int, Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    batch: Int,
    heads: Int,
    q_len: Int,
    k_len: Int,
    group: Int,
    q: Ptr[q_dt],
    q_batch: Int,
    q_head: Int,
    q_row: Int,
    k: Ptr[k_dt],
    k_batch: Int,
    k_head: Int,
    k_row: Int,
    v: Ptr[v_dt],
    v_batch: Int,
    v_head: Int,
    v_row: Int,
    scale: Float64,
    mask: Mask,
    store: Store,
):
    """Computes this thread's share of attention (torch scaled_dot_product_attention).

    Y[b, h, i] = softmax over j of (scale * Q[b, h, i] . K[b, h // group, j] + mask) @ V

    A row that sees no key gives zeros, as PyTorch does. With `causal`, query i sees keys j <= i,
    also when there are more keys than queries. The kernel has barriers: every thread of the team
    must call it.

    Parameters:
        q_dt: Stored type of Q.
        k_dt: Stored type of K.
        v_dt: Stored type of V.
        acc: Type of all computing, float32 or float64.
        D: Depth of queries and keys.
        DV: Depth of values.
        causal: Whether to hide later keys.
        has_mask: Whether the mask is called.
        Mask: `mask[w](b, h, i, j)`, added to the scores of keys j..j+w-1.
        Store: `store[w](b, h, i, d, value)`, called once per element.

    Args:
        team: The threads.
        batch: Size of the batch.
        heads: Heads of Q.
        q_len: Queries of a head.
        k_len: Keys of a head.
        group: Heads of Q that share a head of K and V.
        q: First element of Q, dense along the depth like K and V.
        q_batch: Stride of Q along the batch.
        q_head: Stride of Q between heads.
        q_row: Stride of Q between positions.
        k: First element of K.
        k_batch: Stride of K along the batch.
        k_head: Stride of K between heads.
        k_row: Stride of K between positions.
        v: First element of V.
        v_batch: Stride of V along the batch.
        v_head: Stride of V between heads.
        v_row: Stride of V between positions.
        scale: Factor of the scores.
        mask: The additive mask.
        store: The epilogue.

    Scratch per thread: `attention_scratch`.
    """
    comptime B = Buffers[acc, D, DV]
    if batch == 0 or heads == 0 or q_len == 0:
        return
    var queries = Heads[q_dt](q, q_batch, q_head, q_row)
    var keys = Heads[k_dt](k, k_batch, k_head, k_row)
    var values = Heads[v_dt](v, v_batch, v_head, v_row)
    var buffers = B(team.scratch[acc]())
    var key_heads = heads // group
    var rows = group * q_len
    var items = batch * key_heads
    comptime able = can_pair[q_dt, k_dt, v_dt, acc, D]()
    comptime unit = 1.0 if has_mask else LOG2_E
    var factor = (scale * unit).cast[acc]()

    # Few heads with few queries: every thread takes a range of the keys of all heads.
    var split = (
        items * rows <= BLOCK_ROWS
        and rows <= 4 * B.tile
        and items % team.size != 0
        and items < 4 * team.size
        and k_len >= team.size * SPLIT_KEYS
    )
    var blocks = 1 if split else block_count(items, rows, team.size)
    var total = items * blocks
    var begin = 0
    var end = k_len
    var first = team.id
    var step = team.size
    if split:
        var mine = team.share(k_len, B.NR)
        begin = mine.begin
        end = mine.end
        first = 0
        step = 1

    @always_inline
    def block_of(count: Int, round: Int) {imm} -> Int:
        # Every other round runs backwards: causal blocks grow with their position.
        if not split and round % 2 == 1:
            return min(total, (round + 1) * team.size) - 1 - team.id
        return count

    var count = first
    var round = 0
    while count < total:
        var index = block_of(count, round)
        var item = index // blocks
        var block = index - item * blocks
        var b = item // key_heads
        var key_head = item - b * key_heads
        var head = key_head * group
        var row = rows * block // blocks
        var height = rows * (block + 1) // blocks - row
        var base = item * rows if split else 0

        buffers.clear(base, height)
        var paired = (
            able and height > FEW_ROWS and k_row % 2 == 0 and factor > 0
        )
        var target = buffers.queries.unsafe_offset(base * D)
        if paired:
            copy_query_pairs[D](queries, b, head, q_len, row, height, target)
        else:
            copy_queries[D](
                queries, b, head, q_len, row, height, factor, target
            )

        @always_inline
        def row_mask[w: Int](r: Int, j: Int) {imm} -> SIMD[acc, w]:
            var h = r // q_len
            return mask[w](b, head + h, r - h * q_len, j)

        var next = min(total - 1, block_of(count + step, round + 1))
        var next_item = next // blocks
        var next_b = next_item // key_heads
        var next_head = next_item - next_b * key_heads
        var next_row = rows * (next - next_item * blocks) // blocks
        var h = next_row // q_len
        var more = count + step < total
        attend[causal, has_mask, able](
            buffers,
            base,
            keys.at(b, key_head, 0),
            k_row,
            values.at(b, key_head, 0),
            v_row,
            q_len,
            row,
            height,
            begin,
            end,
            paired,
            factor,
            Following(
                queries.at(next_b, next_head * group + h, next_row % q_len),
                q_row,
                min(height, q_len - next_row % q_len) if more else 0,
                keys.at(next_b, next_head, 0),
                values.at(next_b, next_head, 0),
                min(k_len, KEYS) if more and next_item != item else 0,
            ),
            row_mask,
        )
        if not split:
            for i in range(height):
                var h = (row + i) // q_len
                store_row[B.W, DV](
                    buffers.output.unsafe_offset(i * B.value_depth),
                    reciprocal(buffers.total[unsafe_offset=i]),
                    b,
                    head + h,
                    row + i - h * q_len,
                    store,
                )
        count += step
        round += 1
    if split:
        team.barrier()
        var mine = team.share(items * rows)
        for i in range(mine.begin, mine.end):
            var inverse = combine[has_mask](team, buffers, i)
            var h = i // q_len
            store_row[B.W, DV](
                buffers.output.unsafe_offset(i * B.value_depth),
                inverse,
                h // heads,
                h % heads,
                i % q_len,
                store,
            )


@always_inline
def reciprocal[acc: DType, //](total: Scalar[acc]) -> Scalar[acc]:
    """Returns what completes the softmax of a row; 0 where it sees no key."""
    return Scalar[acc](0) if total == 0 else 1 / total


@always_inline
def store_row[
    acc: DType,
    //,
    W: Int,
    DV: Int,
    Store: def[w: Int](Int, Int, Int, Int, SIMD[acc, w]) -> None,
](line: Ptr[acc], inverse: Scalar[acc], b: Int, h: Int, i: Int, store: Store,):
    """Hands a row, divided by its sum of exponentials, to the epilogue."""
    for d in range(0, DV // W * W, W):
        store[W](b, h, i, d, line.unsafe_load[width=W](d) * inverse)
    comptime if DV % W != 0:
        for d in range(DV // W * W, DV):
            store[1](b, h, i, d, line[unsafe_offset=d] * inverse)


@no_inline
def combine[
    acc: DType, D: Int, DV: Int, //, has_mask: Bool
](team: Team, buffers: Buffers[acc, D, DV], row: Int) -> Scalar[acc]:
    """Adds up what the threads found for their keys of one row, into this thread's output.

    Each partial result is relative to its own largest score (Dao et al. 2023, split keys).

    Returns:
        The factor that completes the softmax.
    """
    comptime B = Buffers[acc, D, DV]
    comptime W = B.W
    var stride = (
        Int(team.pool[unsafe_offset=POOL_SCRATCH_BYTES]) // size_of[acc]()
    )
    var mine = team.id * stride
    var top = constant[acc, 1](-INF)
    for t in range(team.size):
        top = max(top, buffers.top[unsafe_offset=t * stride - mine + row])
    if top == constant[acc, 1](-INF):
        top = 0
    var total = Scalar[acc](0)
    var own = weight_of[has_mask](buffers.top[unsafe_offset=row] - top)
    var line = buffers.output.unsafe_offset(row * B.value_depth)
    for d in range(0, B.value_depth, W):
        line.unsafe_store(d, line.unsafe_load[width=W](d) * own)
    for t in range(team.size):
        var other = t * stride - mine
        var part = weight_of[has_mask](
            buffers.top[unsafe_offset=other + row] - top
        )
        total += part * buffers.total[unsafe_offset=other + row]
        if t != team.id:
            for d in range(0, B.value_depth, W):
                line.unsafe_store(
                    d,
                    line.unsafe_load[width=W](d)
                    + line.unsafe_load[width=W](other + d) * part,
                )
    return reciprocal(total)
