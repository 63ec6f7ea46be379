"""Weights that an engine takes by name: one aligned file, and where each lies in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.hashing import file_digest
from mojoaccel.artifact.manifest import FileSpec
from mojoaccel.artifact.weights import ALIGNMENT

FILE = "weights.bin"


def write_parameters(
    folder: Path,
    given: Sequence[tuple[str, str, str, tuple[int, ...] | None]],
    sources: Mapping[str, np.ndarray[Any, Any]],
) -> tuple[FileSpec, dict[str, Any]]:
    """Write weights.bin.

    Args:
        folder: The artifact.
        given: Name, source, PyTorch's element type, and permutation of the axes (None as it is) of
            each parameter, in file order.
        sources: Arrays by source; bfloat16 as uint16.

    Returns:
        The file's entry in the manifest (an empty one without parameters), and for each
        parameter ``[offset in bytes, element type, shape]``.

    Raises:
        OSError: The file cannot be written.
    """
    if not given:
        return FileSpec("", 0, ""), {}
    places: dict[str, Any] = {}
    offset = 0
    with (folder / FILE).open("wb") as file:
        for name, source, dtype, axes in given:
            turned = sources[source] if axes is None else sources[source].transpose(axes)
            shape = list(turned.shape)  # ascontiguousarray gives a number an axis
            array = np.ascontiguousarray(turned)
            file.write(bytes(-offset % ALIGNMENT))
            offset += -offset % ALIGNMENT
            places[name] = [offset, dtype, shape]
            file.write(array.reshape(-1).view(np.uint8).data)
            offset += array.nbytes
    path = folder / FILE
    return FileSpec(FILE, path.stat().st_size, file_digest(path)), places
