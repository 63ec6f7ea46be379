"""What a server refuses: too much, too slow, too many, without a key; and what it survives."""

import contextlib
import datetime
import gzip
import json
import random
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ROOT, command

httpx = pytest.importorskip("httpx")
client_http = pytest.importorskip("tritonclient.http")
pytestmark = pytest.mark.mojo
ROW = {"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [0.5] * 32}
GOOD = json.dumps({"inputs": [ROW]}).encode()


def slow_request():
    big = {"name": "x", "shape": [64, 1024], "datatype": "FP32", "data": [0.1] * 65536}
    return {"inputs": [big]}


def post(server, model, body, **kwargs):
    return httpx.post(f"{server.url}/v2/models/{model}/infer", json=body, timeout=60, **kwargs)


@pytest.fixture(scope="module")
def strict(artifacts, serve):
    """A server with narrow limits."""
    limits = ("--max-body-mb", 1, "--header-timeout-s", 0.5, "--body-timeout-s", 0.5, "--queue", 4)
    with serve(artifacts, "--threads", 1, "--instances", 1, *limits) as found:
        yield found
        assert found.stop() == 0
        assert "Traceback" not in found.errors


def raw(server, *pieces, pause=0.0, timeout=5.0):
    """Send pieces over a socket; return what comes back until the server closes."""
    host, port = server.place.split(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
    return found


def test_bodies_beyond_the_limit(strict):
    url = f"{strict.url}/v2/models/net/infer"
    assert httpx.post(url, content=b"x" * (2 << 20)).status_code == 413

    def parts():
        for _ in range(40):
            yield b"x" * 65536

    with contextlib.suppress(httpx.TransportError):  # closed while the client was still writing
        assert httpx.post(url, content=parts()).status_code == 413
    packed = gzip.compress(b" " * (4 << 20))
    answer = httpx.post(url, content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert httpx.post(url, content=GOOD).status_code == 200


def test_slow_heads_and_bodies(strict):
    began = time.monotonic()
    assert raw(strict, b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\n") == b""
    head = b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"
    assert b" 408 " in raw(strict, head).split(b"\r\n")[0]
    assert time.monotonic() - began < 5


def test_a_byte_now_and_then_is_no_request(strict):
    """Clients that keep connections busy with next to nothing, many at once; others are served."""
    first = b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\n"
    heads = [first + b"X-", first + b"Content-Length: 500\r\n\r\n{"] * 20
    host, port = strict.place.split(":")

    def trickle(head):
        began = time.monotonic()
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(head)
            while time.monotonic() - began < 10:
                time.sleep(0.05)
                try:
                    connection.settimeout(0.05)
                    return connection.recv(1000), time.monotonic() - began
                except TimeoutError:
                    connection.sendall(b"a")
                except ConnectionResetError:  # the last byte came after the end of the connection
                    return b"", time.monotonic() - began
        raise AssertionError("it was never closed")

    with ThreadPoolExecutor(40) as pool:
        found = [pool.submit(trickle, h) for h in heads]
        assert post(strict, "net", {"inputs": [ROW]}).status_code == 200
        answers = [f.result() for f in found]
    assert all(a == b"" for a, _ in answers[::2])
    assert all(b"500 bytes a second" in a and b" 408 " in a[:20] for a, _ in answers[1::2])
    assert max(seconds for _, seconds in answers) < 5


def test_a_full_queue_asks_to_come_again(strict):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: post(strict, "slow", slow_request()), range(12)))
    codes = [a.status_code for a in answers]
    assert set(codes) == {200, 503} and codes.count(200) >= 5
    refused = next(a for a in answers if a.status_code == 503)
    assert int(refused.headers["retry-after"]) >= 1 and "queue" in refused.json()["error"]


def test_deadlines_hold(strict):
    with ThreadPoolExecutor(3) as pool:
        late = {**slow_request(), "parameters": {"timeout": 1000}}
        first = pool.submit(post, strict, "slow", slow_request())
        time.sleep(0.05)
        assert post(strict, "slow", late).status_code == 504
        assert first.result().status_code == 200


def test_requests_whose_client_left_are_not_run(artifacts, serve):
    """They wait behind others when their clients leave: they leave the queue, and never run."""
    body = json.dumps(slow_request()).encode()
    head = b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    others = 24
    limits = ("--threads", 1, "--instances", 1, "--queue", 64)
    with (
        serve(artifacts / "slow.maccel", *limits) as server,
        ThreadPoolExecutor(others) as pool,
        contextlib.ExitStack() as leaving,
    ):
        kept = [pool.submit(post, server, "slow", slow_request()) for _ in range(others)]
        wait_until(lambda: known(server) == others)
        for _ in range(3):
            host, port = server.place.split(":")
            connection = leaving.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(head + body)
        wait_until(lambda: known(server) == others + 3)
        leaving.close()
        wait_until(lambda: known(server) == others)  # never again, had one of the three been run
        assert all(answer.result().status_code == 200 for answer in kept)
        assert known(server) == others


def known(server):
    """Return how many requests were run, are being run, or wait: of one moment."""
    found = 0.0
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        name, _, value = line.partition("{")
        if name in (
            "mojoaccel_waiting_requests",
            "mojoaccel_running_batches",
            "mojoaccel_run_duration_seconds_count",
        ):
            found += float(value.split()[-1])
    return found


def wait_until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.002)


def test_thousands_of_idle_connections(strict):
    host, port = strict.place.split(":")
    idle = []
    try:
        for _ in range(1500):
            idle.append(socket.create_connection((host, int(port)), timeout=10))
        assert post(strict, "net", {"inputs": [ROW]}).status_code == 200
    finally:
        for connection in idle:
            connection.close()


def mutations(rng):
    """Yield requests that are nearly right."""
    while True:
        data = bytearray(GOOD)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randint(1, 20)]
                case 2:
                    data[at:at] = rng.choice([b"[", b"{", b"null", b"-1", b"1e999", b'"', b"\x00"])
                case _:
                    data[at:at] = data[at : at + rng.randint(1, 40)]
        yield bytes(data)


def test_mutated_requests_are_never_a_servers_fault(server):
    rng = random.Random(0)
    url = f"{server.url}/v2/models/net/infer"
    with httpx.Client() as client:
        for _, body in zip(range(1500), mutations(rng), strict=False):
            headers = {}
            if rng.random() < 0.2:
                headers["Inference-Header-Content-Length"] = str(rng.randrange(-2, 600))
            answer = client.post(url, content=body, headers=headers)
            assert answer.status_code in (200, 400), (body, answer.text)


def test_bytes_that_are_no_http(server):
    rng = random.Random(1)
    for _ in range(60):
        noise = bytes(rng.randrange(256) for _ in range(rng.randint(1, 300))) + b"\r\n\r\n"
        found = raw(server, noise)
        assert found == b"" or b" 400 " in found.split(b"\r\n")[0]
    huge = b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 200_000
    with contextlib.suppress(ConnectionError):  # closed with bytes unread
        assert b" 400 " in raw(server, huge).split(b"\r\n")[0]
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200


def test_api_keys(artifacts, serve, tmp_path):
    (tmp_path / "keys").write_text("# two\nfirst-key\nsecond-key\n")
    with serve(artifacts / "net.maccel", "--api-key-file", tmp_path / "keys") as server:
        refused = post(server, "net", {"inputs": [ROW]})
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        for headers in (
            {"Authorization": "Bearer first-key"},
            {"Authorization": "bearer second-key"},
            {"X-API-Key": "second-key"},
        ):
            assert post(server, "net", {"inputs": [ROW]}, headers=headers).status_code == 200
        for headers in ({"Authorization": "Bearer third"}, {"X-API-Key": "first-key-and-more"}):
            assert post(server, "net", {"inputs": [ROW]}, headers=headers).status_code == 401
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        assert httpx.get(f"{server.url}/v2/models/net").status_code == 401
        assert httpx.get(f"{server.url}/metrics").status_code == 401


def certificate(folder):
    """Write a self-signed certificate for 127.0.0.1."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)


def test_tls(artifacts, serve, tmp_path):
    pytest.importorskip("cryptography")
    certificate(tmp_path)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = ("--tls-cert", cert, "--tls-key", key)
    with serve(artifacts / "net.maccel", *options, grpc=True) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        assert post(server, "net", {"inputs": [ROW]}, verify=context).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{server.place}/v2/health/ready")
        grpc = pytest.importorskip("tritonclient.grpc")
        with grpc.InferenceServerClient(
            server.grpc, ssl=True, root_certificates=str(cert)
        ) as client:
            assert client.is_server_ready()


def test_only_signed_artifacts(artifacts, serve, tmp_path):
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    for name in ("mine", "other"):
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(pem)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
    made = tmp_path / "net.maccel"
    model = ROOT / "tests" / "serve" / "served_models.py"
    line = command("compile", f"{model}:net", "-o", made, "--sign", tmp_path / "mine.pem")
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with serve(made, "--require-signature", tmp_path / "mine.pub") as server:
        assert post(server, "net", {"inputs": [ROW]}).status_code == 200
    for path, key in ((made, "other.pub"), (artifacts / "net.maccel", "mine.pub")):
        line = command("deploy", path, "--require-signature", tmp_path / key, "--port", 0)
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "error[MA713]" in done.stderr


@pytest.mark.slow
def test_memory_stays_flat(artifacts, serve):
    """A tenth of the 100,000 requests that were measured apart, on four connections."""
    body = {"inputs": [ROW]}
    with serve(artifacts / "net.maccel", "--threads", 1) as server:

        def ask(number):
            with httpx.Client() as client:
                url = f"{server.url}/v2/models/net/infer"
                for _ in range(number):
                    assert client.post(url, json=body).status_code == 200

        def memory():
            with open(f"/proc/{server.process.pid}/status") as status:
                return int(status.read().split("VmRSS:")[1].split()[0])

        run_threads(ask, 500)
        before = memory()
        run_threads(ask, 2000)
        assert memory() - before < 4000


def run_threads(function, number):
    threads = [threading.Thread(target=function, args=(number,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_batches_equal_the_rows_alone(server):
    """Requests that wait together are joined; every answer is that of the request alone."""
    rng = np.random.default_rng(3)
    with client_http.InferenceServerClient(server.place, concurrency=8) as client:
        asked = []
        for _ in range(64):
            x = rng.standard_normal((int(rng.integers(1, 9)), 32)).astype(np.float32)
            given = client_http.InferInput("x", x.shape, "FP32")
            given.set_data_from_numpy(x)
            asked.append((x, client.async_infer("net", [given])))
        answers = [(x, a.get_result().as_numpy("output")) for x, a in asked]
        for x, together in answers:
            given = client_http.InferInput("x", x.shape, "FP32")
            given.set_data_from_numpy(x)
            alone = client.infer("net", [given]).as_numpy("output")
            np.testing.assert_array_equal(together, alone)
