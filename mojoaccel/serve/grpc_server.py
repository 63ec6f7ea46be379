"""The protocol over gRPC: `inference.GRPCInferenceService`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from mojoaccel.errors import error
from mojoaccel.serve.codec import (
    InferRequest,
    InputTensor,
    check_shape,
    from_bytes,
    refuse_unsupported,
)
from mojoaccel.serve.datatypes import WIRE, Array, from_numbers
from mojoaccel.serve.keys import Keys
from mojoaccel.serve.model import ServedModel
from mojoaccel.serve.refusal import Refusal, bad
from mojoaccel.serve.service import Arranged, Service

SERVICE = "inference.GRPCInferenceService"
STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
OPEN_METHODS = {"ServerLive", "ServerReady"}
"""Asked by probes, which have no key."""
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""Datatype -> the field that holds its values when they are not sent raw."""


def _load_descriptors() -> Any:
    """Return the descriptors in a pool of their own: clients may use the same names here."""
    pool = descriptor_pool.DescriptorPool()
    data = (Path(__file__).parent / "inference.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


_POOL = _load_descriptors()


def message_class(name: str) -> Any:
    """Return the class of a message of `inference.proto`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"inference.{name}"))


class Calls:
    """The methods of the service; each takes a request message and returns the answer as JSON data.

    Only `ModelInfer` fills its answer itself, because it carries tensors.
    """

    def __init__(self, service: Service) -> None:
        """Answer for a service."""
        self.service = service
        self._answer = message_class("ModelInferResponse")

    async def ServerLive(self, request: Any) -> Any:
        """Whether the process runs."""
        return {"live": True}

    async def ServerReady(self, request: Any) -> Any:
        """Whether new requests are welcome."""
        return {"ready": self.service.ready}

    async def ModelReady(self, request: Any) -> Any:
        """Whether a model is loaded."""
        try:
            self.service.repository.find(request.name, request.version)
        except Refusal:
            return {"ready": False}
        return {"ready": True}

    async def ServerMetadata(self, request: Any) -> Any:
        """What this server is."""
        return self.service.metadata()

    async def ModelMetadata(self, request: Any) -> Any:
        """A model's signature."""
        return self.service.model_metadata(request.name, request.version)

    async def ModelConfig(self, request: Any) -> Any:
        """A model's configuration."""
        return {"config": self.service.repository.find(request.name, request.version).config()}

    async def ModelStatistics(self, request: Any) -> Any:
        """What a model, or every model, served."""
        return self.service.model_statistics(request.name, request.version)

    async def RepositoryIndex(self, request: Any) -> Any:
        """Which models there are."""
        return {"models": self.service.repository.index(request.ready)}

    async def RepositoryModelLoad(self, request: Any) -> Any:
        """Load a model of the served folders."""
        await self.service.repository.load(request.model_name, request.parameters)
        return {}

    async def RepositoryModelUnload(self, request: Any) -> Any:
        """Take a model out."""
        self.service.repository.unload(request.model_name)
        return {}

    async def ModelInfer(self, request: Any) -> Any:
        """Run a model."""

        def decode(model: ServedModel) -> Arranged:
            asked = decode_message(request)
            return asked, model.arrange(asked), None

        call = self.service.read(request.model_name, request.model_version, decode)
        tensors = await self.service.answer(call)
        model = call.model
        answer = self._answer(model_name=model.name, model_version=model.version, id=request.id)
        for output, datatype, array, _ in tensors:
            answer.outputs.add(name=output, datatype=datatype, shape=array.shape)
            answer.raw_output_contents.append(array.tobytes())
        return answer


def decode_message(request: Any) -> InferRequest:
    """Read a ModelInferRequest.

    Raises:
        Refusal: It is malformed.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise bad(f"{len(request.inputs)} inputs, but raw_input_contents has {len(raw)} entries")
    inputs = []
    for at, entry in enumerate(request.inputs):
        refuse_unsupported(entry.parameters, f"input '{entry.name}'")
        shape = check_shape(list(entry.shape), entry.name)
        if entry.datatype not in WIRE and entry.datatype != "BYTES":
            raise bad(f"input '{entry.name}': unknown datatype '{entry.datatype}'")
        if raw:
            array = from_bytes(memoryview(raw[at]), entry.datatype, shape, entry.name)
        else:
            array = _from_contents(entry, shape)
        inputs.append(InputTensor(entry.name, entry.datatype, array))
    for output in request.outputs:
        refuse_unsupported(output.parameters, f"output '{output.name}'")
    parameters = {k: getattr(p, p.WhichOneof("parameter_choice") or "int64_param")
                  for k, p in request.parameters.items()}  # fmt: skip
    return InferRequest(
        request.id or None, inputs, {o.name: True for o in request.outputs}, True, parameters
    )


def _from_contents(entry: Any, shape: tuple[int, ...]) -> Array:
    field = CONTENTS.get(entry.datatype)
    if field is None:
        raise bad(f"input '{entry.name}': {entry.datatype} must come as raw_input_contents")
    values = list(getattr(entry.contents, field))
    if len(values) != int(np.prod(shape, dtype=object)):
        raise bad(
            f"input '{entry.name}': shape {list(shape)}, but {field} has {len(values)} values"
        )
    return from_numbers(values, entry.datatype, entry.name).reshape(shape)


async def start_grpc(service: Service) -> tuple[Any, str]:
    """Start the gRPC listener; return it and its ``host:port``.

    Raises:
        MojoaccelError: MA711, it cannot listen.
    """
    options = service.options
    limits = [
        ("grpc.max_receive_message_length", options.max_body),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=limits)
    server.add_generic_rpc_handlers((_handlers(service),))
    host = f"[{options.host}]" if ":" in options.host else options.host
    place = f"{host}:{options.grpc_port}"
    try:
        if options.tls_cert and options.tls_key:
            pair = (options.tls_key.read_bytes(), options.tls_cert.read_bytes())
            port = server.add_secure_port(place, grpc.ssl_server_credentials([pair]))
        else:
            port = server.add_insecure_port(place)
    except (RuntimeError, OSError) as e:
        raise error("MA711", f"cannot listen on {place} for gRPC") from e
    await server.start()
    return server, f"{host}:{port}"


def _handlers(service: Service) -> Any:
    calls = Calls(service)
    keys, none = Keys(service.options.api_keys), Keys(())
    found = {}
    described = _POOL.FindServiceByName(SERVICE)
    for method in described.methods:
        found[method.name] = grpc.unary_unary_rpc_method_handler(
            _guarded(
                getattr(calls, method.name),
                message_class(method.input_type.name),
                message_class(method.output_type.name),
                none if method.name in OPEN_METHODS else keys,
            ),
            response_serializer=message_class(method.output_type.name).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(SERVICE, found)


def _guarded(call: Callable[[Any], Awaitable[Any]], takes: Any, gives: Any, keys: Keys) -> Any:
    """Return a call that checks the key, reads the request, and refuses by gRPC's status."""

    async def answer(request: bytes, context: Any) -> Any:
        try:
            keys.check(dict(context.invocation_metadata() or ()))
            data = await call(_read(request, takes))
        except Refusal as e:
            status = STATUS.get(e.status, grpc.StatusCode.INTERNAL)
            await context.abort(status, e.message)
        if isinstance(data, gives):
            return data
        return json_format.ParseDict(data, gives(), descriptor_pool=_POOL)

    return answer


def _read(data: bytes, kind: Any) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as e:  # gRPC itself would call it an internal error
        raise bad(f"the request is no {kind.DESCRIPTOR.name}") from e
