"""The operations that values are reduced by."""

from maccel.math_basic import abs, maximum, minimum
from maccel.math_logic import truth
from maccel.math_poly import INF


@always_inline
def lowest[dt: DType]() -> Scalar[dt]:
    """Returns the identity of max: -inf, the smallest integer, or False."""
    comptime if dt.is_floating_point():
        return (-INF).cast[dt]()
    else:
        return Scalar[dt].MIN


@always_inline
def highest[dt: DType]() -> Scalar[dt]:
    """Returns the identity of min."""
    comptime if dt.is_floating_point():
        return INF.cast[dt]()
    else:
        return Scalar[dt].MAX


trait Reduction:
    """An associative operation with its identity; `lift` and `finish` wrap it.
    """

    comptime indexed: Bool
    """Whether the result is the position of the value instead of the value."""

    @staticmethod
    def identity[dt: DType]() -> Scalar[dt]:
        """Returns e with combine(e, x) = x."""
        ...

    @staticmethod
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        """Maps an element to what is combined."""
        ...

    @staticmethod
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        """Combines two partial results."""
        ...


struct Sum(Reduction):
    """x + y."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return x + y


struct SumOfSquares(Reduction):
    """Sum of x * x (the 2-norm squared)."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x * x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return x + y


struct SumOfMagnitudes(Reduction):
    """Sum of |x| (the 1-norm)."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return abs(x)

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return x + y


struct CountNonzero(Reduction):
    """Number of elements that are not 0."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return truth(x).select(SIMD[dt, w](1), SIMD[dt, w](0))

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return x + y


struct Prod(Reduction):
    """x * y."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 1

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return x * y


struct Max(Reduction):
    """The largest; NaN if there is one."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return lowest[dt]()

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return maximum(x, y)


struct MaxOfMagnitudes(Reduction):
    """The largest |x| (the infinity norm)."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return abs(x)

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return maximum(x, y)


struct Min(Reduction):
    """The smallest; NaN if there is one."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return highest[dt]()

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return minimum(x, y)


struct Any(Reduction):
    """1 if any element is not 0, else 0."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 0

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return truth(x).select(SIMD[dt, w](1), SIMD[dt, w](0))

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return maximum(x, y)


struct All(Reduction):
    """1 if no element is 0, else 0."""

    comptime indexed = False

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return 1

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return truth(x).select(SIMD[dt, w](1), SIMD[dt, w](0))

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return minimum(x, y)


struct ArgMax(Reduction):
    """Position of the first of the largest; of the first NaN if there is one.
    """

    comptime indexed = True

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return lowest[dt]()

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return maximum(x, y)


struct ArgMin(Reduction):
    """Position of the first of the smallest; of the first NaN if there is one.
    """

    comptime indexed = True

    @staticmethod
    @always_inline
    def identity[dt: DType]() -> Scalar[dt]:
        return highest[dt]()

    @staticmethod
    @always_inline
    def lift[dt: DType, w: SIMDLength](x: SIMD[dt, w]) -> SIMD[dt, w]:
        return x

    @staticmethod
    @always_inline
    def combine[
        dt: DType, w: SIMDLength
    ](x: SIMD[dt, w], y: SIMD[dt, w]) -> SIMD[dt, w]:
        return minimum(x, y)
