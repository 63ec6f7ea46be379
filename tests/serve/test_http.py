"""The v2 protocol over HTTP, through NVIDIA's client, httpx and curl."""

import asyncio
import gzip
import json
import subprocess
import zlib

import numpy as np
import pytest

httpx = pytest.importorskip("httpx")
client_http = pytest.importorskip("tritonclient.http")
pytestmark = pytest.mark.mojo


def infer(server, model, inputs, **more):
    return httpx.post(f"{server.url}/v2/models/{model}/infer", json={"inputs": inputs, **more})


@pytest.fixture
def triton(server):
    with client_http.InferenceServerClient(server.place) as found:
        yield found


@pytest.fixture(scope="module")
def expected(artifacts):
    """The model run alone."""
    import mojoaccel

    with mojoaccel.load(artifacts / "net.maccel", 1) as session:
        yield lambda x: session.run_flat([x])[0]


def test_metadata_and_health(triton):
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.is_model_ready("net") and triton.is_model_ready("net", "1")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    found = triton.get_model_metadata("net")
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 32]}]
    assert found["versions"] == ["1"]
    config = triton.get_model_config("net")
    assert config["max_batch_size"] == 64
    assert config["input"][0] == {"name": "x", "data_type": "TYPE_FP32", "dims": [32]}
    assert {m["name"] for m in triton.get_model_repository_index()} >= {"net", "add"}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_triton_client_infers(triton, expected, binary_in, binary_out, coding):
    x = np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32)
    given = client_http.InferInput("x", x.shape, "FP32")
    given.set_data_from_numpy(x, binary_data=binary_in)
    wanted = client_http.InferRequestedOutput("output", binary_data=binary_out)
    answer = triton.infer(
        "net", [given], outputs=[wanted], request_id="r1",
        request_compression_algorithm=coding, response_compression_algorithm=coding,
        query_params={"q": 1},
    )  # fmt: skip
    assert answer.get_response()["id"] == "r1"
    np.testing.assert_array_equal(answer.as_numpy("output"), expected(x))


def test_requests_in_parallel_equal_the_request_alone(server, expected):
    rng = np.random.default_rng(1)
    xs = [rng.standard_normal((rng.integers(1, 5), 32)).astype(np.float32) for _ in range(200)]

    async def main():
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=32)) as client:
            url = f"{server.url}/v2/models/net/infer"

            async def one(x):
                head = json.dumps({
                    "inputs": [{"name": "x", "shape": x.shape, "datatype": "FP32",
                                "parameters": {"binary_data_size": x.nbytes}}],
                    "parameters": {"binary_data_output": True},
                }).encode()  # fmt: skip
                headers = {"Inference-Header-Content-Length": str(len(head))}
                answer = await client.post(url, content=head + x.tobytes(), headers=headers)
                length = int(answer.headers["Inference-Header-Content-Length"])
                return np.frombuffer(answer.content[length:], np.float32).reshape(-1, 8)

            return await asyncio.gather(*map(one, xs))

    for x, got in zip(xs, asyncio.run(main()), strict=True):
        np.testing.assert_array_equal(got, expected(x))


X = {"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [0.0] * 32}
BAD = {
    "no json": b"{",
    "no object": b"[1]",
    "no inputs": b"{}",
    "inputs no list": {"inputs": {"x": 1}},
    "no name": {"inputs": [{"shape": [1], "datatype": "FP32", "data": [1]}]},
    "unknown input": {"inputs": [X | {"name": "y"}]},
    "twice": {"inputs": [X, X]},
    "rank": {"inputs": [X | {"shape": [32]}]},
    "negative": {"inputs": [X | {"shape": [-1, 32]}]},
    "huge": {"inputs": [X | {"shape": [10**18, 10**18]}]},
    "batch too large": {"inputs": [X | {"shape": [65, 32], "data": [0.0] * 65 * 32}]},
    "empty batch": {"inputs": [X | {"shape": [0, 32], "data": []}]},
    "elements": {"inputs": [X | {"data": [1.0]}]},
    "ragged": {"inputs": [X | {"data": [[1, 2], [3]]}]},
    "strings": {"inputs": [X | {"data": ["a"] * 32}]},
    "null": {"inputs": [X | {"data": [None] * 32}]},
    "datatype": {"inputs": [X | {"datatype": "FP64"}]},
    "unknown datatype": {"inputs": [X | {"datatype": "F32"}]},
    "bytes": {"inputs": [X | {"datatype": "BYTES", "data": ["a"] * 32}]},
    "output": {"inputs": [X], "outputs": [{"name": "z"}]},
    "outputs": {"inputs": [X], "outputs": 3},
    "parameters": {"inputs": [X], "parameters": 3},
    "id": {"inputs": [X], "id": 3},
    "timeout": {"inputs": [X], "parameters": {"timeout": "soon"}},
    "size": {"inputs": [X | {"parameters": {"binary_data_size": 10**30}}]},
    "size type": {"inputs": [X | {"parameters": {"binary_data_size": "4"}}]},
    "classification": {
        "inputs": [X],
        "outputs": [{"name": "output", "parameters": {"classification": 2}}],
    },
    "shared memory": {"inputs": [X | {"parameters": {"shared_memory_region": "r"}}]},
    "deep": b"[" * 100000,
    "not utf-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_bad_requests_are_refused_in_json(server, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.post(f"{server.url}/v2/models/net/infer", content=content)
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999", "9" * 40])
def test_bad_header_lengths(server, length):
    headers = {"Inference-Header-Content-Length": length}
    url = f"{server.url}/v2/models/net/infer"
    answer = httpx.post(url, content=b"{}", headers=headers)
    assert answer.status_code == 400 and "error" in answer.json()


def test_a_damaged_gzip_body(server):
    url = f"{server.url}/v2/models/net/infer"
    damaged = (b"nonsense", gzip.compress(b"{}" * 100)[:-9], gzip.compress(b"{}") + b"more")
    for body in damaged:
        answer = httpx.post(url, content=body, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 400 and "gzip" in answer.json()["error"]


def test_content_codings_as_clients_spell_them(server):
    url = f"{server.url}/v2/models/net/infer"
    plain = json.dumps({"inputs": [X]}).encode()
    deflater = zlib.compressobj(wbits=-15)
    bare = deflater.compress(plain) + deflater.flush()
    for coding, body in (("GZIP", gzip.compress(plain)), ("deflate", bare), ("identity", plain)):
        answer = httpx.post(url, content=body, headers={"Content-Encoding": coding})
        assert answer.status_code == 200, (coding, answer.text)
    assert httpx.post(url, content=plain, headers={"Content-Encoding": "br"}).status_code == 415


def test_unknown_models_paths_and_methods(server):
    answer = httpx.post(f"{server.url}/v2/models/nobody/infer", json={})
    assert answer.status_code == 400
    assert answer.json()["error"] == "Request for unknown model: 'nobody' is not found"
    assert httpx.get(f"{server.url}/nothing").status_code == 404
    refused = httpx.get(f"{server.url}/v2/models/net/infer")
    assert refused.status_code == 405 and refused.headers["allow"] == "POST"
    refused = httpx.delete(f"{server.url}/v2/models/net")
    assert refused.status_code == 405 and refused.headers["allow"] == "GET, HEAD"
    for path in ("systemsharedmemory/region/x/register", "models/net/generate", "models", "x"):
        assert httpx.post(f"{server.url}/v2/{path}", json={}).status_code == 404
    assert httpx.get(f"{server.url}/v2/models/..%2f..%2fetc").status_code == 400


def test_curl_without_content_type(server):
    body = json.dumps({"inputs": [X]})
    url = f"{server.url}/v2/models/net/versions/1/infer?trace=1"
    line = ["curl", "-sS", "-H", "Content-Type:", url, "-d", body]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20)
    assert json.loads(done.stdout)["outputs"][0]["shape"] == [1, 8], done.stderr


def test_statistics_and_metrics_count(server):
    infer(server, "net", [X])
    [entry] = httpx.get(f"{server.url}/v2/models/net/stats").json()["model_stats"]
    assert entry["inference_stats"]["success"]["count"] > 0
    text = httpx.get(f"{server.url}/metrics").text
    assert 'mojoaccel_request_duration_seconds_count{model="net",version="1"}' in text


def test_unload_and_load(server, triton):
    triton.unload_model("add")
    assert not triton.is_model_ready("add")
    assert infer(server, "add", [X]).status_code == 400
    triton.load_model("add")
    assert triton.is_model_ready("add")
    with pytest.raises(Exception, match="no such model"):
        triton.load_model("passwd")
    with pytest.raises(Exception, match="parameter 'config' is not supported"):
        triton.load_model("add", config="{}")
    for body, message in (("[]", "must be a JSON object"), ("{", "not valid JSON")):
        answer = httpx.post(f"{server.url}/v2/repository/models/add/load", content=body)
        assert answer.status_code == 400 and message in answer.json()["error"]
    path = "repository/models/..%2F..%2Fetc%2Fpasswd/load"
    answer = httpx.post(f"{server.url}/v2/{path}")
    assert answer.status_code == 400 and "no such model" in answer.json()["error"]
