"""Which answers count."""

import numpy as np
import pytest

from mojoaccel.bench.accuracy import Reference, judge, own_error

EXACT = np.linspace(-2.0, 2.0, 101)
FLOAT = Reference(("f32",), [EXACT], [EXACT.astype(np.float32)], "float64")


def test_rounding_counts_and_its_size_is_told():
    found = judge([EXACT.astype(np.float32)], FLOAT)
    assert found.ok and 0 < found.error < 2e-7
    assert found.relative == pytest.approx(found.error / 2)
    assert own_error(FLOAT) == found


def test_the_limit_is_a_share_of_the_largest_value():
    off = EXACT.copy()
    off[50] += 0.0019
    assert judge([off.astype(np.float32)], FLOAT).ok
    off[50] += 0.0002
    found = judge([off.astype(np.float32)], FLOAT)
    assert not found.ok
    assert found.reason == "output 0: off by 0.0021 of 2"


def test_nan_shape_and_count_are_wrong():
    broken = EXACT.astype(np.float32)
    broken[3] = np.nan
    assert not judge([broken], FLOAT).ok
    assert judge([broken[:4]], FLOAT).reason == "output 0 has shape (4,), expected (101,)"
    assert judge([], FLOAT).reason == "0 outputs, expected 1"


def test_integers_are_exact_but_may_follow_pytorch_or_float64():
    exact, own = np.array([1, 2, 3]), np.array([1, 2, 4])
    reference = Reference(("i64",), [exact], [own], "float64")
    assert judge([exact], reference).ok and judge([own], reference).ok
    found = judge([np.array([1, 9, 3])], reference)
    assert (found.ok, found.wrong) == (False, 1)
    assert found.reason == "output 0: 1 of 3 elements differ"


def test_bfloat16_arrives_as_bits_or_as_floats():
    bits = (EXACT.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    reference = Reference(("bf16",), [EXACT], [bits], "float64")
    assert judge([bits], reference).ok
    assert judge([EXACT.astype(np.float32)], reference).ok


def test_without_pytorch_the_kept_answers_decide():
    reference = Reference(("f32",), [EXACT.astype(np.float32)], None, "check")
    assert judge([EXACT.astype(np.float32)], reference).ok
    assert own_error(reference) is None
