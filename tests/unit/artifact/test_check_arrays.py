"""Arrays of check cases: what repeats is stored once."""

import numpy as np
import pytest

from mojoaccel.artifact.check_arrays import PERIOD, draw, read_arrays, write_arrays
from mojoaccel.errors import MojoaccelError


def test_long_random_arrays_are_stored_as_one_period(tmp_path):
    rng = np.random.default_rng(0)
    shape = (3, 5, 100_003)
    drawn = draw(shape, rng.standard_normal).astype(np.float32)
    other = rng.standard_normal(PERIOD + 7)
    small = draw((4, 2), rng.standard_normal)
    write_arrays(tmp_path, "input", [drawn, other, small])
    assert (tmp_path / "input_0.npy").stat().st_size < 4 * PERIOD + 200
    assert (tmp_path / "input_1.npy").stat().st_size > 8 * (PERIOD + 7)
    found = read_arrays(tmp_path, "input", [shape, other.shape, (4, 2)])
    for read, written in zip(found, (drawn, other, small), strict=True):
        np.testing.assert_array_equal(read, written)


def test_a_missing_array_is_named(tmp_path):
    with pytest.raises(MojoaccelError, match="cannot be read"):
        read_arrays(tmp_path, "input", [(1,)])
