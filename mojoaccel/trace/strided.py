"""Whose memory ``as_strided`` describes: its numbers are those of a storage, not of a window."""

from __future__ import annotations

from typing import Any

import torch

from mojoaccel.errors import error
from mojoaccel.trace.source import source_of


def strided_source(fx: Any, op: str) -> tuple[Any, Any]:
    """Return the value on whose memory ``as_strided`` (or its scatter) works, and the offset there.

    Raises:
        MojoaccelError: MA302, nothing that is known here holds the whole of that memory.
    """
    source = fx.args[0]
    offset = fx.args[-1] if len(fx.args) > _OFFSET[op] else fx.kwargs.get("storage_offset")
    base = held_memory(source) if op == "as_strided" else None
    if base is not None:
        return base, source.meta["val"].storage_offset() if offset is None else offset
    tensor = source.meta["val"]
    if not tensor.is_contiguous() or (offset is not None and tensor.storage_offset() != 0):
        message = "as_strided of a tensor that is itself a window on another"
        raise error("MA302", message, loc=source_of(fx), hint="use slices, or clone it first")
    return source, offset


_OFFSET = {"as_strided": 3, "as_strided_scatter": 4}
"""Position of the offset among the arguments."""


def held_memory(fx: Any) -> Any:
    """Return the call that made the memory a value is a window on, if it fills all of it."""
    while fx.op == "call_function" and isinstance(fx.target, torch._ops.OpOverload):
        first, result = fx.target._schema.arguments[:1], fx.target._schema.returns[:1]
        if not (first and result and first[0].alias_info and result[0].alias_info):
            break
        fx = fx.args[0]
    tensor = fx.meta["val"]
    whole = tensor.is_contiguous() and tensor.storage_offset() == 0
    size = tensor.untyped_storage().nbytes()
    return fx if whole and size == tensor.numel() * tensor.element_size() else None
