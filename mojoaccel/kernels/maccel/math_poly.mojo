"""Building blocks of the elementary functions: polynomials, bit patterns, comptime constants.

All coefficients of this library were fitted for it (weighted rational least squares iterated
to the minimax error, 50 digits) and are stored in ascending order.
"""

from std.math import fma
from std.memory import bitcast
from std.sys import CompilationTarget
from std.sys.intrinsics import llvm_intrinsic

comptime INF = bitcast[DType.float64, 1](Int64(0x7FF0000000000000))
comptime NAN = bitcast[DType.float64, 1](Int64(0x7FF8000000000000))


@always_inline
def constant[dt: DType, w: SIMDLength](value: Float64) -> SIMD[dt, w]:
    """Returns `value` in every lane."""
    return SIMD[dt, w](value.cast[dt]())


@always_inline
def polynomial[
    *coefficients: Float64, dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes c0 + c1 x + c2 x^2 + ... by Horner's rule."""
    comptime n = len(coefficients)
    var r = constant[dt, w](coefficients[n - 1])
    comptime for i in range(n - 1):
        r = fma(r, x, constant[dt, w](coefficients[n - 2 - i]))
    return r


@always_inline
def magnitude[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Clears the sign bit of floats."""
    return llvm_intrinsic["llvm.fabs", SIMD[dt, w]](x)


@always_inline
def narrow[to: DType, w: SIMDLength](x: SIMD[DType.float64, w]) -> SIMD[to, w]:
    """Rounds float64 to `to`, through float32 as PyTorch does.

    The fence keeps LLVM from joining this with a later rounding to 16 bits: float64 to bfloat16 at
    once rounds differently, and is a library function that artifacts do not have.
    """
    comptime if to == DType.float64:
        return rebind[SIMD[to, w]](x)
    else:
        comptime F32 = SIMD[DType.float32, w]
        var single = llvm_intrinsic["llvm.arithmetic.fence", F32](
            x.cast[DType.float32]()
        )
        return single.cast[to]()


@always_inline
def with_sign[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], sign: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns |x| with the sign bit of `sign`."""
    return llvm_intrinsic["llvm.copysign", SIMD[dt, w]](x, sign)


@always_inline
def root[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns the correctly rounded square root."""
    return llvm_intrinsic["llvm.sqrt", SIMD[dt, w]](x)


@always_inline
def at_most[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], limit: Float64) -> SIMD[dt, w]:
    """Returns min(x, limit); NaN stays NaN (one instruction on x86)."""
    var top = constant[dt, w](limit)
    return top.lt(x).select(top, x)


@always_inline
def at_least[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], limit: Float64) -> SIMD[dt, w]:
    """Returns max(x, limit); NaN stays NaN (one instruction on x86)."""
    var bottom = constant[dt, w](limit)
    return bottom.gt(x).select(bottom, x)


comptime BITS[dt: DType] = (
    DType.int64 if dt
    == DType.float64 else DType.int32 if dt
    == DType.float32 else DType.int16
)
"""Integer type as wide as the float type `dt`."""

comptime MANTISSA[dt: DType] = 52 if dt == DType.float64 else 23
"""Stored mantissa bits."""

comptime BIAS[dt: DType] = 1023 if dt == DType.float64 else 127
"""Exponent bias."""

comptime ROUNDER[dt: DType] = (
    6755399441055744.0 if dt == DType.float64 else 12582912.0
)
"""1.5 * 2^mantissa: adding it rounds to an integer, found in the low bits of the sum."""


@always_inline
def bits_of[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[BITS[dt], w]:
    """Returns the bit patterns."""
    return bitcast[BITS[dt], w](x)


@always_inline
def float_of[dt: DType, w: SIMDLength](bits: SIMD[BITS[dt], w]) -> SIMD[dt, w]:
    """Returns the floats with these bit patterns."""
    return bitcast[dt, w](bits)


@always_inline
def power_of_two[dt: DType, w: SIMDLength](n: SIMD[BITS[dt], w]) -> SIMD[dt, w]:
    """Returns 2^n for normal results."""
    return float_of[dt, w](
        (n + SIMD[BITS[dt], w](BIAS[dt])) << SIMD[BITS[dt], w](MANTISSA[dt])
    )


@always_inline
def scaled[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], n: SIMD[dt, w], whole: SIMD[BITS[dt], w]) -> SIMD[dt, w]:
    """Computes x * 2^n with one rounding, through overflow and denormals.

    Args:
        x: Values.
        n: The exponents as floats.
        whole: The exponents as integers, within twice the format's range.
    """
    comptime if CompilationTarget.has_avx512f() and dt == DType.float32 and w == 16:
        return llvm_intrinsic[
            "llvm.x86.avx512.mask.scalef.ps.512", SIMD[dt, w]
        ](x, n, x, Int16(-1), Int32(4))
    elif CompilationTarget.has_avx512f() and dt == DType.float64 and w == 8:
        return llvm_intrinsic[
            "llvm.x86.avx512.mask.scalef.pd.512", SIMD[dt, w]
        ](x, n, x, Int8(-1), Int32(4))
    else:
        # One factor 2^n may not be representable; its two halves are, and the first
        # product is exact.
        var half = whole >> SIMD[BITS[dt], w](1)
        return x * power_of_two[dt, w](half) * power_of_two[dt, w](whole - half)


@always_inline
def quotient[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x / y for finite y of moderate size (at most 1 ulp).

    A 512-bit division takes 16 cycles; the approximate reciprocal (2^-14), a Newton step and
    one correction of the quotient take about 4 and are as exact in practice.
    """
    comptime if CompilationTarget.has_avx512f() and dt == DType.float32 and w == 16:
        var r = llvm_intrinsic["llvm.x86.avx512.rcp14.ps.512", SIMD[dt, w]](
            y, y, Int16(-1)
        )
        r = fma(fma(-y, r, constant[dt, w](1)), r, r)
        var q = x * r
        return fma(fma(-y, q, x), r, q)
    else:
        return x / y
