"""What is not an infer request leaves in one packet, too: a client wakes once for it."""

import socket

import pytest

pytestmark = pytest.mark.mojo
ASKED = {
    "health": b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n",
    "metadata": b"GET /v2/models/net HTTP/1.1\r\nHost: x\r\n\r\n",
    "head": b"HEAD /v2/models/net HTTP/1.1\r\nHost: x\r\n\r\n",
    "metrics": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "not found": b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad infer": b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "chunked": b"POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}


def whole(data, head_only):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(v.split(b":")[1]) for v in lines if v.startswith(b"content-length:"))
    return len(body) == (0 if head_only else length)


@pytest.mark.parametrize("kind", ASKED)
def test_answers_come_in_one_piece(server, kind):
    host, port = server.place.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(20):
            connection.sendall(ASKED[kind])
            assert whole(connection.recv(1 << 20), kind == "head")


def test_connections_close_when_asked(server):
    host, port = server.place.split(":")
    for line in (b"HTTP/1.1\r\nConnection: close\r\n", b"HTTP/1.0\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /v2 " + line + b"Host: x\r\n\r\n")
            found = connection.recv(1 << 20)
            assert b"connection: close" in found and found.endswith(b"}")
            assert connection.recv(100) == b""


def test_requests_sent_ahead_are_answered_in_order(server):
    host, port = server.place.split(":")
    kinds = ("health", "bad infer", "not found", "metadata", "bad infer", "health")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"".join(ASKED[k] for k in kinds))
        found = b""
        while found.count(b"HTTP/1.1 ") < len(kinds) or not found.endswith(b"}"):
            found += connection.recv(1 << 20)
    codes = [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]]
    assert codes == [b"200", b"400", b"404", b"200", b"400", b"200"]
