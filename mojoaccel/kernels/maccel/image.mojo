"""The channels-last image batch that convolution, pooling and resampling read."""

from maccel.types import Ptr


@fieldwise_init
struct ImageView[dt: DType](Copyable, Movable, TrivialRegisterPassable):
    """A channels-last image batch: `address = n*sn + h*sh + w*sw + channel`."""

    var data: Ptr[Self.dt]
    var count: Int
    var height: Int
    var width: Int
    var sn: Int
    var sh: Int
    var sw: Int


@fieldwise_init
struct Window(Copyable, Movable, TrivialRegisterPassable):
    """What an output pixel reads of an image, known at compile time (see `conv2d`).
    """

    var kernel_h: Int
    var kernel_w: Int
    var stride_h: Int
    var stride_w: Int
    var pad_h: Int
    var pad_w: Int
    var dilation_h: Int
    var dilation_w: Int

    @always_inline
    def taps(self) -> Int:
        """Returns how many pixels there are."""
        return self.kernel_h * self.kernel_w

    @always_inline
    def pointwise(self) -> Bool:
        """Returns whether output pixels are those of the image."""
        return (
            self.taps() * self.stride_h * self.stride_w == 1
            and self.pad_h + self.pad_w == 0
        )

    @always_inline
    def overlaps(self) -> Bool:
        """Returns whether those of neighbours in a row form one stretch of it.
        """
        return (
            self.taps() > 1
            and self.dilation_w == 1
            and self.stride_w <= self.kernel_w
        )

    @always_inline
    def top(self, row: Int) -> Int:
        """Returns the first row of the image that a row of the output reads; padding is negative.
        """
        return row * self.stride_h - self.pad_h

    @always_inline
    def left(self, column: Int) -> Int:
        """Returns the first column of the image that a column of the output reads.
        """
        return column * self.stride_w - self.pad_w
