"""The numbers a server gives of itself, against requests that were counted."""

import threading
import time

import numpy as np
import pytest

httpx = pytest.importorskip("httpx")
client_http = pytest.importorskip("tritonclient.http")
client_grpc = pytest.importorskip("tritonclient.grpc")
pytestmark = pytest.mark.mojo
ALONE = (1, 3, 3, 7)
"""Rows of requests one after the other."""
TOGETHER = (1, 2, 5)
"""Rows of requests at the same time: a batch of 8."""
DELAY = 0.3


def given(client, rows, width=32):
    array = np.ones((rows, width), np.float32)
    return client.InferInput("x", array.shape, "FP32").set_data_from_numpy(array)


@pytest.fixture(scope="module")
def counted(artifacts, serve):
    """A server after requests of known number and rows, and the seconds they took."""
    options = ("--threads", 1, "--max-delay-ms", DELAY * 1e3, "--max-batch", 8)
    with serve(artifacts / "net.maccel", *options, grpc=True) as server:
        seconds = []

        def ask(client, module, rows):
            began = time.monotonic()
            client.infer("net", [given(module, rows)])
            seconds.append(time.monotonic() - began)

        with (
            client_http.InferenceServerClient(server.place) as http,
            client_grpc.InferenceServerClient(server.grpc) as grpc,
        ):
            for at, rows in enumerate(ALONE):
                ask(*((http, client_http), (grpc, client_grpc))[at % 2], rows)
            for client, module in ((http, client_http), (grpc, client_grpc), (http, client_http)):
                with pytest.raises(Exception, match="expected"):
                    client.infer("net", [given(module, 1, width=31)])

            def ask_apart(rows):  # a client of tritonclient serves one thread
                with client_http.InferenceServerClient(server.place) as client:
                    ask(client, client_http, rows)

            threads = [threading.Thread(target=ask_apart, args=(r,)) for r in TOGETHER]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            yield server, http, grpc, seconds


def test_statistics_are_those_of_the_requests(counted):
    _, http, grpc, seconds = counted
    [found] = http.get_inference_statistics("net", "1")["model_stats"]
    number, rows = len(ALONE + TOGETHER), sum(ALONE + TOGETHER)
    assert (found["name"], found["version"]) == ("net", "1")
    assert found["inference_count"] == rows
    assert found["execution_count"] == len(ALONE) + 1
    assert 0 <= time.time() - found["last_inference"] / 1e3 < 60
    parts = found["inference_stats"]
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert parts[part]["count"] == number, part
    assert parts["fail"]["count"] == 3 and parts["fail"]["ns"] > 0
    assert parts["cache_hit"] == parts["cache_miss"] == {"count": 0, "ns": 0}
    inside = sum(parts[p]["ns"] for p in ("queue", "compute_input", "compute_infer"))
    assert inside <= parts["success"]["ns"] <= sum(seconds) * 1e9
    assert parts["queue"]["ns"] >= len(ALONE) * DELAY * 1e9 * 0.99
    batches = {b["batch_size"]: b["compute_infer"] for b in found["batch_stats"]}
    assert {size: b["count"] for size, b in batches.items()} == {1: 1, 3: 2, 7: 1, 8: 1}
    runs = sum(b["ns"] for b in batches.values()) + 2 * batches[8]["ns"]  # it was three requests'
    assert abs(runs - parts["compute_infer"]["ns"]) < 10
    [same] = grpc.get_inference_statistics("net").model_stats
    assert same.inference_stats.success.count == number and same.inference_count == rows
    assert same.inference_stats.queue.ns == parts["queue"]["ns"]
    assert [b.batch_size for b in same.batch_stats] == [1, 3, 7, 8]


def test_metrics_are_the_same_numbers(counted):
    server = counted[0]
    found = {}
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    key = 'model="net",version="1"'
    assert found[f"mojoaccel_request_duration_seconds_count{{{key}}}"] == len(ALONE + TOGETHER)
    assert found[f"mojoaccel_batch_rows_sum{{{key}}}"] == sum(ALONE + TOGETHER)
    assert found[f'mojoaccel_batch_rows_bucket{{le="4",{key}}}'] == 3
    assert found['mojoaccel_failed_requests_total{model="net",status="400",version="1"}'] == 3
    assert found[f"mojoaccel_waiting_requests{{{key}}}"] == 0 and found["mojoaccel_ready"] == 1


def test_a_request_waits_no_longer_than_the_delay(counted):
    """Alone: the delay. Where the batch is full, not at all."""
    _, http, _, _ = counted
    for rows, least, most in ((1, DELAY, DELAY + 2), (8, 0, DELAY)):
        began = time.monotonic()
        http.infer("net", [given(client_http, rows)])
        assert least <= time.monotonic() - began < most


def test_a_model_that_is_loaded_again_goes_on_counting(server):
    def counts():
        [found] = http.get_inference_statistics("net")["model_stats"]
        answered = found["inference_stats"]["success"]["count"]
        return np.array((answered, found["execution_count"], found["inference_count"]))

    with client_http.InferenceServerClient(server.place) as http:
        http.infer("net", [given(client_http, 1)])
        before = counts()
        http.load_model("net")
        http.infer("net", [given(client_http, 2)])
        assert (counts() - before).tolist() == [1, 1, 2]
