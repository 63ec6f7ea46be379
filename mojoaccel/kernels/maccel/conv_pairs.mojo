"""Convolution of bfloat16 images, two channels at a time."""

from maccel.conv import conv2d
from maccel.image import ImageView
from maccel.pairs import PAIR, as_pairs
from maccel.team import Team
from maccel.types import Ptr


@always_inline
def conv2d_pairs[
    acc: DType,
    in_channels: Int,
    out_channels: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_h: Int,
    stride_w: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_h: Int,
    dilation_w: Int,
    groups: Int,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: ImageView[DType.bfloat16],
    weights: Ptr[DType.bfloat16],
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves bfloat16 images two channels at a time (see `pairs`).

    The parameters are those of `conv2d`; channels of a group and strides of the image are even.
    Weights are packed ahead as [groups][panels][KH*KW*IC/groups/2][panel][2].
    """
    conv2d[
        PAIR,
        acc,
        PAIR,
        in_channels // 2,
        out_channels,
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
        groups,
        panel,
    ](
        team,
        ImageView[PAIR](
            as_pairs(x.data),
            x.count,
            x.height,
            x.width,
            x.sn // 2,
            x.sh // 2,
            x.sw // 2,
        ),
        as_pairs(weights),
        out_h,
        out_w,
        store,
    )
