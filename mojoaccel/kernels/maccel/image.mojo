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
