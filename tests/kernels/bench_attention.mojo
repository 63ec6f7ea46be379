"""Measures attention: GFLOP/s of both products at 1 and 2 threads, best of several runs.

Run: mojo run -O3 --target-cpu CPU -I mojoaccel/kernels -I tests/kernels tests/kernels/bench_attention.mojo
"""

from std.math import sqrt
from std.sys import size_of
from std.time import perf_counter_ns

from maccel.attention import attention, attention_scratch
from maccel.pool import pool_create, pool_run, pool_set_scratch
from maccel.team import Team
from maccel.types import Args, arg_int, arg_ptr

from team_fixture import buffer, filled

comptime F = DType.float32
comptime D = 64


def task[dt: DType, causal: Bool](args: Args, pool: Args, tid: Int) abi("C"):
    """Runs one thread; heads interleave, as after a joint projection."""
    var y = arg_ptr[dt](args, 3)
    var heads = arg_int(args, 4)
    var length = arg_int(args, 5)

    @always_inline
    def mask[w: Int](b: Int, h: Int, i: Int, j: Int) {imm} -> SIMD[F, w]:
        return 0

    @always_inline
    def store[w: Int](b: Int, h: Int, i: Int, d: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((i * heads + h) * D + d, v.cast[dt]())

    attention[acc=F, D=D, DV=D, causal=causal, has_mask=False](
        Team(pool, tid),
        1,
        heads,
        length,
        length,
        1,
        arg_ptr[dt](args, 0),
        length * heads * D,
        D,
        heads * D,
        arg_ptr[dt](args, 1),
        length * heads * D,
        D,
        heads * D,
        arg_ptr[dt](args, 2),
        length * heads * D,
        D,
        heads * D,
        1.0 / sqrt(Float64(D)),
        mask,
        store,
    )


def measure[
    dt: DType, causal: Bool
](pool: Args, name: String, heads: Int, length: Int) raises:
    var count = heads * length * D
    var args = buffer[DType.int64](6)
    for i in range(3):
        args[unsafe_offset=i] = Int64(Int(filled[dt](count + 1, i + 1)))
    args[unsafe_offset=3] = Int64(Int(buffer[dt](count)))
    args[unsafe_offset=4] = Int64(heads)
    args[unsafe_offset=5] = Int64(length)
    var work = 4.0 * Float64(heads * length * length * D)
    comptime if causal:
        work /= 2
    var line = name + " " + String(heads) + " x " + String(length) + ":"
    for threads in [1, 2]:
        var best = Float64(1e30)
        for _ in range(20):
            var start = perf_counter_ns()
            pool_run(pool, task[dt, causal], args, threads)
            best = min(best, Float64(Int(perf_counter_ns() - start)))
        line += (
            "  "
            + String(Int(best / 1000))
            + " us "
            + String(Int(work / best))
            + " GFLOP/s"
        )
    print(line)


def main() raises:
    comptime bytes = (attention_scratch[D, D, F]() + 63) // 64 * 64
    var pool = pool_create(2)
    pool_set_scratch(pool, Int(buffer[DType.int8](2 * bytes)), bytes)
    for shape in [(12, 32), (12, 128), (12, 197), (12, 512), (6, 1500)]:
        measure[F, False](pool, "float32", shape[0], shape[1])
        measure[DType.bfloat16, False](pool, "bfloat16", shape[0], shape[1])
    measure[F, True](pool, "float32 causal", 12, 128)
