"""What is remembered of requests that begin with the same JSON."""

import json

import numpy as np
import pytest

pytest.importorskip("orjson")
from mojoaccel.serve.codec import decode_request
from mojoaccel.serve.plans import KEPT, MAX_BYTES, Plans, make_plan


def body(pad="", outputs=None, **more):
    """A request of two inputs, given in the other order; `pad` moves the tensors."""
    entries = [
        {"name": "b", "shape": [3], "datatype": "INT16", "parameters": {"binary_data_size": 6}},
        {"name": "a", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
    ]
    head = {"inputs": entries, "parameters": {"binary_data_output": True, "pad": pad}, **more}
    if outputs:
        head["outputs"] = outputs
    text = json.dumps(head).encode()
    b, a = np.array([1, -2, 3], "<i2"), np.arange(4, dtype="<f4")
    return bytearray(text + b.tobytes() + a.tobytes()), len(text)


def planned(*args, **kwargs):
    data, length = body(*args, **kwargs)
    return make_plan(decode_request(data, length), ["a", "b"], ["y", "z"])


@pytest.mark.parametrize("pad", ["", "1", "12", "123"])  # aligned or not
def test_arrays_are_those_of_the_decoder(pad):
    data, length = body(pad)
    plans = Plans()
    assert plans.find(data, length) is None
    plans.keep(data, length, planned(pad))
    a, b = plans.find(data, length).read(data, length)
    assert a.tolist() == [[0, 1], [2, 3]] and b.tolist() == [1, -2, 3]
    assert a.flags.aligned and b.flags.aligned
    data[-4:] = np.float32(9).tobytes()
    assert plans.find(data, length).read(data, length)[0][1, 1] == 9


def test_a_body_of_another_size_has_no_plan():
    data, length = body()
    plans = Plans()
    plans.keep(data, length, planned())
    assert plans.find(data[:-1], length) is None and plans.find(data + b"x", length) is None


def test_numbered_requests_and_tensors_in_the_json_have_none():
    assert planned(id="7") is None
    data = json.dumps(
        {"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1]}]}
    ).encode()
    assert make_plan(decode_request(data, len(data)), ["a"], ["y"]) is None


def test_answers_are_remembered_by_the_shapes_of_the_outputs():
    plan = planned()
    y, z = np.zeros((2, 3)), np.zeros(1)
    assert plan.answer_to([y, z]) == b""
    plan.remember([y, z], b"head")
    assert plan.answer_to([y, z]) == b"head" and plan.answer_to([y[:1], z]) == b""
    some = planned(outputs=[{"name": "z", "parameters": {"binary_data": True}}])
    some.remember([y, z], b"head")  # y is not wanted
    assert some.answer_to([y, z]) == b""


def test_memory_is_bounded():
    plans = Plans()
    for at in range(3 * KEPT):
        data, length = body(str(at))
        plans.keep(data, length, planned(str(at)))
    assert len(plans._known) <= KEPT
    data, length = body("x" * MAX_BYTES)
    plans.keep(data, length, planned("x" * MAX_BYTES))
    assert plans.find(data, length) is None
