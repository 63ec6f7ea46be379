"""Convolution of channels-last volumes: planes gathered as images, one register tile at a time."""

from std.sys import simd_width_of

from maccel.conv_gather import gather_rows, zero_run
from maccel.conv_partition import MAX_DEPTH, partition_tiles, row_elements
from maccel.conv_store import store_tile
from maccel.conv_tile import multiply_first, tile_rows
from maccel.image import ImageView, Window
from maccel.team import Team
from maccel.types import Ptr


@fieldwise_init
struct VolumeView[dt: DType](Copyable, Movable, TrivialRegisterPassable):
    """A batch of channels-last volumes: an image batch whose `sn` is between planes.
    """

    var planes: ImageView[Self.dt]
    var depth: Int
    var sv: Int
    """Elements between volumes; `planes.count` is their number."""


@always_inline
def conv3d[
    dt: DType,
    acc: DType,
    wt: DType,
    in_channels: Int,
    out_channels: Int,
    kernel_d: Int,
    kernel_h: Int,
    kernel_w: Int,
    stride_d: Int,
    stride_h: Int,
    stride_w: Int,
    pad_d: Int,
    pad_h: Int,
    pad_w: Int,
    dilation_d: Int,
    dilation_h: Int,
    dilation_w: Int,
    groups: Int,
    panel: Int,
    S: def[w: Int](Int, Int, Int, SIMD[acc, w]) -> None,
](
    team: Team,
    x: VolumeView[dt],
    weights: Ptr[wt],
    out_d: Int,
    out_h: Int,
    out_w: Int,
    store: S,
):
    """Convolves channels-last volumes (PyTorch `aten.convolution` in three dimensions).

    Weights are packed as [groups][ceil(OC/groups/panel)][KD*KH*KW*IC/groups][panel]. Scratch per
    thread: as `conv2d` with one tile a block. A tile never crosses output planes, so planes of
    few pixels waste part of it.

    Parameters:
        dt: Stored type of the input.
        acc: Type of values and sums.
        wt: Stored type of the weights.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_d: Depth of the kernel.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_d: Stride over planes.
        stride_h: Vertical stride.
        stride_w: Horizontal stride.
        pad_d: Planes of zeros in front.
        pad_h: Rows of zeros above.
        pad_w: Columns of zeros at the left.
        dilation_d: Distance of taps over planes.
        dilation_h: Vertical distance of taps.
        dilation_w: Horizontal distance of taps.
        groups: Independent groups of channels.
        panel: Output channels in a packed weight panel, a multiple of the SIMD width.
        S: Epilogue `store[w](n, (od*out_h + oh)*out_w + ow, channel, value)`.

    Args:
        team: The threads; each computes its share.
        x: Input.
        weights: Packed weights.
        out_d: Depth of the output.
        out_h: Height of the output.
        out_w: Width of the output.
        store: Epilogue.
    """
    comptime group_in = in_channels // groups
    comptime group_out = out_channels // groups
    comptime window = Window(
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
    )
    comptime plane_taps = window.taps() * group_in
    comptime depth = kernel_d * plane_taps
    comptime rows = tile_rows[acc, panel]()
    comptime lda = row_elements[acc, depth]()
    comptime group_panels = (group_out + panel - 1) // panel
    comptime assert panel % simd_width_of[acc]() == 0, "panel: whole vectors"
    var a = team.scratch[acc]()
    var c = a.unsafe_offset(rows * lda)
    var plane_pixels = out_h * out_w
    var plane_tiles = (plane_pixels + rows - 1) // rows
    var tiles = x.planes.count * out_d * plane_tiles
    if tiles == 0:
        return
    var part = partition_tiles[rows](
        team, tiles * rows, groups * group_panels, 4, 4
    )
    for group in range(
        part.panels.begin // group_panels,
        (part.panels.end + group_panels - 1) // group_panels,
    ):
        for tile in range(part.pixels.begin // rows, part.pixels.end // rows):
            var plane = tile // plane_tiles
            var first = tile % plane_tiles * rows
            var here = min(rows, plane_pixels - first)
            var n = plane // out_d
            var od = plane % out_d
            for kd in range(kernel_d):
                var id = od * stride_d - pad_d + kd * dilation_d
                var target = a.unsafe_offset(kd * plane_taps)
                if id < 0 or id >= x.depth:
                    for r in range(here):
                        zero_run(target.unsafe_offset(r * lda), plane_taps)
                    continue
                var image = x.planes
                image.count = 1
                image.data = x.planes.data.unsafe_offset(
                    n * x.sv + id * x.planes.sn + group * group_in
                )
                gather_rows[dt, acc, group_in, window, lda](
                    image, out_h, out_w, first, here, target
                )
            zero_run(a.unsafe_offset(here * lda), (rows - here) * lda)
            for p in range(
                max(part.panels.begin, group * group_panels),
                min(part.panels.end, (group + 1) * group_panels),
            ):
                for k in range(0, depth, MAX_DEPTH):
                    var b = weights.unsafe_offset((p * depth + k) * panel)
                    var length = min(MAX_DEPTH, depth - k)
                    multiply_first[acc, wt, rows, panel, lda](
                        a.unsafe_offset(k), b, c, length, here, k == 0
                    )
                var col = (p - group * group_panels) * panel
                store_tile[acc, panel](
                    c,
                    plane * plane_pixels + first,
                    here,
                    out_d * plane_pixels,
                    group * group_out + col,
                    min(panel, group_out - col),
                    store,
                )
