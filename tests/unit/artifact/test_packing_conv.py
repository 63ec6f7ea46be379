"""Packed convolution and recurrent weights, element by element."""

from __future__ import annotations

import numpy as np
import pytest

from mojoaccel.artifact.packing_conv import (
    conv_panels,
    conv_scratch_bytes,
    pack_conv_transpose_weight,
    pack_conv_weight,
    pack_depthwise_weight,
    pack_grouped_weight,
    pack_recurrent_pairs,
    pack_recurrent_weight,
    pad_depth,
)


@pytest.mark.parametrize(
    ("out_channels", "panel"), [(64, 32), (48, 48), (16, 16), (37, 48), (96, 32), (1, 16)]
)
def test_conv_panel_wastes_least(out_channels: int, panel: int) -> None:
    assert conv_panels(out_channels, 16)[0] == panel


def test_conv_weight_by_group_panel_tap_and_channel() -> None:
    weight = np.arange(10 * 3 * 2 * 5, dtype=np.float32).reshape(10, 3, 2, 5) + 1
    packed = pack_conv_weight(weight, groups=2, panel=4)
    assert packed.shape == (2, 2, 30, 4)
    for o in range(10):
        group, col = divmod(o, 5)
        panel = packed[group, col // 4, :, col % 4].reshape(2, 5, 3)
        np.testing.assert_array_equal(panel, weight[o].transpose(1, 2, 0))
    assert not packed[:, 1, :, 1:].any()


def test_transposed_weight_is_the_ordinary_one_with_channels_swapped() -> None:
    weight = np.arange(4 * 3 * 2 * 2, dtype=np.float32).reshape(4, 3, 2, 2)
    packed = pack_conv_transpose_weight(weight, groups=2, panel=4)
    assert packed.shape == (2, 1, 8, 4)
    for c in range(4):
        for o in range(3):
            taps = packed[c // 2, 0, :, o].reshape(2, 2, 2)[:, :, c % 2]
            np.testing.assert_array_equal(taps, weight[c, o])


def test_depthwise_weight_by_vector_of_channels() -> None:
    weight = np.arange(5 * 6, dtype=np.float32).reshape(5, 1, 2, 3) + 1
    packed = pack_depthwise_weight(weight, lanes=4)
    assert packed.shape == (2, 6, 4)
    for o in range(5):
        np.testing.assert_array_equal(packed[o // 4, :, o % 4], weight[o].ravel())
    assert not packed[1, :, 1:].any()


def test_grouped_weight_by_kernel_row_and_member() -> None:
    weight = np.arange(8 * 2 * 3 * 2, dtype=np.float32).reshape(8, 2, 3, 2)
    packed = pack_grouped_weight(weight, lanes=4)
    assert packed.shape == (2, 3, 2, 2, 4)
    for o in range(8):
        np.testing.assert_array_equal(packed[o // 4, :, :, :, o % 4], weight[o].transpose(1, 0, 2))


def test_recurrent_pairs_lie_together() -> None:
    weight = np.arange(3 * 5 * 6, dtype=np.uint16).reshape(15, 6) + 1
    packed = pack_recurrent_pairs(weight, gates=3, lanes=4)
    assert packed.shape == (2, 3, 3, 4, 2)
    single = pack_recurrent_weight(weight, gates=3, lanes=4)
    for i in range(2):
        np.testing.assert_array_equal(packed[..., i], single[:, i::2])


def test_recurrent_weight_keeps_the_gates_of_a_unit_together() -> None:
    weight = np.arange(3 * 5 * 5, dtype=np.float32).reshape(15, 5) + 1
    packed = pack_recurrent_weight(weight, gates=3, lanes=4)
    assert packed.shape == (2, 5, 3, 4)
    for gate in range(3):
        for unit in range(5):
            np.testing.assert_array_equal(
                packed[unit // 4, :, gate, unit % 4], weight[gate * 5 + unit]
            )


def test_scratch_holds_a_block_of_gathered_rows_and_their_sums() -> None:
    # Small weights: one tile of 14 rows; 576 elements are 36 lines, 37 with padding.
    small = conv_scratch_bytes((1, 2, 576, 32), lanes=16, registers=32)
    assert small == 14 * (37 * 16 + 32) * 4
    # Large weights: as many tiles as fit in 1 MiB.
    large = conv_scratch_bytes((1, 16, 4608, 32), lanes=16, registers=32)
    assert large == 4 * 14 * (289 * 16 + 32) * 4


def test_windows_are_filled_up_with_zeros() -> None:
    packed = pack_conv_weight(np.arange(1.0, 4 * 3 * 9 + 1).reshape(4, 3, 3, 3), 1, 32)
    padded = pad_depth(packed, 32)
    assert padded.shape == (1, 1, 32, 32)
    assert (padded[:, :, :27] == packed).all() and not padded[:, :, 27:].any()
