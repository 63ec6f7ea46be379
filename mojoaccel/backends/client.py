"""A small client of the Open Inference Protocol v2 over HTTP, with binary tensors."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

Array = np.ndarray[Any, Any]
WIRE = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""Names of numpy's types in the protocol."""
KINDS = {v: np.dtype(k) for k, v in WIRE.items()}
HEADER = "Inference-Header-Content-Length"


class ServerRefused(RuntimeError):
    """The server's answer to a request it does not take."""


def infer(
    url: str, model: str, inputs: Mapping[str, Any], timeout: float = 60.0
) -> dict[str, Array]:
    """Run a model on a server.

    Args:
        url: Base URL.
        model: Its name.
        inputs: Arrays (or what numpy makes arrays of) by name.
        timeout: Seconds to wait.

    Returns:
        The outputs by name.

    Raises:
        ServerRefused: The server's error.
        OSError: There is no server.
    """
    arrays = {n: np.ascontiguousarray(v) for n, v in inputs.items()}
    entries = [
        {
            "name": name,
            "shape": list(a.shape),
            "datatype": WIRE[a.dtype.name],
            "parameters": {"binary_data_size": a.nbytes},
        }
        for name, a in arrays.items()
    ]
    asked = {"inputs": entries, "parameters": {"binary_data_output": True}}
    head = json.dumps(asked).encode()
    body = head + b"".join(a.tobytes() for a in arrays.values())
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=timeout)
    try:
        path = f"/v2/models/{quote(model, safe='')}/infer"
        connection.request("POST", path, body, {HEADER: str(len(head))})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ServerRefused(json.loads(content).get("error", content[:200]))
    return _read(content, int(answer.headers.get(HEADER) or len(content)))


def _read(content: bytes, length: int) -> dict[str, Array]:
    found: dict[str, Array] = {}
    at = length
    for entry in json.loads(content[:length])["outputs"]:
        kind, shape = KINDS[entry["datatype"]], entry["shape"]
        size = entry.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[entry["name"]] = np.array(entry["data"], kind).reshape(shape)
            continue
        found[entry["name"]] = np.frombuffer(content, kind, size // kind.itemsize, at).reshape(
            shape
        )
        at += size
    return found
