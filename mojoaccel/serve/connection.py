"""uvicorn's connections, with limits on slow clients and answers that leave in one packet."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mojoaccel.serve.asgi import WHOLE

MAX_HEADER = 64 << 10
"""Bytes of a request's head."""


class Connection(HttpToolsProtocol):
    """A connection that gives the parts of a request a time and a size.

    Attributes:
        header_timeout: Seconds for a request's head.
        body_timeout: Seconds between two pieces of a body.
    """

    header_timeout = 10.0
    body_timeout = 20.0
    _timer: asyncio.TimerHandle | None = None
    _awaited = "head"  # what the client owes: the rest of a head, of a body, or nothing
    _unread = 0

    def connection_made(self, transport: Any) -> None:
        """Give the first request its time."""
        super().connection_made(transport)
        self._start_timer(self.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Look at what is still owed once the data are read; mostly they are a whole request."""
        super().data_received(data)
        if self._awaited == "head":
            self._unread += len(data)
            if self._unread > MAX_HEADER:
                self.send_400_response("the request's head is too large")
            elif self._timer is None:  # a head's time is not renewed by every byte of it
                self._start_timer(self.header_timeout)
            return
        self._stop_timer()
        if self._awaited and not self.transport.is_closing():
            self._start_timer(self.body_timeout)

    def on_message_begin(self) -> None:
        """Note that a head follows."""
        super().on_message_begin()
        self._awaited, self._unread = "head", 0

    def on_headers_complete(self) -> None:
        """Note that a body follows."""
        self._awaited = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that nothing follows."""
        self._awaited = ""
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.scope["extensions"] = {WHOLE: partial(self._send_whole, cycle)}
        super()._start_asgi_task(cycle, app)

    async def _send_whole(
        self, cycle: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Send an answer whose body is complete; `headers` has its length."""
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        parts = [STATUS_LINE[status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection":
                cycle.keep_alive = False
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _start_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.pipeline or (answering and self._awaited == "head"):
            self._start_timer(self.body_timeout)  # an earlier request is still being answered
        elif answering and not self.cycle.response_started:
            self._refuse(408, f"no part of the body came for {self.body_timeout:g} s")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in JSON like every other error."""
        self._stop_timer()
        if not self.transport.is_closing():
            self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        body = orjson.dumps({"error": message})
        head = (
            b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
