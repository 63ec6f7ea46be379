"""Measures conv2d and conv2d_winograd: GFLOP/s of the direct sum at 1 and 2 threads, best of several runs.

Run: mojo run -O3 --target-cpu CPU -I mojoaccel/kernels -I tests/kernels tests/kernels/bench_conv.mojo
"""

from std.sys import simd_width_of
from std.time import perf_counter_ns

from maccel.conv import conv2d
from maccel.image import ImageView
from maccel.memory import touch_to_write
from maccel.pool import pool_create, pool_run, pool_set_scratch
from maccel.team import Team
from maccel.types import Args, arg_int, arg_ptr
from maccel.winograd import conv2d_winograd

from team_fixture import buffer, filled

comptime F = DType.float32
comptime SCRATCH = 8 << 20


def task[
    ic: Int, oc: Int, k: Int, panel: Int, winograd: Bool
](args: Args, pool: Args, tid: Int) abi("C"):
    var y = arg_ptr[F](args, 2)
    var size = arg_int(args, 3)
    var count = arg_int(args, 4)

    @always_inline
    def store[w: Int](n: Int, pixel: Int, col: Int, v: SIMD[F, w]) {imm}:
        y.unsafe_store((n * size * size + pixel) * oc + col, v)

    @always_inline
    def ahead[w: Int](n: Int, pixel: Int, col: Int) {imm}:
        touch_to_write(y, (n * size * size + pixel) * oc + col)

    var view = ImageView[F](
        arg_ptr[F](args, 0), count, size, size, size * size * ic, size * ic, ic
    )
    comptime if winograd:
        conv2d_winograd[F, F, ic, oc, k // 2, k // 2, panel](
            Team(pool, tid), view, arg_ptr[F](args, 1), size, size, store
        )
    else:
        conv2d[F, F, F, ic, oc, k, k, 1, 1, k // 2, k // 2, 1, 1, 1, panel](
            Team(pool, tid), view, arg_ptr[F](args, 1), size, size, store, ahead
        )


def best_of[
    ic: Int, oc: Int, k: Int, panel: Int, winograd: Bool
](pool: Args, args: Args, threads: Int) -> Float64:
    var best = Float64(1e30)
    for _ in range(40):
        var start = perf_counter_ns()
        pool_run(pool, task[ic, oc, k, panel, winograd], args, threads)
        best = min(best, Float64(Int(perf_counter_ns() - start)))
    return best


def measure[
    ic: Int, oc: Int, k: Int, vectors: Int = 2
](pool: Args, count: Int, size: Int) raises:
    comptime panel = vectors * simd_width_of[F]()
    comptime panels = (oc + panel - 1) // panel
    var args = buffer[DType.int64](5)
    args[unsafe_offset=0] = Int64(Int(filled[F](count * size * size * ic, 1)))
    args[unsafe_offset=1] = Int64(
        Int(filled[F](panels * panel * k * k * ic, 2))
    )
    args[unsafe_offset=2] = Int64(Int(buffer[F](count * size * size * oc)))
    args[unsafe_offset=3] = Int64(size)
    args[unsafe_offset=4] = Int64(count)
    var flop = 2.0 * Float64(count * size * size * oc * k * k * ic)
    var line = String(k) + "x" + String(k) + " " + String(ic) + " to "
    line += String(oc) + ", " + String(count) + " x " + String(size) + "^2:"
    for threads in [1, 2]:
        var direct = best_of[ic, oc, k, panel, False](pool, args, threads)
        line += "  " + String(Int(direct / 1000)) + " us "
        line += String(Int(flop / direct)) + " GFLOP/s"
        comptime if k == 3:
            var fast = best_of[ic, oc, k, panel, True](pool, args, threads)
            line += ", Winograd " + String(Int(fast / 1000)) + " us "
            line += String(Int(flop / fast))
    print(line)


def main() raises:
    var pool = pool_create(2)
    pool_set_scratch(pool, Int(buffer[DType.int8](2 * SCRATCH)), SCRATCH)
    measure[64, 64, 3](pool, 1, 56)
    measure[128, 128, 3](pool, 1, 28)
    measure[256, 256, 3](pool, 1, 14)
    measure[512, 512, 3](pool, 1, 7)
    measure[512, 512, 3](pool, 8, 7)
    measure[128, 128, 3](pool, 1, 64)
    measure[256, 256, 3](pool, 1, 32)
    measure[384, 128, 3](pool, 1, 64)
    measure[256, 64, 1](pool, 1, 56)
    measure[64, 256, 1](pool, 8, 56)
    measure[128, 512, 1](pool, 1, 28)
    measure[1024, 256, 1](pool, 1, 14)
    measure[256, 1024, 1](pool, 1, 14)
    measure[2048, 512, 1](pool, 1, 7)
    measure[512, 2048, 1](pool, 1, 7)
