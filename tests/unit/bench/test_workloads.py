"""Inputs at chosen sizes, and what counts as an item or a token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mojoaccel.bench.workloads import Input, Inputs, ModelSource, parse_sizes
from mojoaccel.errors import MojoaccelError


def tensor(name, shape, dtype="f32", kind=np.float32, dims=None, value=0):
    return Input(name, dtype, np.full(shape, value, kind), dims or {})


IDS = tensor("ids", (2, 8), "i64", np.int64, {0: "batch", 1: "seq"}, 5)
MASK = tensor("mask", (2, 8), "i64", np.int64, {0: "batch", 1: "seq"}, 1)
IMAGE = tensor("x", (4, 3, 5, 5))


@given(batch=st.integers(1, 9), seq=st.integers(1, 9))
def test_sizes_change_every_axis_of_the_dim_and_keep_ranges(batch, seq):
    found = Inputs((IDS, MASK)).at({"batch": batch, "seq": seq})
    assert [v.array.shape for v in found.values] == [(batch, seq)] * 2
    assert found.sizes == {"batch": batch, "seq": seq}
    assert found.values[0].array.dtype == np.int64
    # A mask of ones stays one: drawn integers keep to the range that the example shows.
    assert (found.values[1].array == 1).all()


def test_inputs_of_unchanged_size_keep_their_values():
    assert Inputs((IDS, IMAGE)).at({"batch": 2}).arrays[0] is IDS.array


@pytest.mark.parametrize(
    ("dtype", "kind"), [("f32", "float32"), ("bf16", "uint16"), ("b8", "bool")]
)
def test_drawn_inputs_have_the_stored_type(dtype, kind):
    given = tensor("x", (2,), dtype, np.dtype(kind), {0: "n"})
    assert Inputs((given,)).at({"n": 7}).arrays[0].dtype == kind


def test_unknown_dims_are_named():
    with pytest.raises(MojoaccelError, match="no dim is called bach") as found:
        Inputs((IDS,)).at({"bach": 2})
    assert found.value.diagnostics[0].notes == ("dims: batch, seq",)


def test_items_and_tokens():
    assert (Inputs((IDS, MASK)).items(), Inputs((IDS, MASK)).tokens()) == (2, 16)
    assert (Inputs((IMAGE,)).items(), Inputs((IMAGE,)).tokens()) == (4, None)
    scalar = tensor("t", ())
    assert (Inputs((scalar,)).items(), Inputs((scalar,)).tokens()) == (1, None)
    # A named dim beats the first axis; a name beats the order of inputs.
    late = tensor("h", (7, 3), dims={1: "batch"})
    assert Inputs((late,)).items() == 3
    other = tensor("types", (2, 99), "i64", np.int64)
    assert Inputs((other, IDS)).tokens() == 16


def test_saved_inputs_read_back(tmp_path):
    given = Inputs((IDS, tensor("x", (0, 3)), tensor("s", ())))
    given.save(tmp_path)
    found = Inputs.load(tmp_path)
    assert found.describe() == given.describe() == ["ids: i64[2, 8]", "x: f32[0, 3]", "s: f32[]"]
    assert found.sizes == given.sizes
    assert [a.dtype for a in found.arrays] == [a.dtype for a in given.arrays]


def test_parse_sizes():
    assert parse_sizes(["batch=4", "seq=128"]) == {"batch": 4, "seq": 128}
    for text in ("batch", "batch=", "batch=-1", "batch=x"):
        with pytest.raises(MojoaccelError, match="MA903"):
            parse_sizes([text])


def test_model_names():
    assert ModelSource("examples/minilm.py:factory").name == "minilm"
    assert ModelSource("models/net.pt2").name == "net.pt2"
    assert ModelSource("suite.py", entry="mlp:1").name == "mlp:1"
