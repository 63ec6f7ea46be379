"""What is remembered of requests that begin with the same JSON."""

import json
from dataclasses import replace

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
    return make_plan(decode_request(data, length), ["a", "b"], [("y", "FP64"), ("z", "FP64")])


@pytest.mark.parametrize("pad", ["", "1", "12", "123"])  # aligned or not
def test_arrays_are_those_of_the_decoder(pad):
    data, length = body(pad)
    plans = Plans()
    assert plans.read(data, length) is None
    plans.keep(data, length, planned(pad))
    a, b = plans.read(data, length)[1]
    assert a.tolist() == [[0, 1], [2, 3]] and b.tolist() == [1, -2, 3]
    assert a.flags.aligned and b.flags.aligned
    a, b = plans.read(bytes(data), length)[1]  # in one piece
    assert a.tolist() == [[0, 1], [2, 3]] and a.flags.writeable and b.flags.writeable
    data[-4:] = np.float32(9).tobytes()
    assert plans.read(data, length)[1][0][1, 1] == 9


def test_a_body_of_another_size_has_no_plan():
    data, length = body()
    plans = Plans()
    plans.keep(data, length, planned())
    assert plans.read(data[:-1], length) is None and plans.read(data + b"x", length) is None


def test_numbered_requests_and_mixed_ones_have_none():
    assert planned(id="7") is None
    data, length = body()
    request = decode_request(data, length)
    mixed = [replace(request.inputs[0], binary=False), request.inputs[1]]
    assert make_plan(replace(request, inputs=mixed), ["a", "b"], [("y", "FP32")]) is None


def test_answers_are_remembered_by_the_shapes_of_the_outputs():
    plan = planned()
    y, z = np.zeros((2, 3)), np.zeros(1)
    assert not plan.answer_to([y, z])
    plan.remember([y, z], b"head", [b"json", y, z])
    head, *tensors = plan.answer_to([y, z])
    assert head == b"headjson" and tensors[0] is y and tensors[1] is z
    assert not plan.answer_to([y[:1], z])
    some = planned(outputs=[{"name": "z", "parameters": {"binary_data": True}}])
    some.remember([y, z], b"head", [b"json", z])  # y is not wanted
    assert not some.answer_to([y, z])


def test_memory_is_bounded():
    plans = Plans()
    for at in range(3 * KEPT):
        data, length = body(str(at))
        plans.keep(data, length, planned(str(at)))
    assert len(plans._known) <= KEPT
    data, length = body("x" * MAX_BYTES)
    plans.keep(data, length, planned("x" * MAX_BYTES))
    assert plans.read(data, length) is None
