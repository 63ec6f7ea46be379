"""Element types: names of the v2 protocol, of PyTorch, and numpy's types for the wire."""

from __future__ import annotations

from typing import Any

import numpy as np

from mojoaccel.serve.refusal import bad

Array = np.ndarray[Any, Any]

WIRE = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16; the bits travel
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Fixed-size datatypes of the protocol; BYTES alone has elements of their own lengths."""

NAMES = {
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
    "bfloat16": "BF16",
    "float32": "FP32",
    "float64": "FP64",
    "complex64": "FP32",
    "complex128": "FP64",
}
"""PyTorch's names -> the protocol's. Complex numbers have none: pairs of floats are sent."""

MODEL_TYPES = {name: "TYPE_" + name for name in WIRE} | {"BYTES": "TYPE_STRING"}
"""The protocol's names -> those of a model configuration."""


def wire_shape(dtype: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape as the protocol shows it: complex numbers have a last axis of 2."""
    return (*shape, 2) if dtype.startswith("complex") else shape


def bfloat16_bits(values: Array) -> Array:
    """Round float32 values to bfloat16 (to nearest, ties to even); return the bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
    quiet = (bits >> 16) | 0x40  # the sum would carry a NaN into infinity
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def bfloat16_values(bits: Array) -> Array:
    """Return bfloat16 bits as float32 values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def from_numbers(data: Any, datatype: str, name: str) -> Array:
    """Return nested or flat JSON numbers as an array.

    Raises:
        Refusal: The data are not numbers of the type, are ragged, or do not fit its range.
    """
    kind = WIRE[datatype]
    try:
        raw = np.array(data)
    except (ValueError, OverflowError, RecursionError) as e:
        raise bad(f"input '{name}': data is not a regular array: {e}") from e
    if raw.size == 0:
        return np.empty(raw.shape, kind)
    if raw.dtype == kind and datatype != "BF16":
        return raw
    if datatype == "BOOL":
        if raw.dtype.kind != "b" and not _is_zero_one(raw):
            raise _not_numbers(name, "booleans", raw)
        return raw.astype(bool)
    if kind.kind in "iu" and datatype != "BF16":
        return _integers(raw, data, kind, name)
    if raw.dtype.kind not in "iuf":
        raise _not_numbers(name, "numbers", raw)
    with np.errstate(over="ignore"):
        if datatype == "BF16":
            return bfloat16_bits(raw.astype(np.float32))
        return raw.astype(kind)


def _is_zero_one(raw: Array) -> bool:
    return raw.dtype.kind in "iu" and bool(((raw == 0) | (raw == 1)).all())


def _integers(raw: Array, data: Any, kind: np.dtype[Any], name: str) -> Array:
    if raw.dtype.kind == "f" and kind.itemsize == 8:  # numpy joins int64 and uint64 as float64
        raw = np.array(data, dtype=object)
        if not all(type(v) is int for v in raw.flat):
            raise bad(f"input '{name}': expected integers, got numbers with a fraction")
    elif raw.dtype.kind not in "iu":
        raise _not_numbers(name, "integers", raw)
    limits = np.iinfo(kind)
    if raw.min() < limits.min or raw.max() > limits.max:
        raise bad(f"input '{name}': a value is outside {limits.min} to {limits.max}")
    return raw.astype(kind)


def _not_numbers(name: str, wanted: str, raw: Array) -> Exception:
    kinds = {"f": "floats", "i": "integers", "u": "integers", "b": "booleans", "U": "strings"}
    return bad(f"input '{name}': expected {wanted}, got {kinds.get(raw.dtype.kind, 'other data')}")
