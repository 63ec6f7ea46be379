"""Tensors as operators of the user's own receive them (`mojoaccel.CustomOp`)."""

from maccel.types import Ptr

comptime MAX_RANK = 8


struct Operand[dt: DType](Copyable, Movable, TrivialRegisterPassable):
    """A tensor in row-major memory without gaps.

    Parameters:
        dt: Type of its elements as they are stored.
    """

    var data: Ptr[Self.dt]
    """Its first element."""
    var rank: Int
    """Number of axes."""
    var sizes: SIMD[DType.int64, MAX_RANK]
    """Size of every axis."""

    @always_inline
    def __init__(out self, data: Ptr[Self.dt], *sizes: Int):
        """Describes the tensor at `data`."""
        self.data = data
        self.rank = len(sizes)
        self.sizes = 1
        for axis in range(len(sizes)):
            self.sizes[axis] = Int64(sizes[axis])

    @always_inline
    def size(self, axis: Int) -> Int:
        """Returns the size of an axis; negative ones count from the last."""
        return Int(self.sizes[axis + self.rank if axis < 0 else axis])

    @always_inline
    def count(self) -> Int:
        """Returns the number of elements."""
        return Int(self.sizes.reduce_mul())
