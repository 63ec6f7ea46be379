"""Views of complex memory as real numbers: two side by side per element, as in PyTorch."""

from __future__ import annotations

from dataclasses import replace

from mojoaccel.ir.plan import View
from mojoaccel.ir.types import C64, F32, F64, DType


def part_dtype(dtype: DType) -> DType:
    """Return the type of a complex type's parts."""
    return F32 if dtype == C64 else F64


def as_pairs(view: View) -> View:
    """View complex memory as real numbers with a last axis of 2."""
    return replace(
        view,
        dtype=part_dtype(view.dtype),
        shape=(*view.shape, 2),
        strides=(*(s * 2 for s in view.strides), 1),
        offset=view.offset * 2,
    )


def part_of(view: View, part: int) -> View:
    """View the real (0) or imaginary (1) parts of complex memory."""
    pairs = as_pairs(view)
    return replace(
        pairs,
        shape=pairs.shape[:-1],
        strides=pairs.strides[:-1],
        offset=pairs.offset + part,
    )
