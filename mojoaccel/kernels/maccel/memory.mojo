"""Reading and writing vectors: contiguous, broadcast, strided and gathered.

Emitted closures address every operand through these functions, so that one vector of `w`
consecutive positions can come from any strided window.
"""

from std.math import iota
from std.memory import bitcast
from std.sys.intrinsics import PrefetchOptions, prefetch

from maccel.types import Mask, Ptr


@always_inline
def load[dt: DType, //, w: Int](p: Ptr[dt], offset: Int) -> SIMD[dt, w]:
    """Loads `w` neighbours."""
    return p.unsafe_load[width=w](offset)


@always_inline
def splat[dt: DType, //, w: Int](p: Ptr[dt], offset: Int) -> SIMD[dt, w]:
    """Loads one element and repeats it."""
    return SIMD[dt, w](p[unsafe_offset=offset])


@always_inline
def load_strided[
    dt: DType, //, w: Int
](p: Ptr[dt], offset: Int, stride: Int) -> SIMD[dt, w]:
    """Loads `w` elements that lie `stride` apart."""
    var v = SIMD[dt, w](0)
    comptime for lane in range(w):
        v[lane] = p[unsafe_offset=offset + lane * stride]
    return v


@always_inline
def gather[
    dt: DType, //, w: Int
](p: Ptr[dt], offsets: SIMD[DType.int64, w]) -> SIMD[dt, w]:
    """Loads the element at each offset."""
    var v = SIMD[dt, w](0)
    comptime for lane in range(w):
        v[lane] = p[unsafe_offset=Int(offsets[lane])]
    return v


@always_inline
def store[dt: DType, //, w: Int](p: Ptr[dt], offset: Int, v: SIMD[dt, w]):
    """Stores `w` neighbours."""
    p.unsafe_store(offset, v)


@always_inline
def touch[dt: DType, //](p: Ptr[dt], offset: Int):
    """Brings a cache line that will be read."""
    comptime soon = PrefetchOptions().for_read().high_locality()
    prefetch[soon.to_data_cache()](p.unsafe_offset(offset))


@always_inline
def touch_to_write[dt: DType, //](p: Ptr[dt], offset: Int):
    """Brings a cache line that will be written, for this core alone."""
    comptime soon = PrefetchOptions().for_write().high_locality()
    prefetch[soon.to_data_cache()](p.unsafe_offset(offset))


@always_inline
def store_strided[
    dt: DType, //, w: Int
](p: Ptr[dt], offset: Int, stride: Int, v: SIMD[dt, w]):
    """Stores `w` elements that lie `stride` apart."""
    comptime for lane in range(w):
        p[unsafe_offset=offset + lane * stride] = v[lane]


@always_inline
def scatter[
    dt: DType, //, w: Int
](p: Ptr[dt], offsets: SIMD[DType.int64, w], v: SIMD[dt, w]):
    """Stores each lane at its offset."""
    comptime for lane in range(w):
        p[unsafe_offset=Int(offsets[lane])] = v[lane]


@always_inline
def span[w: Int](start: Int, step: Int = 1) -> SIMD[DType.int64, w]:
    """Returns start, start + step, ... as 64-bit integers."""
    return SIMD[DType.int64, w](Int64(start)) + iota[DType.int64, w]() * Int64(
        step
    )


@always_inline
def wrap_index[
    w: Int
](index: SIMD[DType.int64, w], size: Int, status: Ptr[DType.int64]) -> SIMD[
    DType.int64, w
]:
    """Resolves negative indices; out of range becomes 0 and sets `status`."""
    var n = SIMD[DType.int64, w](Int64(size))
    var zero = SIMD[DType.int64, w](0)
    var i = index.lt(zero).select(index + n, index)
    var bad = i.lt(zero) | i.ge(n)
    if bad.reduce_or():
        status[unsafe_offset=0] = STATUS_INDEX
        return bad.select(zero, i)
    return i


@always_inline
def check_index[
    w: Int
](index: SIMD[DType.int64, w], size: Int, status: Ptr[DType.int64]) -> SIMD[
    DType.int64, w
]:
    """Returns the index; out of range (negative too) becomes 0 and sets `status`.
    """
    var zero = SIMD[DType.int64, w](0)
    var bad = index.lt(zero) | index.ge(SIMD[DType.int64, w](Int64(size)))
    if bad.reduce_or():
        status[unsafe_offset=0] = STATUS_INDEX
        return bad.select(zero, index)
    return index


comptime STATUS_INDEX = Int64(1)
"""An index was outside its tensor."""


@always_inline
def load_mask[w: Int](p: Ptr[DType.uint8], offset: Int) -> Mask[w]:
    """Loads `w` neighbouring booleans (bytes of 0 and 1)."""
    return p.unsafe_load[width=w](offset).ne(0)


@always_inline
def splat_mask[w: Int](p: Ptr[DType.uint8], offset: Int) -> Mask[w]:
    """Loads one boolean and repeats it."""
    return splat[w](p, offset).ne(0)


@always_inline
def load_strided_mask[
    w: Int
](p: Ptr[DType.uint8], offset: Int, stride: Int) -> Mask[w]:
    """Loads `w` booleans that lie `stride` apart."""
    return load_strided[w](p, offset, stride).ne(0)


@always_inline
def gather_mask[
    w: Int
](p: Ptr[DType.uint8], offsets: SIMD[DType.int64, w]) -> Mask[w]:
    """Loads the boolean at each offset."""
    return gather[w](p, offsets).ne(0)


@always_inline
def narrow_bf16[w: Int](x: SIMD[DType.float32, w]) -> SIMD[DType.bfloat16, w]:
    """Rounds to bfloat16, ties to even, by integer arithmetic.

    For values that were float64 before: the compiler would join both roundings and call a function
    of its run-time library.
    """
    comptime U = SIMD[DType.uint32, w]
    var bits = bitcast[DType.uint32, w](x)
    var rounded = (bits + U(0x7FFF) + ((bits >> 16) & U(1))) >> 16
    rounded = x.eq(x).select(rounded, U(0x7FC0))
    return bitcast[DType.bfloat16, w](rounded.cast[DType.uint16]())
