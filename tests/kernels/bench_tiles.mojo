"""Measures products of bfloat16 by AMX tiles and by vectors: GFLOP/s, best of several rounds.

A round goes through 32 MB of weights, so that they come from memory or the last-level cache as
they do within a model. Convolutions and attention go through one image or sequence.

Run: mojo run -O3 --target-cpu CPU -I mojoaccel/kernels -I tests/kernels tests/kernels/bench_tiles.mojo
"""

from std.time import perf_counter_ns

from maccel.amx import fits_tiles
from maccel.attention import attention, attention_scratch
from maccel.conv_pairs import conv2d_pairs
from maccel.image import ImageView
from maccel.linear import linear, linear_scratch
from maccel.memory import touch_to_write
from maccel.pairs import as_pairs, has_pairs
from maccel.pool import pool_create, pool_run, pool_set_scratch
from maccel.team import Team, TaskFn
from maccel.tile_grid import linear_tiles
from maccel.tiles import PANEL
from maccel.types import Args, Ptr, arg_int, arg_ptr

from team_fixture import buffer, filled, tiles_permitted

comptime H = DType.bfloat16
comptime F = DType.float32
comptime SCRATCH = 4 << 20
comptime WEIGHTS = 1 << 24
"""Elements of all weights that a round goes through."""


def task_linear[
    N: Int, K: Int, tiles: Bool
](args: Args, pool: Args, tid: Int) abi("C"):
    var y = arg_ptr[H](args, 2)

    @always_inline
    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * N + col, v.cast[H]())

    var team = Team(pool, tid)
    var a = as_pairs(arg_ptr[H](args, 0))
    var b = as_pairs(arg_ptr[H](args, 1))
    comptime if tiles:
        linear_tiles[N=N, K=K // 2](team, arg_int(args, 3), a, K // 2, b, store)
    else:
        linear[N=N, K=K // 2, NR=PANEL, acc=F](
            team, arg_int(args, 3), a, K // 2, b, store
        )


def task_conv[
    C: Int, O: Int, size: Int, kernel: Int, stride: Int
](args: Args, pool: Args, tid: Int) abi("C"):
    comptime side = size // stride
    var y = arg_ptr[H](args, 2)

    @always_inline
    def store[w: Int](n: Int, p: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(p * O + col, v.cast[H]())

    @always_inline
    def ahead[w: Int](n: Int, p: Int, col: Int) {imm}:
        touch_to_write(y, p * O + col)

    comptime pad = kernel // 2
    conv2d_pairs[
        F, C, O, kernel, kernel, stride, stride, pad, pad, 1, 1, 1, PANEL
    ](
        Team(pool, tid),
        ImageView[H](
            arg_ptr[H](args, 0), 1, size, size, size * size * C, size * C, C
        ),
        arg_ptr[H](args, 1),
        side,
        side,
        store,
        ahead,
    )


def task_attention[length: Int](args: Args, pool: Args, tid: Int) abi("C"):
    var y = arg_ptr[H](args, 2)

    @always_inline
    def mask[w: Int](b: Int, h: Int, i: Int, j: Int) {imm} -> SIMD[F, w]:
        return 0

    @always_inline
    def store[w: Int](b: Int, h: Int, i: Int, d: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((i * 12 + h) * 64 + d, v.cast[H]())

    var qkv = arg_ptr[H](args, 0)
    comptime row = 3 * 768
    attention[acc=F, D=64, DV=64, causal=False, has_mask=False](
        Team(pool, tid),
        1,
        12,
        length,
        length,
        1,
        qkv,
        0,
        64,
        row,
        qkv.unsafe_offset(768),
        0,
        64,
        row,
        qkv.unsafe_offset(1536),
        0,
        64,
        row,
        0.125,
        mask,
        store,
    )


def measure(
    pool: Args,
    b: Ptr[H],
    task: TaskFn,
    a_count: Int,
    b_count: Int,
    c_count: Int,
    rows: Int,
    flops: Float64,
) raises -> String:
    var copies = max(1, min(64, WEIGHTS // max(1, b_count)))
    var args = buffer[DType.int64](4)
    args[unsafe_offset=0] = Int64(Int(filled[H](a_count, 1)))
    args[unsafe_offset=2] = Int64(Int(buffer[H](c_count)))
    args[unsafe_offset=3] = Int64(rows)
    var line = String()
    for threads in [1, 4]:
        var best = Float64(1e30)
        for _ in range(3 if copies > 1 else 30):
            var start = perf_counter_ns()
            for copy in range(copies):
                args[unsafe_offset=1] = Int64(
                    Int(b.unsafe_offset(copy * b_count))
                )
                pool_run(pool, task, args, threads)
            best = min(best, Float64(Int(perf_counter_ns() - start)))
        line += " " + String(Int(flops * Float64(copies) / best))
    return line


def linears[N: Int, K: Int](pool: Args, b: Ptr[H]) raises:
    for rows in [1, 2, 4, 8, 16, 32, 128, 197, 512]:
        var flops = 2.0 * Float64(rows * N * K)
        var line = (
            "linear " + String(N) + "x" + String(K) + " rows " + String(rows)
        )
        comptime for tiles in range(2):
            comptime if tiles == 0 or fits_tiles[K // 2]():
                line += " | " + ("tiles" if tiles == 1 else "vectors")
                line += measure(
                    pool,
                    b,
                    task_linear[N, K, tiles == 1],
                    rows * K,
                    (N + PANEL - 1) // PANEL * PANEL * K,
                    rows * N,
                    rows,
                    flops,
                )
        print(line)


def convolution[
    C: Int, O: Int, size: Int, kernel: Int, stride: Int
](pool: Args, b: Ptr[H]) raises:
    comptime side = size // stride
    print(
        "conv",
        C,
        "->",
        O,
        "at",
        size,
        "kernel",
        kernel,
        "stride",
        stride,
        measure(
            pool,
            b,
            task_conv[C, O, size, kernel, stride],
            size * size * C,
            kernel * kernel * C * O,
            side * side * O,
            0,
            2.0 * Float64(side * side * O * C * kernel * kernel),
        ),
    )


def attend[length: Int](pool: Args, b: Ptr[H]) raises:
    print(
        "attention",
        length,
        measure(
            pool,
            b,
            task_attention[length],
            length * 3 * 768,
            0,
            length * 768,
            0,
            Float64(4 * 768 * length * length),
        ),
    )


def main() raises:
    comptime if has_pairs():
        if not tiles_permitted():
            return
        var pool = pool_create(4)
        pool_set_scratch(pool, Int(buffer[DType.int8](4 * SCRATCH)), SCRATCH)
        var b = filled[H](WEIGHTS, 2)
        print("GFLOP/s with 1 and 4 threads")
        linears[768, 768](pool, b)
        linears[3072, 768](pool, b)
        linears[768, 3072](pool, b)
        linears[384, 384](pool, b)
        linears[1536, 384](pool, b)
        convolution[64, 64, 56, 3, 1](pool, b)
        convolution[128, 128, 28, 3, 1](pool, b)
        convolution[256, 256, 14, 3, 1](pool, b)
        convolution[512, 512, 7, 3, 1](pool, b)
        convolution[128, 128, 56, 3, 2](pool, b)
        convolution[64, 256, 56, 1, 1](pool, b)
        convolution[256, 64, 56, 1, 1](pool, b)
        convolution[512, 128, 28, 1, 1](pool, b)
        convolution[1024, 256, 14, 1, 1](pool, b)
        convolution[512, 1024, 28, 1, 2](pool, b)
        convolution[512, 2048, 7, 1, 1](pool, b)
        attend[128](pool, b)
        attend[197](pool, b)
        attend[512](pool, b)
    else:
        print("skipped: the target does not multiply pairs of bfloat16")
