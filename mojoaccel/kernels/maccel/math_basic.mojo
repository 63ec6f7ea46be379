"""Arithmetic, comparison, logic and rounding with PyTorch's meaning, for floats, integers, bool.

Every function takes and returns vectors. NaN propagates unless the docstring says otherwise.
"""

from maccel.math_poly import INF, constant, magnitude, root, with_sign
from std.sys.intrinsics import llvm_intrinsic


@always_inline
def add[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x + y (or, for bool)."""
    comptime if dt == DType.bool:
        return x | y
    else:
        return x + y


@always_inline
def sub[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x - y."""
    return x - y


@always_inline
def mul[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x * y (and, for bool)."""
    comptime if dt == DType.bool:
        return x & y
    else:
        return x * y


@always_inline
def square[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes x * x."""
    return mul(x, x)


@always_inline
def neg[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes -x."""
    return -x


@always_inline
def abs[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes |x|; the smallest integer is its own absolute value."""
    comptime if dt.is_floating_point():
        return magnitude(x)
    elif dt.is_signed():
        return x.lt(SIMD[dt, w](0)).select(-x, x)
    else:
        return x


@always_inline
def sign[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns -1, 0 or 1; 0 for NaN, as torch.sign does."""
    comptime if dt == DType.bool:
        return x
    else:
        var zero = SIMD[dt, w](0)
        var up = x.gt(zero).select(SIMD[dt, w](1), zero)
        comptime if dt.is_signed():
            return x.lt(zero).select(SIMD[dt, w](-1), up)
        else:
            return up


@always_inline
def sqrt[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes the correctly rounded square root."""
    return root(x)


@always_inline
def rsqrt[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes 1 / sqrt(x) (1 ulp; the approximate instruction is not used)."""
    return 1 / root(x)


@always_inline
def reciprocal[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Computes 1 / x."""
    return 1 / x


@always_inline
def rounded[
    name: StaticString, dt: DType, w: SIMDLength
](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Applies a rounding intrinsic to floats; integers are integers already."""
    comptime if dt.is_floating_point():
        return llvm_intrinsic[name, SIMD[dt, w]](x)
    else:
        return x


@always_inline
def floor[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Rounds down."""
    return rounded["llvm.floor"](x)


@always_inline
def ceil[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Rounds up."""
    return rounded["llvm.ceil"](x)


@always_inline
def trunc[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Rounds towards zero."""
    return rounded["llvm.trunc"](x)


@always_inline
def round[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Rounds to the nearest integer, halves to even."""
    return rounded["llvm.roundeven"](x)


@always_inline
def frac[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns x - trunc(x)."""
    return x - trunc(x)


@always_inline
def eq[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Compares x == y; false with NaN."""
    return x.eq(y)


@always_inline
def ne[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Compares x != y; true with NaN (SIMD.ne is an ordered comparison: false with NaN).
    """
    return ~x.eq(y)


@always_inline
def lt[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Compares x < y."""
    comptime if dt == DType.bool:
        return rebind[SIMD[DType.bool, w]](~x & y)
    else:
        return x.lt(y)


@always_inline
def le[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Compares x <= y."""
    comptime if dt == DType.bool:
        return rebind[SIMD[DType.bool, w]](~x | y)
    else:
        return x.le(y)


@always_inline
def gt[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Compares x > y."""
    return lt(y, x)


@always_inline
def ge[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Compares x >= y."""
    return le(y, x)


@always_inline
def select[
    dt: DType, w: SIMDLength
](condition: SIMD[DType.bool, w], x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[
    dt, w
]:
    """Selects x where the condition holds, else y (`where` under the plan's name).
    """
    return condition.select(x, y)


@always_inline
def isnan[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Tests for NaN; integers have none."""
    return ~x.eq(x)


@always_inline
def isinf[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Tests for either infinity."""
    comptime if dt.is_floating_point():
        return magnitude(x).eq(constant[dt, w](INF))
    else:
        return SIMD[DType.bool, w](False)


@always_inline
def isfinite[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[DType.bool, w]:
    """Tests for values that are neither infinite nor NaN."""
    comptime if dt.is_floating_point():
        return magnitude(x).lt(constant[dt, w](INF))
    else:
        return SIMD[DType.bool, w](True)


@always_inline
def minimum[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns the smaller; NaN if either is NaN."""
    comptime if dt == DType.bool:
        return x & y
    elif dt.is_floating_point():
        # The first select is one x86 minimum that keeps a NaN in y.
        return (x.lt(y) | isnan(x)).select(x, y)
    else:
        return x.lt(y).select(x, y)


@always_inline
def maximum[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns the larger; NaN if either is NaN."""
    comptime if dt == DType.bool:
        return x | y
    elif dt.is_floating_point():
        return (x.gt(y) | isnan(x)).select(x, y)
    else:
        return x.gt(y).select(x, y)


@always_inline
def fmin[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns the smaller; the other one if one is NaN."""
    return (x.lt(y) | isnan(y)).select(x, y)


@always_inline
def fmax[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns the larger; the other one if one is NaN."""
    return (x.gt(y) | isnan(y)).select(x, y)


@always_inline
def clamp_min[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], low: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns max(x, low); NaN if either is NaN."""
    return maximum(low, x)


@always_inline
def clamp_max[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], high: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns min(x, high); NaN if either is NaN."""
    return minimum(high, x)


@always_inline
def clamp[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], low: SIMD[dt, w], high: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns min(max(x, low), high)."""
    return clamp_max(clamp_min(x, low), high)


@always_inline
def copysign[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
    """Returns |x| with the sign of y."""
    return with_sign(x, y)


@always_inline
def nan_to_num[
    dt: DType, w: SIMDLength
](
    x: SIMD[dt, w],
    nan: SIMD[dt, w],
    posinf: SIMD[dt, w],
    neginf: SIMD[dt, w],
) -> SIMD[dt, w]:
    """Replaces NaN, inf and -inf."""
    comptime if dt.is_floating_point():
        var inf = constant[dt, w](INF)
        var y = x.eq(inf).select(posinf, x)
        y = x.eq(-inf).select(neginf, y)
        return isnan(x).select(nan, y)
    else:
        return x


@always_inline
def lerp[
    dt: DType, w: SIMDLength
](x: SIMD[dt, w], y: SIMD[dt, w], weight: SIMD[dt, w]) -> SIMD[dt, w]:
    """Interpolates from the nearer end, as torch.lerp does."""
    var d = y - x
    var near = magnitude(weight).lt(constant[dt, w](0.5))
    return near.select(x + weight * d, y - d * (1 - weight))
