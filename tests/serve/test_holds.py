"""Files of a served artifact that are written to in place, without ``--watch``."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mojoaccel.serve import holds
from mojoaccel.serve.holds import Hold

httpx = pytest.importorskip("httpx")

POSIX = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"abcd")
    return path


@POSIX
@pytest.mark.parametrize("way", ["r+b", "wb", "ab"])
def test_a_writer_waits_until_the_hold_is_released(file, way):
    hold = Hold([file, file.with_name("missing")])
    if not hold.leased:
        pytest.skip("this file system knows no leases")
    assert not hold.broken
    file.read_bytes()
    assert not hold.broken
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(file)!r}, {way!r}).write(b'xy')"])
    wait_for(lambda: hold.broken)
    assert file.read_bytes() == b"abcd" and writer.poll() is None
    hold.release()
    hold.release()
    assert writer.wait(30) == 0 and b"xy" in file.read_bytes()


@POSIX
def test_replacing_by_renaming_breaks_nothing(file):
    hold = Hold([file])
    other = file.with_name("other")
    other.write_bytes(b"other")
    os.replace(other, file)
    assert not hold.broken
    hold.release()


def test_without_leases_a_change_is_seen_afterwards(file, monkeypatch):
    monkeypatch.setattr(holds, "_lease", lambda _: False)
    hold = Hold([file])
    assert not hold.leased and not hold.broken
    with file.open("r+b") as written:
        written.write(b"ABCD")
    os.utime(file, ns=(1, 1))
    assert hold.broken
    hold.release()


@POSIX
@pytest.mark.mojo
@pytest.mark.parametrize("way", ["r+b", "wb"])
def test_a_model_whose_files_are_written_to_is_unloaded_first(artifacts, serve, tmp_path, way):
    """Every answer is right or says why there is none, and the server lives."""
    import mojoaccel

    path = shutil.copytree(artifacts / "net.maccel", tmp_path / "net.maccel")
    weights = path / "weights.bin"
    probe = Hold([weights])
    probe.release()
    if not probe.leased:
        pytest.skip("this file system knows no leases")
    whole = weights.read_bytes()
    x = np.ones((1, 32), np.float32)
    with mojoaccel.load(path, 1) as session:
        expected = session.run_flat([x])[0].ravel().tolist()
    body = {"inputs": [{"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [1.0] * 32}]}
    found, stop = [], threading.Event()
    with serve(path, "--threads", 1) as server:
        url = f"{server.url}/v2/models/net"

        def ask():
            with httpx.Client() as client:
                while not stop.is_set():
                    found.append(client.post(f"{url}/infer", json=body))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: found)
        with weights.open(way) as file:  # returns once the model is unloaded
            file.write(bytes(len(whole) // 2))
        wait_for(lambda: found[-1].status_code != 200)
        stop.set()
        asking.join()
        assert {a.status_code for a in found} == {200, 400}
        for answer in found:
            if answer.status_code == 200:
                data = answer.json()["outputs"][0]["data"]
                np.testing.assert_array_equal(np.float32(data), np.float32(expected))
            else:
                assert "written to while it is served" in answer.json()["error"]
        assert httpx.get(f"{url}/ready").status_code == 400
        [entry] = httpx.post(f"{server.url}/v2/repository/index").json()
        assert entry["state"] == "UNAVAILABLE" and "written to" in entry["reason"]
        refused = httpx.post(f"{server.url}/v2/repository/models/net/load")
        assert refused.status_code == 400 and "failed to load" in refused.json()["error"]
        weights.write_bytes(whole)
        assert httpx.post(f"{server.url}/v2/repository/models/net/load").status_code == 200
        assert httpx.post(f"{url}/infer", json=body).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert "unloaded net" in server.process.stderr.read().decode()


@pytest.mark.mojo
def test_an_artifact_replaced_by_renaming_is_served_on(artifacts, serve, tmp_path):
    """As ``compile`` replaces one: the server goes on with what it has."""
    path = shutil.copytree(artifacts / "add.maccel", tmp_path / "add.maccel")
    with serve(path, "--threads", 1) as server:
        fresh = shutil.copytree(path, tmp_path / "fresh")
        os.rename(path, tmp_path / "old")
        os.rename(fresh, path)
        shutil.rmtree(tmp_path / "old")
        time.sleep(0.3)
        entry = {"shape": [1, 16], "datatype": "FP32", "data": [1] * 16}
        body = json.dumps({"inputs": [{"name": n, **entry} for n in "ab"]})
        answer = httpx.post(f"{server.url}/v2/models/add/infer", content=body)
        assert answer.status_code == 200 and answer.json()["outputs"][0]["data"] == [2.0] * 16
