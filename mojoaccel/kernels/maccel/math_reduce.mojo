"""Reduction of huge angles modulo pi/2 (Payne and Hanek, 1983)."""

from std.math import fma
from std.memory import bitcast

from maccel.math_poly import NAN


@fieldwise_init
struct ReducedAngle(Copyable, Movable, TrivialRegisterPassable):
    """An angle as quarter * pi/2 + rest + low."""

    var quarter: Int
    var rest: Float64
    var low: Float64


comptime TWO_OVER_PI: Array[UInt64, 20] = [
    0xA2F9836E4E441529,
    0xFC2757D1F534DDC0,
    0xDB6295993C439041,
    0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0,
    0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484,
    0xE99C7026B45F7E41,
    0x3991D639835339F4,
    0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F,
    0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB,
    0xF0CFBC209AF4361D,
]
"""The first 1280 bits of 2/pi."""


@no_inline
def reduce_huge(x: Float64) -> ReducedAngle:
    """Reduces an angle of magnitude 1000 or more; NaN for infinities and NaN.

    x = m 2^e. Bits of 2/pi that contribute multiples of 4 quarters are skipped; the next 192 leave
    at least 64 right bits in the worst case.
    """
    var bits = bitcast[DType.uint64, 1](x)
    var exponent = Int((bits >> 52) & 0x7FF)
    if exponent == 0x7FF:
        return ReducedAngle(0, NAN, NAN)
    var m = (bits & 0xFFFFFFFFFFFFF) | (1 << 52)
    var e = exponent - 1075
    var skip = max(0, e - 2)
    var table = materialize[TWO_OVER_PI]()
    var word = skip // 64
    var shift = skip % 64

    @always_inline
    def window(i: Int) {imm} -> UInt128:
        var pair = (UInt128(table[word + i]) << 64) | UInt128(
            table[word + i + 1]
        )
        return (pair >> UInt128(64 - shift)) & 0xFFFFFFFFFFFFFFFF

    comptime MASK = UInt128(0xFFFFFFFFFFFFFFFF)
    var factor = UInt128(m)
    var low = factor * window(2)
    var middle = factor * window(1) + (low >> 64)
    var high = factor * window(0) + (middle >> 64)
    # 190 fraction bits wanted: for small e shift the product down.
    var down = UInt128(max(0, 2 - e))
    var top = (high << 64) | (middle & MASK)
    if down > 0:
        # The upper 128 of 192 bits of the product, moved down.
        top = (top >> down) | ((high >> 64) << (128 - down))
    # Two bits of quarter, then the fraction; round to the nearest quarter.
    var quarter = Int((top + (UInt128(1) << 125)) >> 126) & 3
    var fraction = top << 2
    var negative = (fraction >> 127) != 0
    var size = (~fraction + 1) if negative else fraction
    if size == 0:
        return ReducedAngle(quarter, 0.0, 0.0)
    var lead = 0
    while (size >> 127) == 0:
        size = size << 1
        lead += 1
    comptime half_pi = 1.5707963267948966
    comptime half_pi_low = 6.123233995736766e-17
    var unit = bitcast[DType.float64, 1](UInt64(1023 - 53 - lead) << 52)
    var first = Float64(UInt64(size >> 75)) * unit
    var second = (
        Float64(UInt64((size >> 22) & ((UInt128(1) << 53) - 1)))
        * unit
        * 1.1102230246251565e-16
    )
    var rest = first * half_pi
    var rest_low = fma(first, half_pi, -rest) + (
        first * half_pi_low + second * half_pi
    )
    var swap = negative != (x < 0)
    if x < 0:
        quarter = -quarter
    if swap:
        return ReducedAngle(quarter, -rest, -rest_low)
    return ReducedAngle(quarter, rest, rest_low)
