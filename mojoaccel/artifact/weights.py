"""Lays packed weights out in weights.bin and writes the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact import packing, packing_conv
from mojoaccel.errors import error
from mojoaccel.ir.plan import PackedWeight

ALIGNMENT = 64
"""Bytes between the starts of weights: a cache line, and whole vector registers."""


MOST_WRITERS = 8
"""Weights packed at once at most: each is in memory a second time meanwhile."""


def layout_weights(weights: Sequence[PackedWeight]) -> tuple[dict[str, int], int]:
    """Return the byte offset of each weight by buffer name, and the size of the file."""
    offsets: dict[str, int] = {}
    end = 0
    for weight in weights:
        offsets[weight.buffer] = end
        size = weight.dtype.size
        for n in weight.shape:
            size *= n
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, end


def _image(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give the weight of a convolution of one or three axes a kernel of two: rows, columns."""
    if weight.ndim == 5:
        return weight.reshape(*weight.shape[:2], -1, weight.shape[-1])
    return weight[:, :, None, :] if weight.ndim == 3 else weight


LAYOUTS: dict[str, Callable[..., np.ndarray[Any, Any]]] = {
    "plain": lambda w: w,
    "panels_kn": packing.pack_panels,
    "panels_nk": lambda w, nr: packing.pack_panels(w.T, nr),
    "pairs_kn": lambda w, nr: packing.pair_rows(packing.pack_panels(w, nr)),
    "pairs_nk": lambda w, nr: packing.pair_rows(packing.pack_panels(w.T, nr)),
    "conv": lambda w, **p: packing_conv.pack_conv_weight(_image(w), **p),
    "conv_pairs": lambda w, **p: packing.pair_rows(packing_conv.pack_conv_weight(_image(w), **p)),
    "conv_gathered": lambda w, depth, panel: packing.pair_rows(
        packing_conv.pad_depth(packing_conv.pack_conv_weight(_image(w), 1, panel), depth)
    ),
    "conv_transpose": lambda w, **p: packing_conv.pack_conv_transpose_weight(_image(w), **p),
    "depthwise": lambda w, **p: packing_conv.pack_depthwise_weight(_image(w), **p),
    "grouped": lambda w, **p: packing_conv.pack_grouped_weight(_image(w), **p),
    "recurrent": packing_conv.pack_recurrent_weight,
    "recurrent_pairs": packing_conv.pack_recurrent_pairs,
}
"""How each layout that a plan may name is made from the weight as PyTorch holds it."""


def pack(weight: PackedWeight, source: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a weight's bytes in its layout.

    Args:
        weight: The layout.
        source: The weight as PyTorch holds it (bfloat16 as uint16).
    """
    packed = LAYOUTS[weight.layout](source, **dict(weight.params))
    packed = np.ascontiguousarray(packed)
    expected = weight.dtype.numpy
    if packed.dtype != expected or packed.size != int(np.prod(weight.shape)):
        found = f"{packed.dtype}{list(packed.shape)}"
        raise error("MA999", f"{weight.buffer} packs to {found}, planned {expected}{weight.shape}")
    return packed


def write_weights_file(
    path: Path, weights: Sequence[PackedWeight], sources: Mapping[str, np.ndarray[Any, Any]]
) -> int:
    """Write weights.bin at `path`; return its size in bytes.

    Weights are packed and written side by side: numpy and the system work without the
    interpreter lock. Nothing is written between them, so the file has zeros there.

    Args:
        path: The file.
        weights: Weights in file order.
        sources: Arrays by `PackedWeight.source`.

    Raises:
        OSError: The file cannot be written.
    """
    offsets, total = layout_weights(weights)

    def write(weight: PackedWeight) -> None:
        data = pack(weight, sources[weight.source])
        _write_at(file.fileno(), data.reshape(-1).view(np.uint8).data, offsets[weight.buffer])

    with path.open("wb") as file:
        file.truncate(total)
        with ThreadPoolExecutor(min(MOST_WRITERS, os.cpu_count() or 1)) as pool:
            for _ in pool.map(write, weights):
                pass
    return total


def _write_at(file: int, data: memoryview, offset: int) -> None:
    while data:  # one call writes 2 GiB at most
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
