"""The handler as an ASGI application, and uvicorn's connections with limits on slow clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mojoaccel.serve.handler import Handler, Request, Response, refused
from mojoaccel.serve.refusal import Refusal

MAX_HEADER = 64 << 10
"""Bytes of a request's head."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientLeft(Exception):
    """The connection was closed before the request was complete."""


def application(handler: Handler) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """Return the ASGI application of a handler."""
    options = handler.service.options

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        closing = False
        try:
            body = await read_body(headers, receive, options.max_body, options.body_timeout)
        except ClientLeft:
            return
        except Refusal as e:
            response, closing = refused(e), True  # the rest of the body is not read
        else:

            async def gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass

            path = scope["raw_path"].decode("latin-1")
            request = Request(scope["method"], path, headers, body, gone)
            try:
                response = await handler.answer(request)
            except asyncio.CancelledError:
                return  # the client has left; there is nobody to answer
        await write_response(response, send, closing=closing, head=scope["method"] == "HEAD")

    return app


async def read_body(
    headers: MutableMapping[str, str], receive: Receive, limit: int, timeout: float
) -> bytes | bytearray:
    """Return a request's body; one that came in one piece is not copied.

    Raises:
        Refusal: It is too large (413) or comes too slowly (408).
        ClientLeft: The client has left.
    """
    announced = headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise Refusal(413, f"the body has {announced} bytes, allowed are {limit}")
    message = await _piece(receive, timeout)
    if not message.get("more_body"):
        first: bytes = message.get("body", b"")
        if len(first) > limit:
            raise Refusal(413, f"the body is larger than {limit} bytes")
        return first
    body = bytearray(message.get("body", b""))
    while message.get("more_body"):
        message = await _piece(receive, timeout)
        body += message.get("body", b"")
        if len(body) > limit:
            raise Refusal(413, f"the body is larger than {limit} bytes")
    return body


async def _piece(receive: Receive, timeout: float) -> Message:
    try:
        message = await asyncio.wait_for(receive(), timeout)
    except asyncio.TimeoutError as e:
        raise Refusal(408, f"no part of the body came for {timeout:g} s") from e
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message


async def write_response(response: Response, send: Send, *, closing: bool, head: bool) -> None:
    """Send an answer."""
    headers = [(b"content-type", response.content_type.encode())]
    headers += [(k.encode(), v.encode()) for k, v in response.headers.items()]
    if closing:
        headers.append((b"connection", b"close"))
    if response.stream is None:
        size = sum(map(len, response.body))
        headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.stream is not None:
        async for piece in response.stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = response.body
    joined = b"" if head else body[0] if len(body) == 1 else b"".join(body)
    await send({"type": "http.response.body", "body": joined})


class Connection(HttpToolsProtocol):
    """A connection that gives the head of a request a time and a size."""

    header_timeout = 10.0
    _timer: asyncio.TimerHandle | None = None
    _unread = 0
    _inside = False

    def connection_made(self, transport: Any) -> None:
        """Give the first request its time."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.header_timeout, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that is not complete."""
        super().data_received(data)
        if self._inside:
            self._unread += len(data)
            if self._unread > MAX_HEADER:
                self.send_400_response("the request's head is too large")

    def on_message_begin(self) -> None:
        """Start the timer of a request's head."""
        super().on_message_begin()
        self._inside, self._unread = True, 0
        if self._timer is None:
            self._timer = self.loop.call_later(self.header_timeout, self._too_slow)

    def on_headers_complete(self) -> None:
        """Stop the timer."""
        self._inside = False
        self._stop_timer()
        super().on_headers_complete()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in JSON like every other error."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        body = orjson.dumps({"error": msg})
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()
