"""Really compiled artifacts, and servers in processes of their own."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def command(*args):
    return [sys.executable, "-m", "mojoaccel", *map(str, args)]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory, command_line):
    """A folder with the artifacts of `served_models`."""
    folder = tmp_path_factory.mktemp("artifacts")
    for name in ("add", "net", "kinds", "slow", "counted"):
        model = f"{HERE / 'served_models.py'}:{name}"
        done = command_line("compile", model, "-o", folder / f"{name}.maccel")
        assert done.returncode == 0, done.stderr
    return folder


class Server:
    """A server process.

    Attributes:
        url: Of HTTP.
        grpc: host:port.
    """

    def __init__(self, *args, grpc=False):
        ports = ("--port", 0, "--grpc-port", 0 if grpc else -1)
        self.process = subprocess.Popen(
            command("deploy", *args, *ports, "--json"),
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read().decode()
        data = json.loads(line)
        assert data.get("ok"), data
        self.url, self.grpc, self.models = data["url"], data["grpc"], data["models"]
        self.place = self.url.split("//")[1]

    def stop(self):
        self.process.terminate()
        code = self.process.wait(60)
        self.errors = self.process.stderr.read().decode()
        return code


@contextlib.contextmanager
def running(*args, **kwargs):
    server = Server(*args, **kwargs)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        server.process.stdout.close()
        server.process.stderr.close()


@pytest.fixture(scope="session")
def serve():
    """A function that starts a server for the length of a with block."""
    return running


@pytest.fixture(scope="session")
def server(artifacts):
    """A server of every artifact."""
    with running(artifacts, "--threads", 1, grpc=True) as found:
        yield found
        assert found.process.poll() is None, "the server died"
        assert found.stop() == 0
        assert "Traceback" not in found.errors
