"""Convolution of bfloat16 images, two channels at a time."""

from maccel.amx import fits_tiles
from maccel.conv import conv2d
from maccel.conv_tiles import conv2d_tiles
from maccel.image import ImageView
from maccel.pairs import PAIR, as_pairs
from maccel.team import Team
from maccel.tiles import PANEL
from maccel.types import F32, Ptr


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
    """Convolves bfloat16 images two channels at a time (see `pairs`), by AMX tiles where the target
    has them and the channels fill them.

    The parameters are those of `conv2d`; channels of a group and strides of the image are even.
    Weights are packed ahead as [groups][panels][KH*KW*IC/groups/2][panel][2].
    """
    var image = ImageView[PAIR](
        as_pairs(x.data),
        x.count,
        x.height,
        x.width,
        x.sn // 2,
        x.sh // 2,
        x.sw // 2,
    )
    comptime depth = kernel_h * kernel_w * (in_channels // 2)
    comptime if groups == 1 and panel == PANEL and fits_tiles[depth]():

        @always_inline
        def rebound[w: Int](n: Int, pixel: Int, c: Int, v: F32[w]) {imm}:
            store[w](n, pixel, c, rebind[SIMD[acc, w]](v))

        conv2d_tiles[
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
        ](team, image, as_pairs(weights), out_h, out_w, rebound)
        return
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
        image,
        as_pairs(weights),
        out_h,
        out_w,
        store,
    )
