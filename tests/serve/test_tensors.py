"""Every datatype the models have, 0-d tensors too: through NVIDIA's clients and in JSON."""

import numpy as np
import pytest

httpx = pytest.importorskip("httpx")
client_http = pytest.importorskip("tritonclient.http")
client_grpc = pytest.importorskip("tritonclient.grpc")
bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
pytestmark = pytest.mark.mojo
VALUES = {
    "i": ("INT64", np.array([1, -2, 2**53 + 1])),
    "f": ("FP32", np.array([[0.5, 1], [2, -3]], np.float32)),
    "b": ("BOOL", np.array([True, False, True, False])),
    "h": ("FP16", np.array([0.25, -1, 1000], np.float16)),
    "w": ("BF16", np.array([0.25, -1, 1024], bfloat16)),
    "s": ("FP32", np.array(1.5, np.float32)),
    "n": ("INT32", np.array([-(2**31) + 1, 7], np.int32)),
    "u": ("UINT8", np.array([0, 5, 255], np.uint8)),
    "c": ("INT8", np.array([1, -127, 0, 127, -3], np.int8)),
    "d": ("FP64", np.array([1e300, -1 / 7])),
}
EXPECTED = {
    "output_0": VALUES["i"][1] * 2,
    "output_1": VALUES["f"][1] + np.float32(0.5),
    "output_2": ~VALUES["b"][1],
    "output_3": VALUES["h"][1] + np.float16(0.5),
    "output_4": VALUES["w"][1] + bfloat16(0.5),
    "output_5": np.array(2.5, np.float32),
    "output_6": VALUES["n"][1] - 1,
    "output_7": VALUES["u"][1] + np.uint8(250),
    "output_8": -VALUES["c"][1],
    "output_9": VALUES["d"][1] / 3,
}
IN_JSON = set(VALUES) - {"h", "w"}
"""Inputs that tritonclient writes as JSON; it sends 16-bit floats as bytes only."""


def given(client, **binary):
    found = []
    for name, (datatype, array) in VALUES.items():
        tensor = client.InferInput(name, array.shape, datatype)
        found.append(tensor.set_data_from_numpy(array, **binary.get(name, {})))
    return found


def check(answer):
    for name, array in EXPECTED.items():
        found = answer.as_numpy(name)
        assert found.shape == array.shape and found.dtype == array.dtype, name
        np.testing.assert_array_equal(found, array, name)


@pytest.mark.parametrize("json", [set(), IN_JSON, {"i", "s"}], ids=["binary", "json", "mixed"])
def test_by_http(server, json):
    binary = {name: {"binary_data": name not in json} for name in VALUES}
    wanted = [client_http.InferRequestedOutput(n, binary_data=True) for n in EXPECTED]
    with client_http.InferenceServerClient(server.place) as client:
        check(client.infer("kinds", given(client_http, **binary), outputs=wanted))


def test_by_grpc(server):
    with client_grpc.InferenceServerClient(server.grpc) as client:
        check(client.infer("kinds", given(client_grpc)))


def test_in_json_alone(server):
    inputs = [
        {
            "name": name, "shape": list(array.shape), "datatype": datatype,
            "data": array.astype(array.dtype if name in IN_JSON else float).tolist(),
        }
        for name, (datatype, array) in VALUES.items()
    ]  # fmt: skip
    url = f"{server.url}/v2/models/kinds/infer"
    answer = httpx.post(url, json={"inputs": inputs})
    outputs = {o["name"]: o for o in answer.json()["outputs"]}
    for name, array in EXPECTED.items():
        assert outputs[name]["shape"] == list(array.shape)
        assert outputs[name]["data"] == array.reshape(-1).astype(object).tolist(), name
    types = {o["name"]: o["datatype"] for o in outputs.values()}
    assert types["output_3"] == "FP16" and types["output_4"] == "BF16"
    flat = [{**entry, "data": np.ravel(entry["data"]).tolist()} for entry in inputs]
    assert httpx.post(url, json={"inputs": flat}).json() == answer.json()


def test_metadata_names_them(server):
    found = httpx.get(f"{server.url}/v2/models/kinds").json()["inputs"]
    assert {t["name"]: (t["datatype"], t["shape"]) for t in found} == {
        name: (datatype, list(array.shape)) for name, (datatype, array) in VALUES.items()
    }


def test_strings_are_read_and_refused(server):
    """No model takes strings: they are decoded as the protocol has them, and named."""
    strings = np.array([b"one", b"", "zwölf".encode()], dtype=np.object_)
    message = "input 'i': expected datatype INT64, got BYTES"
    with client_http.InferenceServerClient(server.place) as client:
        for binary in (True, False):
            tensor = client_http.InferInput("i", [3], "BYTES")
            tensor.set_data_from_numpy(strings, binary_data=binary)
            with pytest.raises(Exception, match=message):
                client.infer("kinds", [tensor])
    tensor = client_grpc.InferInput("i", [3], "BYTES")
    tensor.set_data_from_numpy(strings)
    with (
        client_grpc.InferenceServerClient(server.grpc) as client,
        pytest.raises(Exception, match=message),
    ):
        client.infer("kinds", [tensor])
    broken = {"name": "i", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4}}
    answer = httpx.post(
        f"{server.url}/v2/models/kinds/infer",
        content=(head := str({"inputs": [broken]}).replace("'", '"').encode()) + b"\xff\0\0\0",
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.status_code == 400 and "beyond the tensor's end" in answer.json()["error"]
