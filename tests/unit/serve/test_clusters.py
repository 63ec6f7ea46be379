"""Where `--engine ray` looks for a cluster that runs on this machine."""

import http.server
import socket
import threading

import pytest

pytest.importorskip("uvicorn")
from mojoaccel.errors import MojoaccelError
from mojoaccel.serve import ray_engine
from mojoaccel.serve.ray_engine import current_cluster, wait_for_answer


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """A function that notes an address as `ray start` does."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return (tmp_path / "ray" / "ray_current_cluster").write_text


def test_no_cluster_was_started(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert current_cluster() == ""


def test_a_cluster_that_runs_and_one_that_was_killed(noted):
    with socket.create_server(("127.0.0.1", 0)) as cluster:
        address = f"127.0.0.1:{cluster.getsockname()[1]}"
        noted(address + "\n")
        assert current_cluster() == address
    assert current_cluster() == ""


@pytest.mark.parametrize("text", ["", "nonsense", "host:port", "127.0.0.1:99999999"])
def test_a_damaged_note(noted, text):
    noted(text)
    assert current_cluster() == ""


def test_an_address_that_answers_late_or_never():
    statuses = [503, 503, 200]

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        wait_for_answer(url)
        server.shutdown()
        thread.join()
    assert not statuses
    with pytest.raises(MojoaccelError, match="nothing answers at"):
        wait_for_answer(url, patience=0.0)


def test_what_ray_gives_up_is_repeated():
    outcomes = [TimeoutError("Proxies not available after 60s."), TimeoutError(), None]

    def call():
        found = outcomes.pop(0)
        if found:
            raise found

    ray_engine._patiently(call)
    assert not outcomes
    outcomes += [TimeoutError() for _ in range(ray_engine.STARTS)]
    with pytest.raises(TimeoutError):
        ray_engine._patiently(call)
