"""Window functions of signal processing, written with torch in PyTorch's order of operations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def steps(length: int, dtype: Any) -> Tensor:
    """Return 0, 1, ... in the window's type."""
    return torch.arange(length, dtype=dtype or torch.get_default_dtype())


def last_step(length: int, periodic: bool) -> int:
    """Return the step where a window ends: one beyond its values for a periodic window."""
    return length if periodic else length - 1


def bartlett(length: int, periodic: bool = True, *, dtype: Any = None, **_: Any) -> Tensor:
    """``aten.bartlett_window``: a triangle."""
    at = steps(length, dtype)
    if length <= 1:
        return torch.ones_like(at)
    end = last_step(length, periodic)
    rising = at * (2.0 / end)
    return torch.where(at < (end >> 1) + 1, rising, 2.0 - rising)


def blackman(length: int, periodic: bool = True, *, dtype: Any = None, **_: Any) -> Tensor:
    """``aten.blackman_window``."""
    at = steps(length, dtype)
    if length <= 1:
        return torch.ones_like(at)
    angle = at * (math.pi / last_step(length, periodic))
    return (angle * 4).cos() * 0.08 - (angle * 2).cos() * 0.5 + 0.42


def hamming(
    length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    **_: Any,
) -> Tensor:
    """``aten.hamming_window``."""
    at = steps(length, dtype)
    if length <= 1:
        return torch.ones_like(at)
    return (at * (math.pi * 2.0 / last_step(length, periodic))).cos() * -beta + alpha


def kaiser(
    length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, **_: Any
) -> Tensor:
    """``aten.kaiser_window``: a quotient of modified Bessel functions."""
    at = steps(length, dtype)
    if length <= 1:
        return torch.ones_like(at)
    end = last_step(length, periodic)
    place = at * (2.0 / end) - 1
    inside = (1 - place * place).clamp(min=0)
    return torch.i0(beta * inside.sqrt()) / torch.i0(at.new_full((), beta))


aten = torch.ops.aten
WINDOWS = {
    getattr(getattr(aten, f"{name}_window"), overload): function
    for name, function, overloads in (
        ("bartlett", bartlett, ("default", "periodic")),
        ("blackman", blackman, ("default", "periodic")),
        ("hamming", hamming, ("default", "periodic", "periodic_alpha", "periodic_alpha_beta")),
        ("kaiser", kaiser, ("default", "periodic", "beta")),
    )
    for overload in overloads
}
"""What replaces each overload."""
