"""A client of the Open Inference Protocol that costs little beside the server it measures.

Connections are asyncio protocols on httptools' parser: a general client would take longer for a
request than the server does.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httptools
import numpy as np

from mojoaccel.errors import error

TYPES = {
    **{"BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8"},
    **{"INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8"},
    **{"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"},
}
"""Datatypes of the protocol that requests are made for -> numpy's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens.

    Attributes:
        host: Name or address.
        port: Port.
        tls: TLS settings; None for plain HTTP.
        key: API key; empty for none.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    key: str = ""

    @staticmethod
    def of(url: str, key: str = "", authority: str = "") -> Place:
        """Read ``http://host:port``; `authority` is a file of certificates to trust.

        Raises:
            MojoaccelError: MA903, it is no such address.
        """
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            port = parts.port
        except ValueError as e:
            raise error("MA903", f"--server {url}: {e}") from e
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise error("MA903", f"--server {url} is not http://host:port")
        context = None
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=authority or None)
            except OSError as e:
                raise error("MA712", f"{authority} cannot be used: {e}") from e
        return Place(parts.hostname, port or (443 if context else 80), context, key)

    def message(self, method: str, path: str, body: bytes = b"", head: str = "") -> bytes:
        """Return a request as it is sent."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        text = (
            f"{method} {path} HTTP/1.1\r\nHost: {name}:{self.port}\r\n{key}{head}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return text.encode() + body


class Connection(asyncio.Protocol):
    """A connection that asks one question at a time."""

    def __init__(self) -> None:
        """Wait for the connection."""
        self.transport: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    @staticmethod
    async def open(place: Place) -> Connection:
        """Connect.

        Raises:
            OSError: Nobody listens there.
        """
        loop = asyncio.get_running_loop()
        _, found = await loop.create_connection(Connection, place.host, place.port, ssl=place.tls)
        return found

    @property
    def usable(self) -> bool:
        """Whether another question can be asked."""
        return self.transport is not None and not self.transport.is_closing()

    def ask(self, message: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the future receives status and body, or a ConnectionError."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        return self._answer

    def close(self) -> None:
        """Close the connection."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a piece of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as e:
            self._fail(ConnectionError(f"the answer is no HTTP: {e}"))
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Give the answer to who asked."""
        body, self._body = b"".join(self._body), []
        if not self._parser.should_keep_alive():
            self.transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits for an answer."""
        self._fail(exc or ConnectionError("the server closed the connection"))

    def _fail(self, reason: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(reason)


@dataclass(frozen=True, slots=True)
class Question:
    """An inference request that is sent again and again.

    Attributes:
        model: Name of the model.
        version: Version that the server answered with.
        inputs: Every input as text, such as ``ids INT64[1x128]``.
        message: The request as it is sent.
    """

    model: str
    version: str
    inputs: tuple[str, ...]
    message: bytes


async def fetch(place: Place, path: str, method: str = "GET") -> Any:
    """Return what a server says at a path, read as JSON.

    Raises:
        MojoaccelError: MA802, it cannot be reached or refuses.
    """
    try:
        connection = await Connection.open(place)
        try:
            status, body = await asyncio.wait_for(connection.ask(place.message(method, path)), 30)
        finally:
            connection.close()
    except (OSError, asyncio.TimeoutError) as e:
        raise error("MA802", f"{place.host}:{place.port} cannot be asked: {e}") from e
    return _read(status, body, path)


def _read(status: int, body: bytes, path: str) -> Any:
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    if status != 200 or data is None:
        said = data.get("error") if isinstance(data, dict) else body[:200].decode(errors="replace")
        raise error("MA802", f"{path} was answered with status {status}: {said}")
    return data


async def prepare(
    place: Place, model: str, shapes: Mapping[str, tuple[int, ...]], *, binary: bool
) -> Question:
    """Make a request that fits a model's signature, and check that it is answered.

    Args:
        place: The server.
        model: Name of the model; empty for the only one there is.
        shapes: Shapes of inputs; sizes that vary are 1 where none is given.
        binary: Send and ask for binary tensors, not JSON.

    Raises:
        MojoaccelError: MA802 the server refuses, MA903 no such model, input or shape.
    """
    if not model:
        index = await fetch(place, "/v2/repository/index", "POST")
        names = sorted({m["name"] for m in index if m.get("state", "READY") == "READY"})
        if len(names) != 1:
            raise error("MA903", f"name one of the server's models: {', '.join(names) or 'none'}")
        model = names[0]
    path = f"/v2/models/{quote(model, safe='')}"
    inputs = (await fetch(place, path))["inputs"]
    unknown = shapes.keys() - {i["name"] for i in inputs}
    if unknown:
        raise error("MA903", f"--shape names an unknown input: {', '.join(sorted(unknown))}")
    head, tensors, texts = _tensors(inputs, shapes, binary=binary)
    content = json.dumps(head, separators=(",", ":")).encode()
    length = f"Inference-Header-Content-Length: {len(content)}\r\n" if binary else ""
    message = place.message("POST", f"{path}/infer", content + b"".join(tensors), length)
    version = await _first_answer(place, message, f"{path}/infer", binary=binary)
    return Question(model, version, tuple(texts), message)


def _tensors(
    inputs: Any, shapes: Mapping[str, tuple[int, ...]], *, binary: bool
) -> tuple[dict[str, Any], list[bytes], list[str]]:
    """Return a request's JSON, its binary tensors and a text for every input.

    Floats are drawn from a normal distribution; integers are 1, which is a valid index, token and
    mask nearly everywhere.
    """
    random = np.random.default_rng(0)
    entries, tensors, texts = [], [], []
    for spec in inputs:
        name, datatype, sizes = spec["name"], spec["datatype"], spec["shape"]
        if datatype not in TYPES:
            raise error("MA903", f"input {name}: {datatype} is not measured")
        shape = shapes.get(name) or tuple(1 if s < 0 else s for s in sizes)
        if len(shape) != len(sizes) or any(
            s not in (-1, got) for s, got in zip(sizes, shape, strict=True)
        ):
            raise error("MA903", f"input {name}: {list(shape)} does not fit {sizes}")
        kind = np.dtype(TYPES[datatype])
        values: Any = random.standard_normal(shape) if kind.kind == "f" else np.ones(shape)
        values = values.astype(kind)
        entry: dict[str, Any] = {"name": name, "shape": list(shape), "datatype": datatype}
        if binary:
            entry["parameters"] = {"binary_data_size": values.nbytes}
            tensors.append(values.tobytes())
        else:
            entry["data"] = values.reshape(-1).tolist()
        entries.append(entry)
        texts.append(f"{name} {datatype}[{'x'.join(map(str, shape))}]")
    head: dict[str, Any] = {"inputs": entries}
    if binary:
        head["parameters"] = {"binary_data_output": True}
    return head, tensors, texts


async def _first_answer(place: Place, message: bytes, path: str, *, binary: bool) -> str:
    try:
        connection = await Connection.open(place)
        try:
            status, body = await asyncio.wait_for(connection.ask(message), 60)
        finally:
            connection.close()
    except (OSError, asyncio.TimeoutError) as e:
        raise error("MA802", f"{path} was not answered: {e}") from e
    if status == 200 and binary:
        found, _ = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    else:
        found = _read(status, body, path)
    return str(found.get("model_version", ""))
