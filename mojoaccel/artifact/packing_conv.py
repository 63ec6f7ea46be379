"""Packs convolution and recurrent weights into the layouts that the Mojo kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mojoaccel.artifact.packing import AMX_SCRATCH, pair_rows


def conv_panels(out_channels: int, lanes: int) -> list[int]:
    """Returns the possible output channels per weight panel, the one expected to be fastest first.

    The least padding wins, then two vectors. `out_channels` counts one group; `lanes` is the SIMD
    width of the accumulation type.
    """
    order = (2, 3, 4, 1)
    waste = {v: -out_channels % (v * lanes) for v in order}
    best = sorted(order, key=lambda v: (waste[v], order.index(v)))
    return [v * lanes for v in best if v == best[0] or waste[v] <= out_channels // 4]


def pack_conv_weight(weight: NDArray[Any], groups: int, panel: int) -> NDArray[Any]:
    """Packs `[OC, IC/groups, KH, KW]` into `[groups, panels, KH*KW*IC/groups, panel]`."""
    oc, ic, kh, kw = weight.shape
    per_group = oc // groups
    panels = -(-per_group // panel)
    packed = np.zeros((groups, panels * panel, kh * kw * ic), weight.dtype)
    packed[:, :per_group] = weight.transpose(0, 2, 3, 1).reshape(groups, per_group, -1)
    return np.ascontiguousarray(packed.reshape(groups, panels, panel, -1).transpose(0, 1, 3, 2))


def pad_depth(panels: NDArray[Any], depth: int) -> NDArray[Any]:
    """Appends zeros along the reduction of packed weights, up to `depth` steps."""
    return np.pad(panels, ((0, 0), (0, 0), (0, depth - panels.shape[2]), (0, 0)))


def pack_depthwise_weight(weight: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Packs `[OC, 1, KH, KW]` into `[ceil(OC/lanes), KH*KW, lanes]`, zero padded."""
    oc, _, kh, kw = weight.shape
    blocks = -(-oc // lanes)
    packed = np.zeros((blocks * lanes, kh * kw), weight.dtype)
    packed[:oc] = weight.reshape(oc, kh * kw)
    return np.ascontiguousarray(packed.reshape(blocks, lanes, -1).transpose(0, 2, 1))


def pack_recurrent_weight(weight: NDArray[Any], gates: int, lanes: int) -> NDArray[Any]:
    """Packs `[gates*H, D]` (PyTorch `weight_hh`) into `[ceil(H/lanes), D, gates, lanes]`.

    D is H but in layers with projections, whose hidden state is shorter.
    """
    rows, depth = weight.shape
    hidden = rows // gates
    panels = -(-hidden // lanes)
    packed = np.zeros((gates, panels * lanes, depth), weight.dtype)
    packed[:, :hidden] = weight.reshape(gates, hidden, depth)
    return np.ascontiguousarray(packed.reshape(gates, panels, lanes, depth).transpose(1, 3, 0, 2))


def pack_recurrent_pairs(weight: NDArray[Any], gates: int, lanes: int) -> NDArray[Any]:
    """Packs `[gates*H, D]` into `[ceil(H/lanes), D/2, gates, lanes, 2]`, for ``maccel.pairs``."""
    panels = pack_recurrent_weight(weight, gates, lanes)
    flat = pair_rows(panels.reshape(*panels.shape[:2], gates * lanes))
    return flat.reshape(*flat.shape[:2], gates, lanes, 2)


def pack_grouped_weight(weight: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Packs `[OC, group, KH, KW]` into `[OC/lanes, KH, group, KW, lanes]`."""
    oc, group, kh, kw = weight.shape
    blocks = weight.reshape(oc // lanes, lanes, group, kh, kw)
    return np.ascontiguousarray(blocks.transpose(0, 3, 2, 4, 1))


def pack_conv_transpose_weight(weight: NDArray[Any], groups: int, panel: int) -> NDArray[Any]:
    """Packs `[IC, OC/groups, KH, KW]` into `[groups, panels, KH*KW*IC/groups, panel]`."""
    ic, per_group, kh, kw = weight.shape
    ordinary = weight.reshape(groups, ic // groups, per_group, kh, kw).swapaxes(1, 2)
    return pack_conv_weight(
        ordinary.reshape(groups * per_group, ic // groups, kh, kw), groups, panel
    )


def conv_tile_rows(panel: int, lanes: int, registers: int) -> int:
    """Returns the output pixels of a register tile; `registers` is 32, or 16 on AVX2."""
    vectors = panel // lanes
    if registers == 32:
        return {1: 14, 2: 14, 3: 9, 4: 7}[vectors]
    return {1: 6, 2: 6, 3: 4, 4: 3}[vectors]


def conv_tiles_scratch(depth: int) -> int:
    """Returns the scratch bytes per thread of a convolution by AMX tiles over `depth` pairs.

    The numbers mirror `gathered_tiles` in `conv_tiles.mojo`.
    """
    double = 2 * 16 * 4 * (-(-depth // 16) | 1) * 16
    return AMX_SCRATCH + max(1, min(16, (1 << 20) // double)) * double


def conv_scratch_bytes(
    packed_shape: tuple[int, ...],
    *,
    lanes: int,
    registers: int,
    itemsize: int = 4,
    weight_itemsize: int = 4,
    one_tile: bool = False,
) -> int:
    """Returns the scratch memory per thread that a convolution uses.

    `packed_shape` is the shape of the packed weights, `itemsize` that of the accumulation type;
    `conv_transpose2d` and `conv3d` keep `one_tile`.
    The numbers mirror `row_elements` and `block_tiles` in `conv_partition.mojo`.
    """
    groups, panels, depth, panel = packed_shape
    line = 64 // itemsize
    rows = conv_tile_rows(panel, lanes, registers)
    row = (-(-depth // line) | 1) * line
    tiles = 1
    if groups * panels * depth * panel * weight_itemsize > 1 << 20 and not one_tile:
        tiles = max(1, min(8, (1 << 20) // (row * rows * itemsize)))
    return tiles * rows * (row + panel) * itemsize
