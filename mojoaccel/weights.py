"""Weights on disk between stages: one aligned file and an index, mapped when read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.errors import error
from mojoaccel.products import Weights, digest_array

DATA_FILE = "weights.bin"
INDEX_FILE = "weights.json"
_ALIGNMENT = 64


def save_weights(weights: Weights, folder: Path) -> None:
    """Write `weights` into `folder`.

    Raises:
        OSError: The folder cannot be written.
    """
    index: dict[str, list[Any]] = {}
    offset = 0
    with (folder / DATA_FILE).open("wb") as file:
        for digest in sorted(weights):
            array = np.ascontiguousarray(weights[digest])
            file.write(bytes(-offset % _ALIGNMENT))
            offset += -offset % _ALIGNMENT
            index[digest] = [offset, array.dtype.str, list(weights[digest].shape)]
            file.write(array.reshape(-1).view(np.uint8).data)
            offset += array.nbytes
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=0))


class StoredWeights(Mapping[str, "np.ndarray[Any, Any]"]):
    """Weights that `save_weights` wrote, mapped; each is checked when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        """Map the weights in `folder`.

        Raises:
            OSError: A file cannot be read.
            ValueError: The index does not fit the data.
        """
        self._path = folder / DATA_FILE
        self._index: dict[str, list[Any]] = json.loads((folder / INDEX_FILE).read_text())
        size = self._path.stat().st_size
        self._data = np.memmap(self._path, np.uint8, "r") if size else np.zeros(0, np.uint8)
        self._checked: dict[str, np.ndarray[Any, Any]] = {}
        for digest in self._index:
            self._view(digest)

    def __getitem__(self, digest: str) -> np.ndarray[Any, Any]:
        """Return an array by its digest.

        Raises:
            KeyError: There is no such weight.
            MojoaccelError: MA902, its bytes have changed on disk.
        """
        if digest not in self._checked:
            array = self._view(digest)
            if digest_array(array) != digest:
                raise error(
                    "MA902",
                    f"{self._path} is damaged: a weight has other bytes than it was stored with",
                    hint="mojoaccel cache clear",
                )
            self._checked[digest] = array
        return self._checked[digest]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the digests."""
        return iter(self._index)

    def __len__(self) -> int:
        """Return the number of weights."""
        return len(self._index)

    def _view(self, digest: str) -> np.ndarray[Any, Any]:
        offset, kind, shape = self._index[digest]
        dtype = np.dtype(kind)
        end = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        if end > len(self._data):
            raise ValueError(f"{DATA_FILE} is too short")
        array: np.ndarray[Any, Any] = self._data[offset:end].view(dtype).reshape(shape)
        return array
