"""Measures linear: GFLOP/s and GB/s of weights at 1, 2 and 4 threads, best and median of several runs.

Run: mojo run -O3 --target-cpu CPU -I mojoaccel/kernels -I tests/kernels tests/kernels/bench_linear.mojo
"""

from std.sys import simd_width_of
from std.time import perf_counter_ns

from maccel.linear import linear, linear_scratch
from maccel.pool import pool_create, pool_run, pool_set_scratch
from maccel.team import Team
from maccel.types import Args, arg_int, arg_ptr

from team_fixture import buffer, filled

comptime F = DType.float32
comptime NR = (3 if simd_width_of[F]() != 8 else 2) * simd_width_of[F]()


def task[N: Int, K: Int](args: Args, pool: Args, tid: Int) abi("C"):
    var y = arg_ptr[F](args, 2)

    @always_inline
    def store[w: Int](row: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store(row * N + col, v)

    linear[N=N, K=K, NR=NR, acc=F](
        Team(pool, tid),
        arg_int(args, 3),
        arg_ptr[F](args, 0),
        K,
        arg_ptr[F](args, 1),
        store,
    )


def measure[N: Int, K: Int](pool: Args, rows: Int) raises:
    comptime panels = (N + NR - 1) // NR
    var args = buffer[DType.int64](4)
    args[unsafe_offset=0] = Int64(Int(filled[F](rows * K, 1)))
    args[unsafe_offset=1] = Int64(Int(filled[F](panels * K * NR, 2)))
    args[unsafe_offset=2] = Int64(Int(buffer[F](rows * N)))
    args[unsafe_offset=3] = Int64(rows)
    var line = String(N) + " x " + String(K) + ", " + String(rows) + " rows:"
    for threads in [1, 2, 4]:
        var times = List[Float64]()
        for _ in range(31 if rows < 1024 else 11):
            var start = perf_counter_ns()
            pool_run(pool, task[N, K], args, threads)
            times.append(Float64(Int(perf_counter_ns() - start)))
        sort(times)
        line += "  "
        for time in [times[0], times[len(times) // 2]]:
            line += String(Int(2.0 * Float64(rows * N * K) / time)) + " "
        line += "GFLOP/s " + String(Int(4.0 * Float64(N * K) / times[0]))
        line += " GB/s"
    print(line)


def main() raises:
    comptime bytes = max(
        64, max(linear_scratch[768, NR, F](), linear_scratch[3072, NR, F]())
    )
    var pool = pool_create(4)
    pool_set_scratch(pool, Int(buffer[DType.int8](4 * bytes)), bytes)
    for rows in [1, 4, 8, 32, 128, 512, 1024, 4096]:
        measure[768, 768](pool, rows)
        measure[3072, 768](pool, rows)
        measure[768, 3072](pool, rows)
