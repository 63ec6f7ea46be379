"""A server from start to end: what keeps it from starting, signals, --once, --check, --watch."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, command

from mojoaccel.serve.placement import EVERYWHERE

grpc = pytest.importorskip("grpc")
httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.mojo
ROW = {"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [0.5] * 32}
SLOW = {"name": "x", "shape": [64, 1024], "datatype": "FP32", "data": [0.1] * 65536}


def deploy(*args, timeout=60):
    done = subprocess.run(
        command("deploy", *args), cwd=ROOT, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def post(server, model, entry, **kwargs):
    url = f"{server.url}/v2/models/{model}/infer"
    return httpx.post(url, json={"inputs": [entry]}, timeout=60, **kwargs)


def test_once_starts_checks_and_ends(artifacts):
    code, out, _ = deploy(
        artifacts / "net.maccel", "--once", "--json", "--port", 0, "--grpc-port", 0
    )
    assert code == 0
    found = json.loads(out)
    assert (
        found["ok"] and found["models"] == ["net"] and found["url"].startswith("http://127.0.0.1:")
    )


def test_check_listens_to_nothing(artifacts):
    code, out, err = deploy(artifacts, "--check")
    assert (code, out) == (0, "")
    assert "the configuration is valid; models: add, counted, kinds, net, slow" in err


def test_what_is_wrong_is_said_before_listening(artifacts, tmp_path, server):
    taken = server.place.split(":")[1]
    damaged = shutil.copytree(artifacts / "net.maccel", tmp_path / "damaged.maccel")
    (damaged / "weights.bin").write_bytes(b"x")
    lesser = shutil.copytree(artifacts / "net.maccel", tmp_path / "lesser.maccel")
    manifest = json.loads((lesser / "manifest.json").read_text())
    manifest["required_features"].append("a-feature-of-tomorrow")
    (lesser / "manifest.json").write_text(json.dumps(manifest))
    key = tmp_path / "key.pem"
    key.write_text("nonsense")
    net = artifacts / "net.maccel"
    cases = (
        ((net, "--port", taken), "MA711", "cannot listen on"),
        ((net, "--grpc-port", taken), "MA711", f":{taken} for gRPC"),
        ((net, "--metrics-port", taken), "MA711", "cannot listen on"),
        ((tmp_path / "none.maccel",), "MA601", "does not exist"),
        ((damaged,), "MA601", "weights.bin has 1 bytes"),
        ((lesser,), "MA701", "a-feature-of-tomorrow"),
        ((net, "--tls-cert", key, "--tls-key", key), "MA712", "cannot be used"),
        ((net, "--tls-cert", key), "MA903", "belong together"),
        ((net, "--api-key-file", tmp_path / "no"), "MA712", "cannot be read"),
        ((net, "--require-signature", key), "MA712", ""),
        ((artifacts, "--name", "x"), "MA903", "names one artifact"),
    )
    for args, code, text in cases:
        ports = () if "--port" in args else ("--port", 0)
        ports += () if "--grpc-port" in args else ("--grpc-port", -1)
        status, out, err = deploy(*args, *ports)
        assert status in (2, 3), err
        assert out == "" and f"error[{code}]" in err and text in err, err


def test_sigterm_finishes_what_is_begun(artifacts, serve):
    with serve(artifacts / "slow.maccel", "--threads", 1, "--instances", 1) as server:
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(post(server, "slow", SLOW).status_code))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 503
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
        for thread in threads:
            thread.join()
        assert answers == [200] * 3
        assert server.process.wait(30) == 0


def test_sigint_twice_stops_at_once(artifacts, serve):
    with serve(artifacts / "slow.maccel", "--threads", 1, "--instances", 1) as server:

        def ask():
            with contextlib.suppress(httpx.HTTPError):  # most get no answer any more
                post(server, "slow", SLOW)

        waiting = [threading.Thread(target=ask) for _ in range(40)]
        for thread in waiting:
            thread.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 130
        assert time.monotonic() - began < 3
        for thread in waiting:
            thread.join()


def place(source, target):
    """Put an artifact in place slowly, file by file, the manifest first."""
    target.mkdir(parents=True)
    for file in sorted(source.rglob("*"), key=lambda p: p.name != "manifest.json"):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            shutil.copyfile(file, copy)
            time.sleep(0.05)


def test_watched_folder_is_followed_without_a_failed_request(artifacts, serve, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(artifacts / "net.maccel", folder / "net.maccel")
    with serve(folder, "--watch", "--threads", 1) as server:
        codes, stop = [], threading.Event()

        def load():
            with httpx.Client() as client:
                url = f"{server.url}/v2/models/net/infer"
                while not stop.is_set():
                    codes.append(client.post(url, json={"inputs": [ROW]}).status_code)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        place(artifacts / "add.maccel", folder / "add.maccel")  # half-copied for a while
        for _ in range(2):  # replaced as `rm -r; cp -r` does
            shutil.rmtree(folder / "net.maccel")
            place(artifacts / "net.maccel", folder / "net.maccel")
            time.sleep(1.5)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if httpx.get(f"{server.url}/v2/models/add/ready").status_code == 200:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("add was never loaded")
        shutil.rmtree(folder / "add.maccel")
        while httpx.get(f"{server.url}/v2/models/add/ready").status_code == 200:
            assert time.monotonic() < deadline + 10
            time.sleep(0.2)
        stop.set()
        for thread in threads:
            thread.join()
        assert len(codes) > 100 and set(codes) == {200}
        assert server.stop() == 0


def test_versions_side_by_side(artifacts, serve, tmp_path):
    for version in ("1", "2"):
        shutil.copytree(artifacts / "net.maccel", tmp_path / "net" / f"{version}.maccel")
    with serve(tmp_path, "--threads", 1) as server:
        found = httpx.get(f"{server.url}/v2/models/net").json()
        assert found["versions"] == ["1", "2"]
        assert post(server, "net", ROW).json()["model_version"] == "2"
        assert post(server, "net/versions/1", ROW).json()["model_version"] == "1"


def test_idle_server_is_small_and_ready_soon(artifacts, serve):
    began = time.monotonic()
    with serve(artifacts / "net.maccel", "--threads", 1) as server:
        ready = time.monotonic() - began
        process = Path("/proc") / str(server.process.pid)
        status, maps = (process / "status").read_text(), (process / "maps").read_text()
        memory = int(status.split("VmRSS:")[1].split()[0]) / 1024
        assert "libtorch" not in maps and "modular" not in maps
        assert memory < 120, memory
        assert ready < 10, ready  # the figure itself is measured apart from the tests


def narrow(server):
    """Return how many threads of a server may run on one processor only."""
    tasks = (Path("/proc") / str(server.process.pid) / "task").iterdir()
    return sum(len(os.sched_getaffinity(int(t.name))) == 1 for t in tasks)


@pytest.mark.skipif(len(EVERYWHERE) < 2, reason="needs two processors")
def test_nothing_but_the_loop_and_the_model_is_moved(server):
    seen = set()
    channel = grpc.insecure_channel(server.grpc)
    live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
    for _ in range(30):
        assert post(server, "slow", SLOW).status_code == 200
        seen.add(narrow(server))
    url = f"{server.url}/v2/repository/models/net/load"
    assert httpx.post(url, json={}, timeout=60).status_code == 200  # starts threads
    assert live(b"")
    seen.add(narrow(server))
    assert post(server, "net", ROW).status_code == 200
    assert seen <= {0, 2}, seen  # 0: others want the processor
    with ThreadPoolExecutor(4) as pool:
        assert {r.status_code for r in pool.map(lambda _: post(server, "slow", SLOW), "abcd")} == {
            200
        }
    assert narrow(server) == 0
    channel.close()


def test_requests_for_several_models_at_once(server):
    async def main():
        async with httpx.AsyncClient() as client:
            ones = {"name": "a", "shape": [1, 16], "datatype": "FP32", "data": [1.0] * 16}
            both = {"inputs": [ones, ones | {"name": "b"}]}
            sent = []
            for _ in range(50):
                sent.append(client.post(f"{server.url}/v2/models/add/infer", json=both))
                sent.append(
                    client.post(f"{server.url}/v2/models/net/infer", json={"inputs": [ROW]})
                )
            return await asyncio.gather(*sent)

    answers = asyncio.run(main())
    assert {a.status_code for a in answers} == {200}
    sums = [a.json()["outputs"][0]["data"] for a in answers[::2]]
    assert np.all(np.array(sums) == 2)
