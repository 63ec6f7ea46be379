"""Element types and tensor types."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mojoaccel.ir.dims import Size, parse_size, size_prod


@dataclass(frozen=True, slots=True)
class DType:
    """An element type under its PyTorch short name.

    Attributes:
        name: ``f32``, ``i64``, ... as torch.export prints it.
        torch: Name of the torch dtype.
        mojo: Name of the Mojo DType of the stored element (bool is stored as a byte).
        size: Bytes per element.
        kind: ``f`` float, ``i`` signed, ``u`` unsigned, ``b`` bool, ``c`` complex.
        code: Number that stands for the type in the C ABI.
    """

    name: str
    torch: str
    mojo: str
    size: int
    kind: str
    code: int

    def __str__(self) -> str:
        """Return the short name."""
        return self.name

    @property
    def is_float(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.kind == "f"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy type that holds the same bytes (bfloat16 as uint16)."""
        return np.dtype({"bf16": "uint16"}.get(self.name, self.torch))


F32 = DType("f32", "float32", "float32", 4, "f", 1)
F64 = DType("f64", "float64", "float64", 8, "f", 2)
BF16 = DType("bf16", "bfloat16", "bfloat16", 2, "f", 3)
F16 = DType("f16", "float16", "float16", 2, "f", 4)
I64 = DType("i64", "int64", "int64", 8, "i", 5)
I32 = DType("i32", "int32", "int32", 4, "i", 6)
I16 = DType("i16", "int16", "int16", 2, "i", 7)
I8 = DType("i8", "int8", "int8", 1, "i", 8)
U8 = DType("u8", "uint8", "uint8", 1, "u", 9)
BOOL = DType("b8", "bool", "uint8", 1, "b", 10)
C64 = DType("c64", "complex64", "float32", 8, "c", 11)
C128 = DType("c128", "complex128", "float64", 16, "c", 12)
U16 = DType("u16", "uint16", "uint16", 2, "u", 13)
U32 = DType("u32", "uint32", "uint32", 4, "u", 14)
U64 = DType("u64", "uint64", "uint64", 8, "u", 15)

DTYPES: dict[str, DType] = {
    d.name: d for d in (F32, F64, BF16, F16, I64, I32, I16, I8, U8, BOOL, C64, C128, U16, U32, U64)
}
BY_TORCH: dict[str, DType] = {d.torch: d for d in DTYPES.values()}


@dataclass(frozen=True, slots=True)
class TensorType:
    """An element type and a shape of integers or dim expressions."""

    dtype: DType
    shape: tuple[Size, ...]

    def __str__(self) -> str:
        """Print as torch.export does: ``f32[b, 1024]``."""
        return f"{self.dtype}[{', '.join(str(s) for s in self.shape)}]"

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def numel(self) -> Size:
        """Number of elements."""
        return size_prod(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is an integer."""
        return all(isinstance(s, int) for s in self.shape)


def parse_type(text: str) -> TensorType:
    """Read a type printed by `str(TensorType)`.

    Raises:
        ValueError: `text` is not a tensor type.
    """
    match = re.fullmatch(r"(\w+)\[(.*)\]", text.strip())
    if not match or match[1] not in DTYPES:
        raise ValueError(f"not a tensor type: {text}")
    return TensorType(DTYPES[match[1]], tuple(parse_size(p) for p in split_args(match[2])))


def split_args(text: str) -> list[str]:
    """Split at top-level commas: ``'a, max(b, c)'`` gives ``['a', 'max(b, c)']``."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [p.strip() for p in parts if p.strip()]
