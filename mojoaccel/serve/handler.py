"""The HTTP face of the protocol: a request's method, path, headers and body become an answer.

Nothing here knows the web server; whoever has those four calls `Handler.answer`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from mojoaccel.serve.codec import HEADER_LENGTH, decode_request, encode_answer, json_length
from mojoaccel.serve.keys import Keys
from mojoaccel.serve.metrics import metrics_text
from mojoaccel.serve.model import ServedModel
from mojoaccel.serve.openai import OpenAI
from mojoaccel.serve.page import page, page_state
from mojoaccel.serve.plans import make_plan
from mojoaccel.serve.refusal import Refusal, bad
from mojoaccel.serve.service import Arranged, Call, Gone, Service, Tensors

JSON = "application/json"
OCTETS = "application/octet-stream"
OPEN_PATHS = {"/v2/health/live", "/v2/health/ready"}
"""Asked by probes, which have no key."""
WORTH_PACKING = 1024
"""Bytes below which an answer is not compressed."""


@dataclass(slots=True)
class Request:
    """An HTTP request.

    Attributes:
        method: In capitals.
        path: Without the query.
        headers: By lower-case name.
        body: All of it.
        gone: Returns when the client has left; None if that cannot be known.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | bytearray
    gone: Gone | None = None


@dataclass(slots=True)
class Response:
    """An HTTP answer.

    Attributes:
        status: HTTP status.
        body: Pieces of the body.
        content_type: Its type.
        headers: Further headers.
        stream: Pieces that are still to come, sent as they do, instead of `body`.
    """

    status: int
    body: Sequence[bytes | memoryview]
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


def json_response(data: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(status, [orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)])


class Handler:
    """Answers HTTP requests."""

    def __init__(self, service: Service) -> None:
        """Answer for a service."""
        self.service = service
        self.openai = OpenAI(service)
        self._keys = Keys(service.options.api_keys)

    async def answer(self, request: Request) -> Response:
        """Answer a request; refusals become answers, too."""
        openai = request.path.startswith("/v1/")
        try:
            self.authorize(request)
            response = await self._route(request)
        except Refusal as e:
            return refused(e, openai)
        except asyncio.CancelledError:
            raise
        except Exception as e:
            return refused(Refusal(500, f"{type(e).__name__}: {e}"), openai)
        pack(response, request.headers.get("accept-encoding", ""))
        return response

    def authorize(self, request: Request) -> None:
        """Refuse who has no key.

        Raises:
            Refusal: 401.
        """
        if request.path not in OPEN_PATHS:
            self._keys.check(request.headers)

    async def _route(self, request: Request) -> Response:
        parts = request.path.split("/")
        top = parts[1] if len(parts) > 1 else ""
        if top == "v2":
            return await self._v2(request, [unquote(p) for p in parts[2:] if p])
        if top == "v1":
            return await self.openai.answer(request, "/".join(parts[2:]))
        metrics = self.service.options.metrics_port < 0
        if request.path not in ("/", "/page-state", *(["/metrics"] if metrics else [])):
            raise nothing_at(request.path)
        _only(request, "GET", "HEAD")
        if request.path == "/":
            return Response(200, [page()], "text/html; charset=utf-8")
        if request.path == "/metrics":
            text, kind = metrics_text(self.service)
            return Response(200, [text], kind)
        return json_response(page_state(self.service))

    async def _v2(self, request: Request, parts: list[str]) -> Response:
        target = infer_target(request.path)
        if target is not None:
            return await self._infer(request, *target)
        match parts:
            case ["models", *rest]:
                return self._model(request, rest)
            case ["repository", *rest]:
                return await self._repository(request, rest)
        return self._server(request, parts)

    def _server(self, request: Request, parts: list[str]) -> Response:
        match parts:
            case []:
                found = json_response(self.service.metadata())
            case ["health", "live"]:
                found = json_response({"live": True})
            case ["health", "ready"]:
                ready = self.service.ready
                found = json_response({"ready": ready}, 200 if ready else 503)
            case _:
                raise nothing_at(request.path)
        _only(request, "GET", "HEAD")
        return found

    async def _repository(self, request: Request, parts: list[str]) -> Response:
        repository = self.service.repository
        match parts:
            case ["index"]:
                wanted = _read_object(request).get("ready") is True
                return json_response(repository.index(wanted))
            case ["models", name, "load"]:
                _only(request, "POST")
                parameters = _read_object(request).get("parameters")
                await repository.load(name, parameters if isinstance(parameters, dict) else ())
                return json_response({})
            case ["models", name, "unload"]:
                _only(request, "POST")
                repository.unload(name)
                return json_response({})
        raise nothing_at(request.path)

    def _model(self, request: Request, parts: list[str]) -> Response:
        service = self.service
        if parts == ["stats"]:
            _only(request, "GET", "HEAD")
            return json_response(service.model_statistics("", ""))
        name, version, rest = "".join(parts[:1]), "", parts[1:]
        if len(rest) > 1 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        if not name or rest not in ([], ["ready"], ["config"], ["stats"]):
            raise nothing_at(request.path)
        _only(request, "GET", "HEAD")
        match rest:
            case []:
                return json_response(service.model_metadata(name, version))
            case ["ready"]:
                service.repository.find(name, version)
                return json_response({"name": name, "ready": True})
            case ["config"]:
                return json_response(service.repository.find(name, version).config())
        return json_response(service.model_statistics(name, version))

    async def _infer(self, request: Request, name: str, version: str) -> Response:
        _only(request, "POST")
        call = self.read_infer(request, name, version)
        return write_infer(call, await self.service.answer(call, request.gone))

    def read_infer(self, request: Request, name: str, version: str) -> Call:
        """Read an infer request.

        Raises:
            Refusal: It is malformed or does not fit the model, or there is no such model.
        """
        headers, limit = request.headers, self.service.options.max_body

        def decode(model: ServedModel) -> Arranged:
            body = unpack(request.body, headers.get("content-encoding", ""), limit)
            length = json_length(headers.get(HEADER_LENGTH), len(body))
            found = model.plans.read(body, length) if model.plans else None
            if found is not None:
                plan, arrays = found
                return plan.request, arrays, plan
            asked = decode_request(body, length)
            arrays = model.arrange(asked)
            if model.plans is not None:
                outputs = [(p.spec.name, p.datatype) for p in model.outputs]
                model.plans.keep(body, length, make_plan(asked, model.inputs, outputs))
            return asked, arrays, None

        return self.service.read(name, version, decode)


def write_infer(call: Call, tensors: Tensors) -> Response:
    """Return the answer to an infer request."""
    head: dict[str, Any] = {
        "model_name": call.model.name,
        "model_version": call.model.version,
    }
    if call.request.id is not None:
        head["id"] = call.request.id
    pieces, length = encode_answer(head, tensors)
    if length is None:
        return Response(200, pieces)
    return Response(200, pieces, OCTETS, {"inference-header-content-length": str(length)})


@lru_cache(256)
def infer_target(path: str) -> tuple[str, str] | None:
    """Return the model and the version that a path is for, if it is for running a model."""
    match [unquote(p) for p in path.split("/") if p]:
        case ["v2", "models", name, "infer"]:
            return name, ""
        case ["v2", "models", name, "versions", version, "infer"]:
            return name, version
    return None


def nothing_at(path: str) -> Refusal:
    """Return the refusal of a path that means nothing."""
    return Refusal(404, f"there is nothing at {path}")


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        message = f"{request.path} takes {' or '.join(methods)}, not {request.method}"
        raise Refusal(405, message, allow=methods)


def _read_object(request: Request) -> dict[str, Any]:
    """Return the JSON of a request whose body may be empty.

    Raises:
        Refusal: It is no JSON object (400).
    """
    try:
        data = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as e:
        raise bad(f"the request is not valid JSON: {e}") from e
    if not isinstance(data, dict):
        raise bad("the request must be a JSON object")
    return data


def refused(refusal: Refusal, openai: bool = False) -> Response:
    """Return the answer to a request that is refused."""
    content: Any = refusal.message
    if openai:
        kind = "invalid_request_error" if refusal.status < 500 else "server_error"
        content = {"message": refusal.message, "type": kind, "param": None, "code": None}
    response = json_response({"error": content}, refusal.status)
    if refusal.retry_after:
        response.headers["retry-after"] = str(refusal.retry_after)
    if refusal.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if refusal.allow:
        response.headers["allow"] = ", ".join(refusal.allow)
    return response


def unpack(body: bytes | bytearray, coding: str, limit: int) -> bytes | bytearray:
    """Return a body without its content coding.

    Raises:
        Refusal: It is damaged (400), unknown (415), or larger than the limit (413).
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Refusal(415, f"content encoding {coding} is not supported")
    bare = coding == "deflate" and (len(body) < 2 or int.from_bytes(body[:2]) % 31)
    # gzip or zlib, told by the first bytes; some clients send deflate without zlib's head.
    inflater = zlib.decompressobj(-15 if bare else 47)
    try:
        plain = inflater.decompress(body, limit)
    except zlib.error as e:
        raise bad(f"the body is not {coding}: {e}") from e
    if inflater.unconsumed_tail:
        raise Refusal(413, f"the body is larger than {limit} bytes once unpacked")
    if not inflater.eof:
        raise bad(f"the {coding} body ends too soon")
    if inflater.unused_data:
        raise bad(f"{len(inflater.unused_data)} bytes follow the {coding} body")
    return plain


def pack(response: Response, coding: str) -> None:
    """Compress an answer that is worth it; a list of codings leaves the choice to the server."""
    if coding not in ("gzip", "deflate"):
        return
    if response.stream is not None or sum(map(len, response.body)) < WORTH_PACKING:
        return
    deflater = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
    pieces = [deflater.compress(p) for p in response.body]
    response.body = [b"".join(pieces) + deflater.flush()]
    response.headers["content-encoding"] = coding
