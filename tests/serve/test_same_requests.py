"""Requests that say the same around their numbers: what is remembered of them changes no answer."""

import json
import socket

import numpy as np
import orjson
import pytest

from mojoaccel.serve.codec import decode_request
from mojoaccel.serve.datatypes import NAMES
from mojoaccel.serve.handler import json_response
from mojoaccel.serve.plans import Plans, make_plan

X, Y = '{"name":"x","shape":[2],"datatype":"FP32"', '{"name":"y","shape":[1],"datatype":"INT64"'


def text(x="[1.5,2]", y="[3]", before="", spaces=False):
    found = f'{{{before}"inputs":[{Y},"data":{y}}},{X},"data":{x}}}]}}'
    return (found.replace(":", " : ").replace('"data" :', '"data":') if spaces else found).encode()


def keep(plans, body):
    plan = make_plan(decode_request(body, len(body)), ["x", "y"], [("o", "FP32")])
    plans.keep(body, len(body), plan)


@pytest.mark.parametrize("spaces", [True, False])
def test_other_numbers_are_read_by_the_plan(spaces):
    plans = Plans()
    keep(plans, text(spaces=spaces))
    body = bytearray(text("[0.25, -1e3]", "[ 7 ]", spaces=spaces))
    plan, [x, y] = plans.read(body, len(body))
    assert plan.request.inputs == () and x.dtype == np.float32 and y.dtype == np.int64
    assert x.tolist() == [0.25, -1000] and y.tolist() == [7]
    for broken in (
        "[1]",
        "[1,2,3]",
        "[1,2",
        "[1,]",
        "[1,2]]",
        "[1,true]x",
        "[true,false]",
        "[[1],2]",
    ):
        assert plans.read(text(broken, spaces=spaces), len(text(broken, spaces=spaces))) is None
    nested = text("[[1],[2]]", spaces=spaces)
    assert plans.read(nested, len(nested))[1][0].tolist() == [1, 2]  # as whoever reads all of it


@pytest.mark.parametrize(
    "body",
    [
        text(before='"id":"1",'),
        text(before='"parameters":{"data":[1]},'),
        text(before='"inputs":[{"data":[1]},{"data":[2]}],'),
        text().replace(b'"data":[3]', b'"data":[4],"d\\u0061ta":[3]'),
        text().replace(b'"data":[3]', b'"data":[4],"data":[3]'),
        text(y="3").replace(b'"inputs"', b'"parameters":{"data":[9]},"inputs"'),
    ],
)
def test_what_cannot_be_told_by_its_frame_is_not_remembered(body):
    plans = Plans()
    keep(plans, body)
    assert plans.read(body, len(body)) is None


def post(connection, body):
    head = b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    connection.sendall(head + body)
    return connection.recv(1 << 20)


@pytest.mark.mojo
def test_answers_stay_what_they_were(server):
    """The first answer of a kind is written out, the next ones from what is remembered."""
    host, port = server.place.split(":")
    rng = np.random.default_rng(0)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for rows in (1, 3, 1, 2, 3, 1):
            for outputs in ({}, {"outputs": [{"name": "output"}]}):
                x = rng.standard_normal((rows, 32)).astype(np.float32)
                entry = {"name": "x", "shape": [rows, 32], "datatype": "FP32"}
                request = {"inputs": [{**entry, "data": x.ravel().tolist()}], **outputs}
                # An id makes every request another one, so it is answered without a plan.
                full = post(connection, json.dumps({**request, "id": "i"}).encode())
                found = [post(connection, json.dumps(request).encode()) for _ in range(3)]
                assert len(set(found)) == 1
                head, _, body = found[0].partition(b"\r\n\r\n")
                expected = orjson.loads(full.partition(b"\r\n\r\n")[2])
                assert expected.pop("id") == "i" and orjson.loads(body) == expected
                assert b"content-length: %d" % len(body) in head


def test_half_floats_and_none_are_written_as_json_has_them():
    for kind, values in (("float16", [0.5, np.nan]), ("bfloat16", [0x3F80, 0x7FC0])):
        array = np.array(values, np.float16 if kind == "float16" else np.uint16)
        request = decode_request(text(), len(text()))
        plan = make_plan(request, ["x", "y"], [("o", NAMES[kind])])
        shown = [0.5, None] if kind == "float16" else [1.0, None]
        body = json_response({"outputs": [{"name": "o", "data": shown}]}).body[0]
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        plan.remember([array], head % len(body), [body])
        assert b"".join(plan.answer_to([array])) == head % len(body) + body
        assert not plan.answer_to([array[:1]])
