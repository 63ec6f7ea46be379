"""The handler as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mojoaccel.serve.handler import Handler, Request, Response, refused
from mojoaccel.serve.refusal import Refusal

WHOLE = "mojoaccel.whole"
"""ASGI extension of `connection`: sends a complete answer in one packet. As ASGI's two messages the
head and the body leave in a packet each, and a client wakes twice. Other servers have none."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientLeft(Exception):
    """The connection was closed before the request was complete."""


def application(handler: Handler) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """Return the ASGI application of a handler."""
    limit = handler.service.options.max_body

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        closing = False
        try:
            body = await read_body(headers, receive, limit)
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
        await write_response(response, scope, send, closing)

    return app


async def read_body(
    headers: MutableMapping[str, str], receive: Receive, limit: int
) -> bytes | bytearray:
    """Return a request's body; one that came in one piece is not copied.

    Raises:
        Refusal: It is too large (413).
        ClientLeft: The client has left.
    """
    announced = headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise Refusal(413, f"the body has {announced} bytes, allowed are {limit}")
    body: bytes | bytearray = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        if not body:
            body = bytearray(piece) if more else piece
        else:
            body += piece
        if len(body) > limit:
            raise Refusal(413, f"the body is larger than {limit} bytes")
    return body


async def write_response(response: Response, scope: Any, send: Send, closing: bool) -> None:
    """Send an answer, at once where it is complete and the server can."""
    whole = scope.get("extensions", {}).get(WHOLE)
    if whole is not None and response.stream is None:
        await whole(response, closing)
        return
    head = response_head(response, closing)
    if response.stream is not None:
        await send({"type": "http.response.start", "status": response.status, "headers": head})
        async for piece in response.stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = response.body[0] if len(response.body) == 1 else b"".join(response.body)
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.start", "status": response.status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def head_bytes(response: Response, closing: bool = False) -> bytes:
    """Return the head of an answer whose body is complete; `closing`: nothing follows it."""
    more = "".join([f"{k}: {v}\r\n" for k, v in response.headers.items()])
    if closing:
        more += "connection: close\r\n"
    length = sum(map(len, response.body))
    text = f"content-type: {response.content_type}\r\n{more}content-length: {length}\r\n\r\n"
    return STATUS_LINE[response.status] + text.encode()


def response_head(response: Response, closing: bool) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers."""
    headers = [(b"content-type", response.content_type.encode())]
    headers += [(k.encode(), v.encode()) for k, v in response.headers.items()]
    if closing:
        headers.append((b"connection", b"close"))
    if response.stream is None:
        headers.append((b"content-length", b"%d" % sum(map(len, response.body))))
    return headers
