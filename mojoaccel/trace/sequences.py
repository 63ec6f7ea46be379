"""Sequences that PyTorch makes in one call, written as arithmetic on `arange`: windows and ranges.

The steps are PyTorch's own, in its order and type, so that the roundings are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Window = Callable[..., Tensor]
"""A window from the positions 0 .. n-1 of its samples, n, and what else shapes it."""


def scaled(x: Tensor, factor: float) -> Tensor:
    """Return x times a number that is rounded to x's type first, as in PyTorch's windows."""
    return x * torch.full((), factor, dtype=x.dtype, device=x.device)


def bartlett(at: Tensor, n: int) -> Tensor:
    """A triangle."""
    rising = scaled(at, 2 / (n - 1))
    return torch.where(torch.arange(n, device=at.device) <= (n - 1) // 2, rising, 2 - rising)


def blackman(at: Tensor, n: int) -> Tensor:
    """Two cosines on a constant."""
    at = scaled(at, math.pi / (n - 1))
    return scaled((at * 4).cos(), 0.08) - scaled((at * 2).cos(), 0.5) + 0.42


def hamming(at: Tensor, n: int, alpha: float = 0.54, beta: float = 0.46) -> Tensor:
    """One cosine on a constant."""
    return scaled(scaled(at, 2 * math.pi / (n - 1)).cos(), -beta) + alpha


def kaiser(at: Tensor, n: int, beta: float = 12.0) -> Tensor:
    """Modified Bessel function of a half circle (Kaiser and Schafer 1980)."""
    dtype, half = at.dtype, (n - 1) / 2
    at = at.to(torch.promote_types(dtype, torch.float32))
    at = (at - half) / half
    top = torch.special.i0(torch.full((), beta, dtype=at.dtype, device=at.device))
    return (torch.special.i0(beta * (1 - at * at).clamp(min=0).sqrt()) / top).to(dtype)


def windowed(shape: Window) -> Callable[..., Tensor]:
    """Return the ATen function of a window: of any length, periodic or symmetric."""

    def make(
        length: int,
        periodic: bool = True,
        *more: float,
        dtype: Any = None,
        device: Any = None,
        **_: Any,
    ) -> Tensor:
        dtype = dtype or torch.get_default_dtype()
        if length < 2:
            return torch.ones(length, dtype=dtype, device=device)
        n = length + periodic
        return shape(torch.arange(n, dtype=dtype, device=device), n, *more)[:length]

    return make


def closed_range(
    start: float, end: float, step: float = 1, *, dtype: Any = None, device: Any = None, **_: Any
) -> Tensor:
    """``aten.range``: like `arange`, its end included, computed in the widest type."""
    dtype = dtype or torch.get_default_dtype()
    count = math.floor((end - start) / step) + 1
    if dtype.is_floating_point:
        at = torch.arange(count, dtype=torch.float64, device=device)
        return (at * step + start).to(dtype)
    return (torch.arange(count, device=device) * int(step) + int(start)).to(dtype)


aten = torch.ops.aten
SEQUENCES = {
    **{
        getattr(getattr(aten, f"{shape.__name__}_window"), overload): windowed(shape)
        for shape, overloads in (
            (bartlett, ("default", "periodic")),
            (blackman, ("default", "periodic")),
            (hamming, ("default", "periodic", "periodic_alpha", "periodic_alpha_beta")),
            (kaiser, ("default", "periodic", "beta")),
        )
        for overload in overloads
    },
    aten.range.default: closed_range,
    aten.range.step: closed_range,
}
"""What replaces each overload."""
