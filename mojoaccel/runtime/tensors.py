"""Arrays and torch tensors as the C interface sees them.

torch is never imported, only used where the caller's tensors show that it is there.
"""

from __future__ import annotations

import sys
from ctypes import addressof, c_char
from typing import Any, NamedTuple

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
    "complex64": 11,
    "complex128": 12,
    "uint16": 13,
    "uint32": 14,
    "uint64": 15,
}
"""Element types of the C interface (``maccel.h``)."""

ALIGNMENT = 64
"""Bytes: a cache line and a vector register."""

Array = np.ndarray[Any, Any]
_byte_of: Any = c_char.from_buffer
Shape = tuple[int, ...]

_KINDS = {n: np.dtype("uint16" if n == "bfloat16" else n) for n in DTYPE_CODES}
_NAMES = {kind: kind.name for kind in _KINDS.values()}
"""Types in this machine's byte order; others take the slow way."""


class Operand(NamedTuple):
    """One tensor of a call.

    Attributes:
        shape: Its sizes.
        dtype: PyTorch's name of the element type.
        address: Of its first element.
        owner: What keeps the memory alive.
    """

    shape: Shape
    dtype: str
    address: int
    owner: Any


def is_torch(value: Any) -> bool:
    """Whether a value is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def read_operand(value: Any) -> Operand:
    """Return a value as the C interface takes it; dense CPU memory is not copied."""
    if type(value) is np.ndarray:
        name = _NAMES.get(value.dtype)
        flags = value.flags
        if name is not None and flags.c_contiguous and flags.aligned:
            return Operand(value.shape, name, address_of(value), value)
    elif is_torch(value) and _is_dense(value):
        return Operand(tuple(value.shape), _torch_name(value.dtype), value.data_ptr(), value)
    array, name = as_array(value)
    return Operand(array.shape, name, address_of(array), array)


def _is_dense(tensor: Any) -> bool:
    """Whether a tensor's memory can be read as it is: no conjugate or negative view, no strides."""
    return bool(
        tensor.is_cpu
        and tensor.layout is sys.modules["torch"].strided
        and tensor.is_contiguous()
        and not tensor.is_neg()
        and not tensor.is_conj()
    )


_torch_names: dict[Any, str] = {}


def _torch_name(dtype: Any) -> str:
    name = _torch_names.get(dtype)
    if name is None:
        name = _torch_names[dtype] = str(dtype).removeprefix("torch.")
    return name


def address_of(array: Array) -> int:
    """Return the address of an array's first element."""
    try:
        return addressof(_byte_of(array))  # a fifth of the time of the other way
    except (TypeError, ValueError):  # read-only or empty
        return int(array.__array_interface__["data"][0])


def as_array(value: Any) -> tuple[Array, str]:
    """Return a value as a dense array and the name of its element type.

    bfloat16 becomes uint16 with the same bits.
    """
    if is_torch(value):
        name = _torch_name(value.dtype)
        tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        if name == "bfloat16":
            tensor = tensor.view(sys.modules["torch"].int16)
            return tensor.numpy().view(np.uint16), name
        return tensor.numpy(), name
    foreign = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
    array = np.from_dlpack(value) if foreign else np.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    name = array.dtype.name
    if name == "bfloat16":  # ml_dtypes
        array = array.view(np.uint16)
    # ascontiguousarray would make 0-d arrays 1-d and leave unaligned ones as they are.
    dense = array.flags.c_contiguous and array.flags.aligned
    return array if dense else np.array(array, order="C"), name


def storage_kind(dtype: str) -> np.dtype[Any]:
    """Return the numpy type that holds a tensor's bytes (bfloat16 as uint16)."""
    return _KINDS[dtype]


def new_array(shape: Shape, dtype: str) -> Operand:
    """Allocate an output; large ones start at a multiple of `ALIGNMENT`."""
    kind = _KINDS[dtype]
    array: Array = np.empty(shape, kind)
    if array.nbytes >= 1024 and address_of(array) % ALIGNMENT:
        raw = np.empty(array.nbytes + ALIGNMENT, np.uint8)
        start = -address_of(raw) % ALIGNMENT
        array = raw[start : start + array.nbytes].view(kind).reshape(shape)
    return Operand(shape, dtype, address_of(array), array)


def new_tensor(shape: Shape, dtype: str) -> Operand:
    """Allocate an output as a torch tensor (which torch aligns to 64 bytes)."""
    torch: Any = sys.modules["torch"]
    tensor = torch.empty(shape, dtype=getattr(torch, dtype), device="cpu")
    return Operand(shape, dtype, tensor.data_ptr(), tensor)


def as_tensor(array: Array, dtype: str) -> Any:
    """Return an array as a torch tensor that shares its memory (bfloat16 is stored as uint16)."""
    torch: Any = sys.modules["torch"]
    if dtype == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
