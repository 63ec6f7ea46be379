"""What a session does before it calls native code: sizes, structures, operands, records."""

import ctypes

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mojoaccel.artifact.manifest import FileSpec, Manifest, TensorSpec
from mojoaccel.errors import MojoaccelError
from mojoaccel.runtime import call
from mojoaccel.runtime.native import Tensor
from mojoaccel.runtime.sizes import evaluate
from mojoaccel.runtime.structure import flatten_call, rebuild
from mojoaccel.runtime.tensors import DTYPE_CODES, Operand, new_array, new_tensor, read_operand


def manifest(inputs, outputs, dims):
    none = FileSpec("", 0, "")
    specs = [tuple(TensorSpec(*t) for t in side) for side in (inputs, outputs)]
    return Manifest("m", "t", "a", "s", (), none, none, *specs, dims, "", "")


@given(st.integers(0, 50), st.integers(1, 50))
def test_sizes_are_computed_from_the_dims(n, m):
    dims = {"n": n, "m": m}
    assert evaluate(7, dims) == 7
    assert evaluate("n", dims) == n
    assert evaluate("2*n + m - -1", dims) == 2 * n + m + 1
    assert evaluate("floordiv(n, m) + mod(n, m)", dims) == n // m + n % m
    assert evaluate("max(n, m) - min(n, m, 3)", dims) == max(n, m) - min(n, m, 3)


@pytest.mark.parametrize(
    "text", ["n.real", "open('x')", "n if n else 1", "__import__", "1 +", "'a'"]
)
def test_nothing_but_sizes_is_evaluated(text):
    with pytest.raises((ValueError, KeyError)):
        evaluate(text, {"n": 1})


TREE = {
    "args": [{"tensor": 0}, {"tuple": [{"tensor": 1}, {"dict": {"b": {"tensor": 2}}}]}],
    "kwargs": {"scale": {"tensor": 3}, "mode": {"const": "fast"}},
    "names": ["x", "pair", "scale", "mode"],
}
NAMES = ["x", "pair_0", "pair_1_b", "scale"]


def test_calls_are_flattened_in_signature_order():
    assert flatten_call(TREE, NAMES, (10, (11, {"b": 12})), {"scale": 13}) == [10, 11, 12, 13]
    assert flatten_call(TREE, NAMES, (10, [11, {"b": 12}], 13), {"mode": "fast"}) == [
        10,
        11,
        12,
        13,
    ]
    by_name = {"scale": 13, "pair_1_b": 12, "x": 10, "pair_0": 11}
    assert flatten_call(TREE, NAMES, (), by_name) == [10, 11, 12, 13]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((10,), {"scale": 13}, "input pair is missing"),
        ((10, (11,)), {"scale": 13}, "pair must be a sequence of 2"),
        ((10, (11, {"c": 12})), {"scale": 13}, "pair[1] must be a dict with keys b"),
        ((10, (11, {"b": 12})), {"scale": 13, "mode": "slow"}, "mode was compiled in as 'fast'"),
        ((10, (11, {"b": 12})), {"scale": 13, "mode": np.ones(2)}, "mode was compiled in as"),
    ],
)
def test_calls_of_another_form_are_errors(args, kwargs, message):
    with pytest.raises(MojoaccelError) as caught:
        flatten_call(TREE, NAMES, args, kwargs)
    assert caught.value.code == "MA702"
    assert caught.value.diagnostics[0].message.startswith(message)


def test_results_get_their_structure_back():
    tree = {"dict": {"a": {"tensor": 1}, "b": {"list": [{"tensor": 0}, {"const": None}]}}}
    assert rebuild(tree, ["zero", "one"]) == {"a": "one", "b": ["zero", None]}
    here = {"object": "fractions.Fraction", "dict": {"numerator": {"tensor": 0}}}
    assert rebuild(here, [3]) == 3
    gone = {"object": "no.such.Class", "dict": {"x": {"tensor": 0}}}
    assert rebuild(gone, [3]) == {"x": 3}


@pytest.mark.parametrize("name", DTYPE_CODES)
def test_operands_have_the_name_shape_and_address_of_their_memory(name):
    kind = getattr(torch, name)
    tensor = torch.ones(2, 3).to(kind)
    found = read_operand(tensor)
    assert found[:3] == ((2, 3), name, tensor.data_ptr())
    made = new_tensor((2, 3), name)
    assert (made.owner.dtype, made.address % 64) == (kind, 0)
    array = new_array((2, 3000), name)
    assert (array.shape, array.address % 64, array.owner.nbytes) == (
        (2, 3000),
        0,
        6000 * tensor.itemsize,
    )
    if name != "bfloat16":
        numpy = tensor.numpy()
        assert read_operand(numpy)[:3] == ((2, 3), name, numpy.ctypes.data)
        assert array.owner.dtype.name == name


def test_awkward_operands_are_copied_to_dense_memory():
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    for value in (base.T, base[:, ::2], base.astype(">f4"), base[::-1], np.asfortranarray(base)):
        found = read_operand(value)
        assert (found.shape, found.dtype) == (value.shape, "float32")
        assert found.owner.flags.c_contiguous
        np.testing.assert_array_equal(found.owner, value)
    scalar = read_operand(2.5)
    assert (scalar.shape, scalar.dtype, float(scalar.owner)) == ((), "float64", 2.5)
    complex_part = torch.tensor([1 + 2j]).conj().imag
    assert float(read_operand(complex_part).owner[0]) == -2.0
    strided = torch.ones(3, 4, dtype=torch.bfloat16).T
    assert read_operand(strided)[:2] == ((4, 3), "bfloat16")


def test_records_are_the_structures_of_the_header():
    layouts = call.Layouts(
        manifest(
            [("x", "float32", ("2*n", "n")), ("y", "bool", ("n",))],
            [("z", "int64", ("n*n + 1", 4, 1))],
            {"n": (1, 9)},
        )
    )
    x, y = np.ones((6, 3), np.float32), np.ones(3, bool)
    operands = [read_operand(x), read_operand(y)]
    layout = layouts.find(operands)
    assert layouts.find(operands) is layout
    assert layout.shapes == ((10, 4, 1),)
    call.fill(layout, operands, [Operand((10, 4, 1), "int64", 4096, None)])
    records = layout.records
    assert ctypes.sizeof(records) == 3 * ctypes.sizeof(Tensor)
    tensors = ctypes.cast(records, ctypes.POINTER(Tensor))
    found = [(t.data, list(t.shape), t.rank, t.dtype) for t in (tensors[0], tensors[1], tensors[2])]
    assert found == [
        (x.ctypes.data, [6, 3, 0, 0, 0, 0, 0, 0], 2, 1),
        (y.ctypes.data, [3, 0, 0, 0, 0, 0, 0, 0], 1, 10),
        (4096, [10, 4, 1, 0, 0, 0, 0, 0], 3, 5),
    ]


def test_layouts_are_forgotten_before_they_pile_up():
    layouts = call.Layouts(manifest([("x", "float32", ("n",))], [], {"n": (0, None)}))
    for n in range(5 * call.KEPT):
        layouts.find([read_operand(np.ones(n, np.float32))])
    assert len(layouts._known) <= call.KEPT
