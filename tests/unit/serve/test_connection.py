"""Connections of a server in this process, with a short patience."""

import asyncio
import contextlib
import socket

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("uvloop")
from mojoaccel.serve import server
from mojoaccel.serve.handler import Handler
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.repository import Repository
from mojoaccel.serve.service import Service

ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def with_server(monkeypatch, go):
    """Run `go` with the address of a server without models."""
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.3)

    async def main():
        options = ServeOptions(paths=())
        service = Service(options, Repository(options))
        service.loading = False
        listening = server.bind("127.0.0.1", 0)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        running = server._http_server(options, Handler(service))
        task = asyncio.create_task(running.serve([listening]))
        while not running.started:
            await asyncio.sleep(0.001)
        try:
            await asyncio.wait_for(go(listening.getsockname()), 30)
        finally:
            running.should_exit = True
            await task
            listening.close()

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_client_that_takes_no_answer_is_left(monkeypatch):
    """It asks and reads nothing: what waits for it is thrown away after a while."""

    async def go(place):
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, place)
            began = loop.time()
            await loop.sock_sendall(client, ASKED * 500)
            with pytest.raises(ConnectionError):
                while True:
                    await asyncio.sleep(0.05)
                    await loop.sock_sendall(client, ASKED)
            assert loop.time() - began > 0.3

    with_server(monkeypatch, go)


def test_a_connection_at_rest_is_closed_and_a_slow_reader_is_not(monkeypatch):
    async def go(place):
        reader, writer = await asyncio.open_connection(*place)
        writer.write(ASKED)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        body = await reader.read()  # until the server closes
        assert body.endswith(b"</html>\n")
        writer.close()
        loop, number = asyncio.get_running_loop(), 400
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, place)
            await loop.sock_sendall(client, ASKED * number)
            found, began = 0, loop.time()
            while found < number:
                piece = await loop.sock_recv(client, 65536)
                assert piece
                found += piece.count(b"</html>\n")
                if loop.time() - began < 0.9:  # three times as long as a connection may rest
                    await asyncio.sleep(0.05)

    with_server(monkeypatch, go)


def test_requests_far_ahead_of_the_answers_are_refused(monkeypatch):
    async def go(place):
        reader, writer = await asyncio.open_connection(*place)
        writer.write(ASKED * 5000)
        found = b""
        with contextlib.suppress(ConnectionError):  # closed with requests unread
            while piece := await reader.read(1 << 20):
                found += piece
        assert found.count(b"HTTP/1.1 200") < 5000
        writer.close()

    with_server(monkeypatch, go)
