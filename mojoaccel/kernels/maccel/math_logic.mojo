"""Bit and truth operations, and conversions between element types as PyTorch's `to` does them."""

from std.sys import size_of

from maccel.math_basic import ne
from maccel.math_poly import narrow


@always_inline
def truth[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Returns x != 0 (NaN is true)."""
    comptime if dt == DType.bool:
        return rebind[SIMD[DType.bool, w]](x)
    else:
        return ne(x, SIMD[dt, w](0))


@always_inline
def cast[to: DType, dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[to, w]:
    """Converts as torch.Tensor.to does: != 0 to bool, towards zero to integers.

    Floats go to narrow integers through wider signed ones and wrap, as PyTorch does on x86.
    """
    comptime if to == dt:
        return rebind[SIMD[to, w]](x)
    elif to == DType.bool:
        return rebind[SIMD[to, w]](truth(x))
    elif dt == DType.bool:
        return x.cast[DType.uint8]().cast[to]()
    elif dt.is_floating_point() and (
        to == DType.uint8
        or to == DType.int8
        or to == DType.int16
        or to == DType.uint16
    ):
        return x.cast[DType.int32]().cast[to]()
    elif dt.is_floating_point() and to == DType.uint32:
        return x.cast[DType.int64]().cast[to]()
    elif dt == DType.float64 and to.is_floating_point():
        return narrow[to](rebind[SIMD[DType.float64, w]](x))
    else:
        return x.cast[to]()


@always_inline
def logical_not[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Returns x == 0."""
    return ~truth(x)


@always_inline
def logical_and[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Tests that both are not 0."""
    return truth(x) & truth(y)


@always_inline
def logical_or[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Tests that either is not 0."""
    return truth(x) | truth(y)


@always_inline
def logical_xor[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Tests that exactly one is not 0."""
    return truth(x) ^ truth(y)


@always_inline
def not_[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Flips every bit or truth value."""
    return ~x


@always_inline
def and_[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Ands bits or truth values."""
    return x & y


@always_inline
def or_[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Ors bits or truth values."""
    return x | y


@always_inline
def xor_[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Exclusive-ors bits or truth values."""
    return x ^ y


@always_inline
def shift_left[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Shifts left; 0 when the count is negative or exceeds the width."""
    comptime width = SIMD[dt, w](8 * size_of[dt]())
    var inside = y.ge(SIMD[dt, w](0)) & y.lt(width)
    return inside.select(x << inside.select(y, SIMD[dt, w](0)), 0)


@always_inline
def shift_right[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Shifts right arithmetically; only sign bits remain when the count is outside the width.
    """
    comptime last = SIMD[dt, w](8 * size_of[dt]() - 1)
    var inside = y.ge(SIMD[dt, w](0)) & y.le(last)
    var shifted = x >> inside.select(y, last)
    comptime if dt.is_signed():
        return shifted
    else:
        return inside.select(shifted, 0)
