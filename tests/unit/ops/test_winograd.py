"""When minimal filtering replaces the direct sum, and the scratch memory that it is given."""

from __future__ import annotations

import pytest

from mojoaccel.ir.dims import Size
from mojoaccel.ops.winograd import winograd_pays, winograd_scratch_bytes

PLAIN = ((3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("shape", "channels", "form", "expected"),
    [
        ((1, 64, 56, 56), (64, 64), PLAIN, True),
        ((1, 256, 14, 14), (256, 256), PLAIN, True),
        ((8, 512, 7, 7), (512, 512), PLAIN, True),
        ((1, 512, 7, 7), (512, 512), PLAIN, False),  # 16 tiles fill two register tiles badly
        ((1, 32, 56, 56), (3, 32), PLAIN, False),  # the transforms cost more than the sums
        ((1, 64, 56, 56), (64, 64), ((3, 3), (2, 2), (1, 1)), False),
        ((1, 64, 56, 56), (64, 64), ((3, 3), (1, 1), (2, 2)), False),
        ((1, 64, 56, 56), (64, 64), ((1, 3), (1, 1), (1, 1)), False),
        ((1, 64, "height", 56), (64, 64), PLAIN, False),
        (("batch", 64, 56, 56), (64, 64), PLAIN, True),
    ],
)
def test_filtering_where_it_is_faster(
    shape: tuple[Size, ...],
    channels: tuple[int, int],
    form: tuple[tuple[int, int], ...],
    expected: bool,
) -> None:
    assert winograd_pays(shape, channels, form, 7) is expected


def test_scratch_holds_a_block_of_tiles_a_panel_and_their_sums() -> None:
    # 256 channels are 16 lines, 17 with padding; 8 register tiles of 14 rows need 1.9 MB.
    block = 8 * 14
    planes = (block * 17 | 1) * 16, (128 * 2 | 1) * 16, (block * 2 | 1) * 16
    assert winograd_scratch_bytes(256, 32, 16, 32, 4) == (16 * sum(planes) + 256) * 4
