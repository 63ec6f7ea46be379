"""Arrays of check cases: an array that repeats itself is stored as its first period.

A decoder takes its caches as inputs, which would be the largest part of the artifact after the
weights; images and sound come next. Random inputs therefore repeat after `PERIOD` values; that is a
prime, so no axis of a model is aligned with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.errors import error

Array = np.ndarray[Any, Any]
PERIOD = 65_521
"""The largest prime below 2^16: a quarter of a megabyte of float32."""


def draw(shape: Sequence[int], values: Callable[[int], Array]) -> Array:
    """Fill `shape` with random values that repeat after `PERIOD`.

    Args:
        shape: The shape.
        values: Draws so many values.
    """
    count = int(np.prod(shape, dtype=np.int64))
    drawn = values(min(count, PERIOD))
    return drawn.reshape(shape) if count <= PERIOD else np.resize(drawn, shape)


def write_arrays(place: Path, kind: str, arrays: Sequence[Array]) -> None:
    """Write the arrays of a case as ``KIND_0.npy`` and so on.

    Raises:
        OSError: They cannot be written.
    """
    for index, array in enumerate(arrays):
        flat = array.reshape(-1)
        repeats = flat.size > PERIOD and np.array_equal(flat[PERIOD:], flat[:-PERIOD])
        stored = flat[:PERIOD] if repeats else array
        np.save(place / f"{kind}_{index}.npy", stored, allow_pickle=False)


def read_arrays(place: Path, kind: str, shapes: Sequence[Sequence[int]]) -> list[Array]:
    """Read the arrays of a case.

    Args:
        place: Its folder.
        kind: ``input`` or ``output``.
        shapes: What their shapes are.

    Raises:
        MojoaccelError: MA601, a file is missing or damaged.
    """
    try:
        found = [np.load(place / f"{kind}_{i}.npy", allow_pickle=False) for i in range(len(shapes))]
    except (OSError, ValueError) as e:
        raise error("MA601", f"{place.name} cannot be read: {e}") from e
    pairs = zip(found, shapes, strict=True)
    return [np.resize(a, s) if a.ndim == 1 and a.size < np.prod(s) else a for a, s in pairs]
