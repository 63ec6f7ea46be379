"""Packs matrix weights into the panels that ``maccel.linear`` streams."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def pack_panels_nk(weight: Array, nr: int) -> Array:
    """Pack a weight stored as ``aten.linear`` does.

    Args:
        weight: ``[N, K]``.
        nr: Columns of a panel.

    Returns:
        ``[ceil(N / nr), K, nr]``, the last panel padded with zeros.
    """
    n, k = weight.shape
    panels = -(-n // nr)
    if n % nr:
        padded = np.zeros((panels * nr, k), weight.dtype)
        padded[:n] = weight
        weight = padded
    return np.ascontiguousarray(weight.reshape(panels, nr, k).transpose(0, 2, 1))


def pack_panels_kn(weight: Array, nr: int) -> Array:
    """Pack a weight stored as ``[K, N]`` (``aten.mm``'s second operand).

    Returns:
        ``[ceil(N / nr), K, nr]``, the last panel padded with zeros.
    """
    return pack_panels_nk(weight.T, nr)
