"""A model whose length is a multiple, and which keeps a state: over HTTP and gRPC."""

import numpy as np
import pytest

httpx = pytest.importorskip("httpx")
client_http = pytest.importorskip("tritonclient.http")
client_grpc = pytest.importorskip("tritonclient.grpc")
pytestmark = pytest.mark.mojo
RULE = "input x, axis 0: expected 8*n with a whole n, got 12"
RANGE = "input x, axis 0: dim n is 65, allowed are 1 to 64"


@pytest.fixture(params=[client_http, client_grpc], ids=["http", "grpc"])
def client(request, server):
    module = request.param
    place = server.place if module is client_http else server.grpc
    with module.InferenceServerClient(place) as found:
        yield module, found


def infer(client, length):
    module, triton = client
    x = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    tensor = module.InferInput("x", [length], "FP32").set_data_from_numpy(x)
    return x, triton.infer("counted", [tensor]).as_numpy("output")


def test_every_request_begins_with_the_first_state(client):
    for length in (24, 8, 24, 512):
        x, y = infer(client, length)
        np.testing.assert_allclose(y, x.reshape(-1, 8).sum(1) + 1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("length", "message"), [(12, RULE), (520, RANGE)])
def test_other_lengths_are_refused_by_the_rule(client, length, message):
    with pytest.raises(Exception) as caught:
        infer(client, length)
    assert message in caught.value.message()
    assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_metadata_shows_sizes_that_vary(client, server):
    module, triton = client
    found = triton.get_model_metadata(
        "counted", **({"as_json": True} if module is client_grpc else {})
    )
    shapes = [[int(s) for s in t["shape"]] for t in (*found["inputs"], *found["outputs"])]
    assert shapes == [[-1], [-1]]


def test_sequences_are_refused(server):
    body = {"inputs": [{"name": "x", "shape": [8], "datatype": "FP32", "data": [0] * 8}]}
    body["parameters"] = {"sequence_id": 1}
    answer = httpx.post(f"{server.url}/v2/models/counted/infer", json=body)
    assert answer.status_code == 400 and "begins anew" in answer.json()["error"]
