import numpy as np
import pytest

from mojoaccel.artifact.packing import fits_tiles, pack_panels, pair_rows, panel_widths


@pytest.mark.parametrize(
    ("k", "n", "nr"), [(3, 10, 4), (1, 8, 8), (5, 1, 16), (0, 5, 4), (4, 0, 4)]
)
def test_panels_hold_every_element_and_zeros(k, n, nr):
    weight = np.arange(1, k * n + 1, dtype=np.float32).reshape(k, n)
    packed = pack_panels(weight, nr)
    assert packed.shape == (-(-n // nr), k, nr)
    assert packed.dtype == weight.dtype
    assert packed.flags.c_contiguous
    for p in range(packed.shape[0]):
        for row in range(k):
            for j in range(nr):
                col = p * nr + j
                assert packed[p, row, j] == (weight[row, col] if col < n else 0)


def test_a_transposed_view_packs_like_its_copy():
    weight = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float16)
    np.testing.assert_array_equal(pack_panels(weight.T, 4), pack_panels(weight.T.copy(), 4))


@pytest.mark.parametrize(
    ("columns", "width"), [(768, 48), (1000, 48), (64, 64), (32, 32), (128, 64), (1, 32), (384, 48)]
)
def test_width_pads_little_and_is_fast(columns, width):
    assert panel_widths(columns, 16, 64)[0] == width


def test_width_of_narrow_registers():
    assert panel_widths(768, 8, 32) == [16]
    assert panel_widths(96, 4, 16)[0] == 12
    assert panel_widths(768, 16, 64, few_rows=True) == [64, 48, 32]


def test_pairs_of_rows_lie_together():
    panels = np.arange(2 * 6 * 4, dtype=np.uint16).reshape(2, 6, 4)
    pairs = pair_rows(panels)
    assert pairs.shape == (2, 3, 4, 2)
    for p, k, j in np.ndindex(panels.shape):
        assert pairs[p, k // 2, j, k % 2] == panels[p, k, j]


@pytest.mark.parametrize(
    ("pairs", "fits"), [(8, True), (7, False), (17, False), (40, True), (384, True)]
)
def test_reductions_of_whole_tiles(pairs, fits):
    assert fits_tiles(pairs) == fits
