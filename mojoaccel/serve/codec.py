"""Reads and writes v2 inference requests and answers: JSON with binary tensors behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from mojoaccel.serve.datatypes import WIRE, Array, bfloat16_values, from_numbers
from mojoaccel.serve.refusal import bad

HEADER_LENGTH = "inference-header-content-length"
MAX_ELEMENTS = 1 << 40


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input of a request.

    Attributes:
        name: As the client called it.
        datatype: Name of the protocol.
        array: The values; binary ones share the request's memory.
        binary: Whether they came binary.
    """

    name: str
    datatype: str
    array: Array
    binary: bool = True


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks for.

    Attributes:
        id: Echoed in the answer; None if not given.
        inputs: Tensors in the client's order.
        outputs: Wanted outputs and whether each is wanted binary; empty means all.
        binary: Whether outputs that say nothing are wanted binary.
        parameters: The request's own parameters.
    """

    id: str | None
    inputs: Sequence[InputTensor]
    outputs: Mapping[str, bool | None] = field(default_factory=dict)
    binary: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def wants_binary(self, output: str) -> bool:
        """Whether an output is wanted binary."""
        chosen = self.outputs.get(output)
        return self.binary if chosen is None else chosen


def decode_request(body: bytes | bytearray | memoryview, length: int) -> InferRequest:
    """Read the body of an infer request.

    Args:
        body: JSON, with raw tensors behind it.
        length: Bytes of the JSON.

    Raises:
        Refusal: The request is malformed; names the input, what was expected and what came.
    """
    view = memoryview(body)
    try:
        data = orjson.loads(view[:length])
    except orjson.JSONDecodeError as e:
        raise bad(f"the request is not valid JSON: {e}") from e
    if not isinstance(data, dict):
        raise bad("the request must be a JSON object")
    entries = data.get("inputs")
    if not isinstance(entries, list) or not entries:
        raise bad("the request must have a list of 'inputs'")
    rest = view[length:]
    inputs = []
    for entry in entries:
        tensor, used = _decode_input(entry, rest)
        rest = rest[used:]
        inputs.append(tensor)
    if len(rest):
        raise bad(f"{len(rest)} bytes are left behind the last binary input")
    name = data.get("id")
    if name is not None and not isinstance(name, str):
        raise bad("'id' must be a string")
    parameters = _parameters(data, "the request")
    binary = parameters.get("binary_data_output", False) is True
    return InferRequest(name, inputs, _decode_outputs(data), binary, parameters)


def json_length(text: str | None, size: int) -> int:
    """Return how many bytes of a body are JSON.

    Args:
        text: Value of the header that says so; None if all is JSON.
        size: Bytes of the body.

    Raises:
        Refusal: The header is no number, or larger than the body.
    """
    if text is None:
        return size
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > size:
        raise bad(f"Inference-Header-Content-Length is '{text}', the body has {size} bytes")
    return int(text)


def _parameters(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = entry.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise bad(f"'parameters' of {where} must be an object")
    refuse_unsupported(found, where)
    return found


def refuse_unsupported(parameters: Iterable[str], where: str) -> None:
    """Refuse what would change the answer if it were overlooked.

    Raises:
        Refusal: Shared memory or classification is asked for.
    """
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise bad(f"{where}: parameter '{name}' is not supported")


def _decode_outputs(data: Mapping[str, Any]) -> dict[str, bool | None]:
    entries = data.get("outputs")
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise bad("'outputs' must be a list")
    found: dict[str, bool | None] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise bad("every entry of 'outputs' needs a 'name'")
        binary = _parameters(entry, f"output '{entry['name']}'").get("binary_data")
        found[entry["name"]] = binary if isinstance(binary, bool) else None
    return found


def check_shape(shape: Any, name: str) -> tuple[int, ...]:
    """Return a shape as a tuple.

    Raises:
        Refusal: It is not a list of sizes, or is absurdly large.
    """
    if not isinstance(shape, list) or [s for s in shape if type(s) is not int or s < 0]:
        raise bad(f"input '{name}': 'shape' must be a list of non-negative integers")
    if len(shape) > 32 or math.prod([s or 1 for s in shape]) > MAX_ELEMENTS:
        raise bad(f"input '{name}': shape {shape[:8]} is too large")
    return tuple(shape)


def _decode_input(entry: Any, rest: memoryview) -> tuple[InputTensor, int]:
    """Return a tensor and how many bytes behind the JSON it used."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise bad("every entry of 'inputs' needs a 'name'")
    name, datatype = entry["name"], entry.get("datatype")
    shape = check_shape(entry.get("shape"), name)
    if not isinstance(datatype, str) or (datatype not in WIRE and datatype != "BYTES"):
        raise bad(f"input '{name}': unknown datatype {datatype!r}")
    size = _parameters(entry, f"input '{name}'").get("binary_data_size")
    if size is None:
        return InputTensor(name, datatype, _from_json(entry, name, datatype, shape), False), 0
    if type(size) is not int or size < 0:
        raise bad(f"input '{name}': 'binary_data_size' must be a non-negative integer")
    if size > len(rest):
        raise bad(f"input '{name}': binary_data_size is {size}, {len(rest)} bytes are left")
    return InputTensor(name, datatype, from_bytes(rest[:size], datatype, shape, name)), size


def _from_json(entry: Mapping[str, Any], name: str, datatype: str, shape: tuple[int, ...]) -> Array:
    data = entry.get("data")
    if data is None:
        raise bad(f"input '{name}': neither 'data' nor 'binary_data_size' is given")
    if datatype == "BYTES":
        array: Array = np.array(data, dtype=object)
    else:
        array = from_numbers(data, datatype, name)
    if array.size != math.prod(shape):
        raise bad(
            f"input '{name}': shape {list(shape)} has {math.prod(shape)} elements, "
            f"'data' has {array.size}"
        )
    return array.reshape(shape)


def from_bytes(data: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """Return raw little-endian bytes as an array that shares their memory.

    Raises:
        Refusal: The number of bytes does not fit the shape.
    """
    if datatype == "BYTES":
        array = np.array(split_strings(data, name), dtype=object)
        if array.size != math.prod(shape):
            raise bad(f"input '{name}': shape {list(shape)}, but {array.size} strings came")
        return array.reshape(shape)
    kind = WIRE[datatype]
    expected = math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise bad(
            f"input '{name}': {datatype}{list(shape)} takes {expected} bytes, got {len(data)}"
        )
    return np.frombuffer(data, kind).reshape(shape)


def split_strings(data: memoryview, name: str) -> list[bytes]:
    """Return the strings of a BYTES tensor: each behind its length as four bytes.

    Raises:
        Refusal: A length points behind the end.
    """
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + size > len(data):
            raise bad(f"input '{name}': a string of {size} bytes goes beyond the tensor's end")
        found.append(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def encode_answer(
    head: dict[str, Any], tensors: Sequence[tuple[str, str, Array, bool]]
) -> tuple[list[bytes | memoryview], int | None]:
    """Write an answer.

    Args:
        head: Model name, version and id; its ``outputs`` are added.
        tensors: (name, datatype, values, whether binary) in order.

    Returns:
        Pieces of the body (binary tensors share the arrays' memory), and the length of the JSON
        if binary tensors follow.
    """
    outputs: list[dict[str, Any]] = []
    pieces: list[bytes | memoryview] = [b""]
    for name, datatype, values, binary in tensors:
        entry = {"name": name, "shape": values.shape, "datatype": datatype}
        if binary:
            entry["parameters"] = {"binary_data_size": values.nbytes}
            if values.size:  # an empty view cannot be cast
                flat: Any = np.ascontiguousarray(values).reshape(-1)
                pieces.append(memoryview(flat).cast("B"))
        else:
            entry["data"] = json_values(values, datatype)
        outputs.append(entry)
    head["outputs"] = outputs
    pieces[0] = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    binary = any(t[3] for t in tensors)
    return pieces, len(pieces[0]) if binary else None


def json_values(values: Array, datatype: str) -> Any:
    """Return values as orjson prints them flat: an array of a type it knows, contiguous."""
    if datatype == "BF16":
        values = bfloat16_values(values)
    elif datatype == "FP16":
        values = values.astype(np.float32)
    return np.ascontiguousarray(values).reshape(-1)
