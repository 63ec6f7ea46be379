"""Arrays and torch tensors as the C interface sees them; torch is touched only if it is there."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

DTYPE_CODES = {
    "float32": 1,
    "float64": 2,
    "bfloat16": 3,
    "float16": 4,
    "int64": 5,
    "int32": 6,
    "int16": 7,
    "int8": 8,
    "uint8": 9,
    "bool": 10,
}
"""Element types of the C interface (``maccel.h``)."""

Array = np.ndarray[Any, Any]


def is_torch(value: Any) -> bool:
    """Whether a value is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_array(value: Any) -> tuple[Array, str]:
    """Return a value as a contiguous array and the name of its element type.

    bfloat16 becomes uint16 with the same bits. A contiguous CPU tensor or array is not copied.
    """
    if is_torch(value):
        name = str(value.dtype).removeprefix("torch.")
        # Conjugate and negative views are flags that numpy cannot express.
        tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        if name == "bfloat16":
            torch = sys.modules["torch"]
            tensor = tensor.view(torch.int16)
        return _contiguous(tensor.numpy()), name
    array = np.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    name = array.dtype.name
    if name == "bfloat16":  # ml_dtypes
        array = array.view(np.uint16)
    return _contiguous(array), name


def _contiguous(array: Array) -> Array:
    # ascontiguousarray makes 0-d arrays 1-d, and leaves unaligned ones as they are.
    dense = array.flags.c_contiguous and array.flags.aligned
    return array if dense else np.array(array, order="C")


def empty(shape: tuple[int, ...], dtype: str) -> Array:
    """Allocate an output, aligned to 64 bytes (a cache line and a vector register)."""
    kind = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.empty(count * kind.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * kind.itemsize].view(kind).reshape(shape)


def as_torch(array: Array, dtype: str) -> Any:
    """Return an array as a torch tensor that shares its memory."""
    torch = sys.modules["torch"]
    if dtype == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
