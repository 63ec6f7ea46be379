"""Packs convolution and recurrent weights into the layouts that the Mojo kernels read."""

from __future__ import annotations

import numpy as np


def conv_panel(out_channels: int, lanes: int) -> int:
    """Returns the output channels per weight panel: the least padding, then two vectors.

    `out_channels` counts one group; `lanes` is the SIMD width of the accumulation type.
    """
    order = (2, 3, 4, 1)
    waste = {v: -out_channels % (v * lanes) for v in order}
    return min(order, key=lambda v: (waste[v], order.index(v))) * lanes


def pack_conv_weight(weight: np.ndarray, groups: int, panel: int) -> np.ndarray:
    """Packs `[OC, IC/groups, KH, KW]` into `[groups, panels, KH*KW*IC/groups, panel]`."""
    oc, ic, kh, kw = weight.shape
    per_group = oc // groups
    panels = -(-per_group // panel)
    packed = np.zeros((groups, panels * panel, kh * kw * ic), weight.dtype)
    packed[:, :per_group] = weight.transpose(0, 2, 3, 1).reshape(groups, per_group, -1)
    return np.ascontiguousarray(
        packed.reshape(groups, panels, panel, -1).transpose(0, 1, 3, 2)
    )


def pack_depthwise_weight(weight: np.ndarray, lanes: int) -> np.ndarray:
    """Packs `[OC, 1, KH, KW]` into `[ceil(OC/lanes), KH*KW, lanes]`, zero padded."""
    oc, _, kh, kw = weight.shape
    blocks = -(-oc // lanes)
    packed = np.zeros((blocks * lanes, kh * kw), weight.dtype)
    packed[:oc] = weight.reshape(oc, kh * kw)
    return np.ascontiguousarray(packed.reshape(blocks, lanes, -1).transpose(0, 2, 1))


def pack_recurrent_weight(weight: np.ndarray, gates: int, lanes: int) -> np.ndarray:
    """Packs `[gates*H, H]` (PyTorch `weight_hh`) into `[ceil(H/lanes), H, gates, lanes]`."""
    hidden = weight.shape[1]
    panels = -(-hidden // lanes)
    packed = np.zeros((gates, panels * lanes, hidden), weight.dtype)
    packed[:, :hidden] = weight.reshape(gates, hidden, hidden)
    return np.ascontiguousarray(
        packed.reshape(gates, panels, lanes, hidden).transpose(1, 3, 0, 2)
    )


def pack_conv_transpose_weight(weight: np.ndarray, groups: int, panel: int) -> np.ndarray:
    """Packs `[IC, OC/groups, KH, KW]` into `[groups, panels, KH*KW*IC/groups, panel]`."""
    ic, per_group, kh, kw = weight.shape
    ordinary = weight.reshape(groups, ic // groups, per_group, kh, kw).swapaxes(1, 2)
    return pack_conv_weight(
        ordinary.reshape(groups * per_group, ic // groups, kh, kw), groups, panel
    )
