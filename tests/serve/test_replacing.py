"""Other weights under the same name, while requests run: by the repository's API, and watched."""

import itertools
import json
import shutil
import threading
import time

import numpy as np
import pytest

from mojoaccel.artifact.hashing import file_digest

client_http = pytest.importorskip("tritonclient.http")
client_grpc = pytest.importorskip("tritonclient.grpc")
pytestmark = pytest.mark.mojo
X = np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 32)
REPLACED = 4


@pytest.fixture(scope="module")
def pair(artifacts, tmp_path_factory):
    """Two artifacts of one model with other weights, and what they answer."""
    import mojoaccel

    found = []
    for number in (0, 1):
        path = tmp_path_factory.mktemp("pair") / "net.maccel"
        shutil.copytree(artifacts / "net.maccel", path)
        weights = path / "weights.bin"
        (np.fromfile(weights, np.float32) * np.float32(1 + number)).tofile(weights)
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["weights"]["digest"] = file_digest(weights)
        (path / "manifest.json").write_text(json.dumps(manifest))
        with mojoaccel.load(path, 1) as session:
            found.append((path, session.run_flat([X])[0].copy()))
    assert not np.array_equal(found[0][1], found[1][1])
    return found


class Load:
    """Clients over HTTP and gRPC that ask until they are told to stop."""

    def __init__(self, server):
        self.answers = []
        self.failures = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=pair)
            for pair in ((client_http, server.place), (client_grpc, server.grpc)) * 2
        ]

    def _ask(self, module, address):
        given = module.InferInput("x", X.shape, "FP32").set_data_from_numpy(X)
        with module.InferenceServerClient(address) as client:
            while not self._stop.is_set():
                try:
                    self.answers.append(client.infer("net", [given]).as_numpy("output"))
                except Exception as e:
                    self.failures.append(e)

    def wait_for(self, expected):
        """Wait until every client gets an answer."""
        end = time.monotonic() + 60
        while True:
            recent = self.answers[-20:]
            if len(recent) == 20 and all(np.array_equal(a, expected) for a in recent):
                return
            assert time.monotonic() < end and not self.failures, self.failures[:3]
            time.sleep(0.01)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("watched", [False, True], ids=["api", "watch"])
def test_replaced_without_a_failed_request(pair, serve, tmp_path, watched):
    place = tmp_path / "net.maccel"
    shutil.copytree(pair[0][0], place)
    options = ("--threads", 1, *(["--watch"] if watched else []))
    with serve(tmp_path, *options, grpc=True) as server, Load(server) as load:
        load.wait_for(pair[0][1])
        with client_http.InferenceServerClient(server.place) as client:
            order = itertools.cycle(pair[::-1])
            for (source, expected), _ in zip(order, range(REPLACED), strict=False):
                shutil.rmtree(place)
                shutil.copytree(source, place)
                if not watched:
                    client.load_model("net")
                load.wait_for(expected)
    assert not load.failures and len(load.answers) > 100, load.failures[:3]
    known = [expected for _, expected in pair]
    assert all(any(np.array_equal(a, e) for e in known) for a in load.answers)
