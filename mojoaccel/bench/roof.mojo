"""What the processor can do at most: floating-point operations and bytes read, on one thread."""

from std.math import fma
from std.sys import CompilationTarget, simd_width_of
from std.sys.intrinsics import llvm_intrinsic

from maccel.types import Args, Ptr


def fma_chains[dt: DType](steps: Int) -> Float64:
    """Runs `steps` rounds of 16 independent multiply-adds on full vectors.

    Two ports with a latency of 4 need 8 chains; 16 leave room for slower processors.
    """
    comptime W = simd_width_of[dt]()
    comptime V = SIMD[dt, W]
    var sums = Array[V, 16](fill=V(1))
    # Values that are not known when this is compiled, so that nothing is folded away.
    var factor = V(1) - V(Scalar[dt](steps & 1) * 1e-6)
    var term = V(Scalar[dt](steps) * 1e-9)
    for _ in range(steps):
        comptime for i in range(16):
            sums[i] = fma(sums[i], factor, term)
    var total = V(0)
    comptime for i in range(16):
        total += sums[i]
    return Float64(total.reduce_add())


@export("roof_fma")
def roof_fma(steps: Int, result: Args) abi("C") -> Int:
    """Runs float32 multiply-adds; returns the floating-point operations done.
    """
    var sink = Ptr[DType.float64](unsafe_from_address=Int(result))
    sink[unsafe_offset=0] = fma_chains[DType.float32](steps)
    return steps * 16 * 2 * simd_width_of[DType.float32]()


def dot_chains(steps: Int) -> Float64:
    """Runs `steps` rounds of 16 independent dot products of bfloat16 pairs."""
    comptime V = SIMD[DType.float32, 16]
    var sums = Array[V, 16](fill=V(1))
    var factor = SIMD[DType.bfloat16, 32](
        BFloat16(Float32(steps & 1) * 1e-6 + 1e-9)
    )
    for _ in range(steps):
        comptime for i in range(16):
            sums[i] = llvm_intrinsic["llvm.x86.avx512bf16.dpbf16ps.512", V](
                sums[i], factor, factor
            )
    var total = V(0)
    comptime for i in range(16):
        total += sums[i]
    return Float64(total.reduce_add())


@export("roof_bf16")
def roof_bf16(steps: Int, result: Args) abi("C") -> Int:
    """Runs bfloat16 dot products summed in float32; returns the floating-point operations done,
    0 where the target has no instruction for them.
    """
    comptime if CompilationTarget._has_feature["avx512bf16"]():
        var sink = Ptr[DType.float64](unsafe_from_address=Int(result))
        sink[unsafe_offset=0] = dot_chains(steps)
        return steps * 16 * 64
    else:
        return 0


@export("roof_read")
def roof_read(
    address: Int, bytes: Int, times: Int, result: Args
) abi("C") -> Int:
    """Reads a region `times` times, in order; returns the bytes read."""
    comptime W = simd_width_of[DType.float32]()
    comptime step = 8 * W
    var data = Ptr[DType.float32](unsafe_from_address=address)
    var sums = Array[SIMD[DType.float32, W], 8](fill=0)
    var count = bytes // 4 // step * step
    for _ in range(times):
        for at in range(0, count, step):
            comptime for i in range(8):
                sums[i] += data.unsafe_load[width=W](at + i * W)
    var total = SIMD[DType.float32, W](0)
    comptime for i in range(8):
        total += sums[i]
    var sink = Ptr[DType.float64](unsafe_from_address=Int(result))
    sink[unsafe_offset=0] = Float64(total.reduce_add())
    return count * 4 * times
