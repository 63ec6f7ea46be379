"""uvicorn's connections, with limits on slow clients and a short way for infer requests.

Whatever else is asked goes through ASGI, and so do infer requests that are unusual: chunked,
pipelined, of HTTP/1.0, or before an answer that the client does not read. A request that is here in
one piece and begins with a head that came before is not parsed again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mojoaccel.serve.asgi import WHOLE, head_bytes
from mojoaccel.serve.exchange import Exchange
from mojoaccel.serve.handler import Handler, Request, Response, infer_target
from mojoaccel.serve.heads import Head, Heads

MAX_HEADER = 64 << 10
"""Bytes of a request's head."""
MAX_AHEAD = 1000
"""Requests that a client may send before it has the answer to the first."""
MIN_RATE = 500
"""Bytes a second that a body must come with, as Apache has it: a byte now and then is no body."""


class Connection(HttpToolsProtocol):
    """A connection that gives the parts of a request a time and a size.

    Attributes:
        handler: Answers infer requests.
        heads: Of the requests that came before, on any connection.
        header_timeout: Seconds for a request's head.
        body_timeout: Seconds in which a body must come along, or end.
    """

    handler: Handler
    heads: Heads
    header_timeout = 10.0
    body_timeout = 20.0
    _timer: asyncio.TimerHandle | None = None
    _awaited = "head"  # what the client owes: the rest of a head, of a body, or nothing
    _unread = 0  # bytes of a head that is not complete
    _begun = 0  # requests that began in the data that came last
    _asked: tuple[str, str] | None = None  # model and version of an infer request
    _body: bytearray | None = None  # its body, while it is being read
    _piece = b""  # data that begin with a request, while they are parsed
    _exchange: Exchange | None = None  # an infer request that is being answered
    _came = -1  # bytes of a body since its timer was started; -1: it was not
    _stuck = 0  # bytes that the client had not taken at the last look
    _rested = 0.0  # the loop's time of the last answer
    _last = False

    def connection_made(self, transport: Any) -> None:
        """Give the first request its time."""
        super().connection_made(transport)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._start_timer(self.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, and a request that nobody waits for any more."""
        self._stop_timer()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Look at what is still owed once the data are read; mostly they are a whole request."""
        if self._exchange is not None:
            self._exchange.settle()
        between = not self._awaited or not (self._unread or self._awaited == "body")
        if between:
            found = self.heads.find(data) if self._is_free() else None
            if found is not None:
                self._stop_timer()
                self._awaited = ""
                self._exchange_with(*found)
                return
            self._piece = data
        self._begun = 0
        super().data_received(data)
        self._piece = b""
        if len(self.pipeline) > MAX_AHEAD:  # uvicorn reads on, whatever waits
            self.send_400_response("too many requests were sent ahead of the answers")
            return
        if self._awaited == "head":
            alone = not self._begun or (between and self._begun == 1)
            self._unread += len(data) if alone else 1  # how much is not the head's is not known
            if self._unread > MAX_HEADER:
                self.send_400_response("the request's head is too large")
            elif self._timer is None:  # a head's time is not renewed by every byte of it
                self._start_timer(self.header_timeout)
            return
        if self._awaited and self._came >= 0:
            self._came += len(data)
            return
        self._stop_timer()
        if self._awaited and not self.transport.is_closing():
            self._came = 0
            self._start_timer(self.body_timeout)

    def on_message_begin(self) -> None:
        """Note that a head follows."""
        self._awaited, self._unread, self._body = "head", 0, None
        self._begun += 1
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        """Note that a body follows, and choose the way of the request."""
        self._awaited, self._came = "body", -1
        self._asked = self._target()
        if self._asked is not None:
            self._body = bytearray()
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes ASGI's scope
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Note that nothing follows, and begin to answer."""
        self._awaited = ""
        body, self._body = self._body, None
        if body is None or self._asked is None:
            super().on_message_complete()
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in self.headers}
        path = self.url.partition(b"?")[0].decode("latin-1")
        head = Head(*self._asked, path, headers, len(body))
        self.heads.keep(self._piece, head)
        self._exchange_with(head, body)

    def _exchange_with(self, head: Head, body: bytes | bytearray) -> None:
        """Begin to answer an infer request."""
        plain = self.scheme == "http" and not self.transport.get_write_buffer_size()
        request = Request("POST", head.path, head.headers, body)
        send = self._send_now if plain else None
        self._exchange = exchange = Exchange(self.handler, request, self._write, send)
        exchange.begin(head.name, head.version)

    def _target(self) -> tuple[str, str] | None:
        """Return the model and version that are to be run without ASGI."""
        parser = self.parser
        if parser.get_method() != b"POST" or not self._is_free() or not self._is_plain():
            return None
        return infer_target(self.url.partition(b"?")[0].decode("latin-1"))

    def _is_free(self) -> bool:
        """Whether every earlier request is answered, and the client takes the answers."""
        answered = self.cycle is None or self.cycle.response_complete
        waiting = self._exchange is not None or self.pipeline or self.flow.write_paused
        return answered and not waiting

    def _is_plain(self) -> bool:
        """Whether a request has a body of known size, and leaves the connection as it is."""
        parser = self.parser
        if self.expect_100_continue or parser.should_upgrade() or not parser.should_keep_alive():
            return False
        length, chunked = b"", False
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                chunked = True
        allowed = length.isdigit() and int(length) <= self.handler.service.options.max_body
        return allowed and not chunked and parser.get_http_version() == "1.1"

    def _write(self, answer: Sequence[Any]) -> None:
        """Send the answer to an infer request."""
        self._exchange = None
        if self.transport.is_closing():
            return
        if answer:
            self._send(b"".join(answer))
        if self._last:
            self.transport.close()
        self.on_response_complete()

    def _send(self, data: bytes) -> None:
        """Send bytes now, not at the end of the loop's turn: what is counted comes after them."""
        sent = 0
        if data and self.scheme == "http" and not self.transport.get_write_buffer_size():
            sent = self._send_now(data)
        if sent < len(data):
            self.transport.write(memoryview(data)[sent:])

    def _send_now(self, data: bytes) -> int:
        """Send what the socket takes; the descriptor is valid until `connection_lost` is over."""
        with contextlib.suppress(OSError):  # the loop finds out, and tells `connection_lost`
            return os.write(self._descriptor, data)
        return 0

    def on_response_complete(self) -> None:
        """Begin the next request if it is here already."""
        self.server_state.total_requests += 1
        # One timer serves all rests of a connection: making one for each takes its time.
        self._rested = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._await_next(self.timeout_keep_alive)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.scope["extensions"] = {WHOLE: partial(self._send_whole, cycle)}
        if self._exchange is None:
            super()._start_asgi_task(cycle, app)
        else:  # answers go out in the requests' order
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    async def _send_whole(self, cycle: Any, response: Response, closing: bool) -> None:
        """Send a complete answer to a request that came through ASGI."""
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        closing = closing or not cycle.keep_alive
        cycle.response_started = cycle.response_complete = True
        body = () if cycle.scope["method"] == "HEAD" else response.body
        self.transport.write(b"".join((head_bytes(response, closing), *body)))
        cycle.message_event.set()
        if closing:
            self.transport.close()
        cycle.on_response()

    def shutdown(self) -> None:
        """Close the connection once what is being answered is."""
        if self._exchange is not None:
            self._last = True
        else:
            super().shutdown()

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer: it looks itself whether the connection rests."""

    def _await_next(self, seconds: float) -> None:
        timer = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
        self.timeout_keep_alive_task = timer

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has rested too long, or whose client takes no answer."""
        self.timeout_keep_alive_task = None
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent == self._stuck:
            self.transport.abort()  # closing would wait for the client
            return
        self._stuck = unsent
        answered = self.cycle is None or self.cycle.response_complete
        resting = answered and self._exchange is None and not self._awaited
        left = self._rested + self.timeout_keep_alive - self.loop.time()
        if unsent or not resting:
            self._await_next(self.timeout_keep_alive)
        elif left > 0:
            self._await_next(left)
        elif not self.transport.is_closing():
            self.transport.close()

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
        before = self._exchange is not None or (answering and self._awaited == "head")
        quick = self._awaited == "body" and self._came >= self.body_timeout * MIN_RATE
        if self.pipeline or before or quick:  # before: an earlier request is being answered
            self._came = min(self._came, 0)
            self._start_timer(self.body_timeout)
        elif self._body is not None or (answering and not self.cycle.response_started):
            few = f"less than {MIN_RATE} bytes a second for {self.body_timeout:g} s"
            self._refuse(408, f"the body came too slowly: {few}")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in JSON like every other error."""
        self._stop_timer()
        if self._exchange is not None:
            self._exchange.cancel()
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
