"""What the processor can do at most: floating-point operations and bytes read, on one thread."""

from std.math import fma
from std.sys import simd_width_of

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


@export("roof_read")
def roof_read(address: Int, bytes: Int, result: Args) abi("C") -> Int:
    """Reads a region once, in order; returns the bytes read."""
    comptime W = simd_width_of[DType.float32]()
    comptime step = 8 * W
    var data = Ptr[DType.float32](unsafe_from_address=address)
    var sums = Array[SIMD[DType.float32, W], 8](fill=0)
    var count = bytes // 4 // step * step
    for at in range(0, count, step):
        comptime for i in range(8):
            sums[i] += data.unsafe_load[width=W](at + i * W)
    var total = SIMD[DType.float32, W](0)
    comptime for i in range(8):
        total += sums[i]
    var sink = Ptr[DType.float64](unsafe_from_address=Int(result))
    sink[unsafe_offset=0] = Float64(total.reduce_add())
    return count * 4
