"""`deploy --engine ray` on a Ray of this machine (extra `ray`; skipped without it)."""

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, command

from mojoaccel.serve.ray_engine import UNHURRIED

httpx = pytest.importorskip("httpx")
if importlib.util.find_spec("ray") is None:
    pytest.skip("needs the extra ray", allow_module_level=True)
pytestmark = [pytest.mark.mojo, pytest.mark.slow]
PATIENCE = 300
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
STARTS = 4
"""Ray gives a node 30 s to start, and nothing changes that: it is started again then."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def deploy(*args, **kwargs):
    return subprocess.run(
        command("deploy", *args, "--engine", "ray", "--json"), cwd=ROOT, capture_output=True,
        text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, **kwargs,
    )  # fmt: skip


def ask(client, url, x):
    entry = {"name": "x", "shape": x.shape, "datatype": "FP32"}
    entry["parameters"] = {"binary_data_size": x.nbytes}
    head = {"inputs": [entry], "parameters": {"binary_data_output": True}, "id": "r"}
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = client.post(f"{url}/v2/models/net/infer", content=text + x.tobytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.content[:length])["id"] == "r"
    return np.frombuffer(answer.content[length:], np.float32)


@pytest.fixture
def expected(artifacts):
    import mojoaccel

    x = np.random.default_rng(0).standard_normal((1, 32)).astype(np.float32)
    with mojoaccel.load(artifacts / "net.maccel", 1) as session:
        return x, session.run_flat([x])[0].reshape(-1)


def test_a_ray_of_its_own(artifacts, expected):
    x, y = expected
    line = command(
        "deploy", artifacts / "net.maccel", "--engine", "ray", "--port", 0, "--replicas", "1:2",
        "--json",
    )  # fmt: skip
    process = subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )  # fmt: skip
    try:
        first = process.stdout.readline()
        assert first, process.stderr.read().decode()
        if first.strip() == b"{":  # an error's document has several lines
            raise AssertionError(process.stdout.read().decode())
        found = json.loads(first)
        url = found["url"]
        assert found["models"] == ["net"] and found["grpc"] is None
        with httpx.Client(timeout=60) as client:
            np.testing.assert_array_equal(ask(client, url, x), y)
            assert client.get(f"{url}/v2/health/ready").json() == {"ready": True}
            shape = client.get(f"{url}/v2/models/net").json()["inputs"][0]["shape"]
            assert shape == [-1, 32]
            answer = client.post(f"{url}/v2/models/nobody/infer", json={})
            assert answer.status_code == 400 and "unknown model" in answer.json()["error"]
            answer = client.post(f"{url}/v2/repository/models/net/unload")
            assert answer.status_code == 400 and "deploying again" in answer.json()["error"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def cluster():
    """A Ray cluster of one node; yields its address."""
    ray = Path(sys.executable).parent / "ray"
    port = free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env = {**ENVIRONMENT, **UNHURRIED, **token, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    options = ("--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false")
    node = ("--node-ip-address=127.0.0.1", "--disable-usage-stats", "--block")
    for _ in range(STARTS):
        process = subprocess.Popen(
            [ray, "start", *options, *node], env=ENVIRONMENT | UNHURRIED | token,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if answers(ray, env, process):
            break
        stop(process)
    try:
        yield env
    finally:
        stop(process)


def answers(ray, env, process):
    """Whether a cluster comes up; False if its process ends before."""
    while process.poll() is None:
        done = subprocess.run([ray, "status"], env=env, capture_output=True, timeout=PATIENCE)
        if done.returncode == 0:
            return True
        time.sleep(1)
    return False


def stop(process):
    process.terminate()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_deploying_again_replaces_the_replicas_without_a_failed_request(
    artifacts, expected, cluster, tmp_path
):
    x, y = expected
    path = shutil.copytree(artifacts / "net.maccel", tmp_path / "net.maccel")
    port = free_port()
    first = deploy(path, "--port", port, "--replicas", 2, env=cluster)
    assert first.returncode == 0, first.stdout + first.stderr
    url = json.loads(first.stdout)["url"]
    stop, answers, failures = threading.Event(), [], []

    def load():
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                try:
                    answers.append(ask(client, url, x))
                except (AssertionError, httpx.HTTPError) as e:
                    failures.append(e)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["name"] = "Another"  # another manifest, so another digest
    (path / "manifest.json").write_text(json.dumps(manifest))
    second = deploy(path, "--port", port, "--replicas", 2, env=cluster)
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    assert second.returncode == 0, second.stdout + second.stderr
    assert json.loads(second.stdout)["url"] == url
    assert not failures and len(answers) > 20, failures[:3]
    for found in answers:
        np.testing.assert_array_equal(found, y)


def test_what_does_not_go_with_ray(artifacts):
    for args, text in (
        (("--watch",), "--watch does not go with --engine ray"),
        (("--replicas", "3:1"), "the smaller first"),
        (("--replicas", "many"), "takes 2 or 1:8"),
    ):
        done = deploy(artifacts / "net.maccel", *args)
        assert done.returncode == 2 and text in done.stdout
