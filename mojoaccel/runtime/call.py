"""Prepares calls of the C interface.

Small models run in a few microseconds, so a call looks at each operand once: what follows from
the operands' shapes and types is worked out when they are first seen, and kept.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mojoaccel.artifact.manifest import Manifest
from mojoaccel.errors import error
from mojoaccel.runtime.inputs import check_dtype, read_dims
from mojoaccel.runtime.native import MAX_RANK
from mojoaccel.runtime.sizes import evaluate
from mojoaccel.runtime.tensors import DTYPE_CODES, Operand, Shape

RECORD = struct.Struct(f"q{MAX_RANK}q2i")
"""``maccel_tensor``: address, sizes, rank, element type."""
WORDS = RECORD.size // 8
KEPT = 64
"""Combinations of shapes that a session remembers."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What follows from the shapes and types of the inputs.

    Attributes:
        records: The ``maccel_tensor`` of every input, then of every output. Runs of a session take
            turns, so one block serves them all; each run writes its addresses.
        outputs: Pointer to the records of the outputs.
        shapes: Shapes of the outputs.
    """

    records: ctypes.Array[ctypes.c_int64]
    outputs: Any
    shapes: tuple[Shape, ...]


class Layouts:
    """Finds the layout for the operands of a call."""

    def __init__(self, manifest: Manifest) -> None:
        """Start with none."""
        self.manifest = manifest
        self._known: dict[tuple[tuple[Shape, str], ...], Layout] = {}

    def find(self, operands: Sequence[Operand]) -> Layout:
        """Return the layout for some inputs.

        Raises:
            MojoaccelError: MA702, the number of inputs, a type or a shape does not fit.
        """
        key = tuple([(o.shape, o.dtype) for o in operands])
        found = self._known.get(key)
        if found is None:
            found = self._make([o.shape for o in operands], [o.dtype for o in operands])
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = found
        return found

    def _make(self, shapes: Sequence[Shape], dtypes: Sequence[str]) -> Layout:
        dims = self.check(shapes, dtypes)
        outputs = self.manifest.outputs
        made = tuple(tuple(evaluate(s, dims) for s in spec.shape) for spec in outputs)
        records = [
            _record(shape, spec.dtype)
            for shape, spec in zip((*shapes, *made), (*self.manifest.inputs, *outputs), strict=True)
        ]
        words = (ctypes.c_int64 * (WORDS * max(1, len(records))))()
        ctypes.memmove(words, b"".join(records), RECORD.size * len(records))
        return Layout(words, ctypes.byref(words, RECORD.size * len(shapes)), made)

    def check(self, shapes: Sequence[Shape], dtypes: Sequence[str]) -> dict[str, int]:
        """Return the sizes of the dynamic dims.

        Raises:
            MojoaccelError: MA702, the number of inputs, a type or a shape does not fit.
        """
        specs = self.manifest.inputs
        if len(shapes) != len(specs):
            raise error("MA702", f"{len(shapes)} inputs, the model takes {len(specs)}")
        for spec, dtype in zip(specs, dtypes, strict=True):
            check_dtype(spec, dtype)
        return read_dims(specs, shapes, self.manifest.dims)


def fill(layout: Layout, operands: Sequence[Operand], results: Sequence[Operand]) -> None:
    """Write the addresses of a call's inputs and outputs into the layout's records."""
    records = layout.records
    at = 0
    for operand in operands:
        records[at] = operand.address
        at += WORDS
    for result in results:
        records[at] = result.address
        at += WORDS


def _record(shape: Shape, dtype: str) -> bytes:
    padding = (0,) * (MAX_RANK - len(shape))
    return RECORD.pack(0, *shape, *padding, len(shape), DTYPE_CODES[dtype])
