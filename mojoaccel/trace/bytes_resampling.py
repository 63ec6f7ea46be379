"""Resampling of images of bytes: each axis alone, with weights of 16 bits, as PyTorch does.

The columns are resampled and rounded to bytes before the rows. The weights of an axis share a
scale, a power of two, as large as its largest weight leaves room for (Pillow's scheme).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mojoaccel.trace.pooling import column, gather_axis, line


def weigh_bytes(x: Tensor, axis: int, at: Tensor, weights: Tensor) -> Tensor:
    """Replace an axis of bytes by the weighted sums of the places `at` [outputs, taps]."""
    bits = torch.arange(1, 23, device=x.device)
    room = (weights.amax() * torch.bitwise_left_shift(1, bits) + 0.5).floor() < 1 << 15
    precision = room.sum()
    scaled = weights * torch.bitwise_left_shift(1, precision)
    whole = (scaled + torch.where(weights < 0, -0.5, 0.5)).to(torch.int64)
    windows = gather_axis(x, axis, at).to(torch.int64)
    total = (windows * column(whole, x.dim() - axis - 1)).sum(axis + 1)
    half = torch.bitwise_left_shift(1, precision - 1)
    return torch.bitwise_right_shift(total + half, precision).clamp(0, 255).to(torch.uint8)


def linear(t: Tensor) -> Tensor:
    """Return the weights of linear interpolation."""
    return (1 - t.abs()).clamp(min=0)


def cubic(t: Tensor) -> Tensor:
    """Return the weights of cubic convolution (Keys 1981, a = -0.75)."""
    t, a = t.abs(), -0.75
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))


def interpolate_axis(
    x: Tensor, axis: int, outputs: Any, scale: float | None, corners: bool, taps: int
) -> Tensor:
    """Resample one axis of bytes between its 2 or 4 nearest places, the last ones repeated."""
    n = x.shape[axis]
    i = line(outputs, x).to(torch.float64)
    if corners:
        place = i * ((n - 1) / (outputs - 1) if outputs > 1 else 0.0)
    else:
        place = (i + 0.5) * (1.0 / scale if scale else n / outputs) - 0.5
        place = place.clamp(min=0) if taps == 2 else place
    below = place.floor().clamp(max=n - 1)
    part = (place - below).clamp(0, 1)
    start = below.to(torch.int64)[:, None] - taps // 2 + 1
    offsets = line(taps, x)
    each = (linear if taps == 2 else cubic)((offsets + 1 - taps // 2) - part[:, None])
    # Weights of places beyond an end belong to that end.
    first = start.clamp(min=0)
    slot = (start + offsets).clamp(0, n - 1) - first
    weights = torch.where(slot[:, :, None] == offsets, each[:, :, None], 0.0).sum(1)
    return weigh_bytes(x, axis, (first + offsets).clamp(max=n - 1), weights)


def interpolate(x: Tensor, size: Any, corners: bool, factors: tuple[Any, Any], taps: int) -> Tensor:
    """Resample the columns, then the rows, of images of bytes."""
    for axis in (3, 2):
        x = interpolate_axis(x, axis, size[axis - 2], factors[axis - 2], corners, taps)
    return x


def by_size(taps: int) -> Callable[..., Tensor]:
    """Return ``aten.upsample_bilinear2d`` (2 taps) or ``upsample_bicubic2d`` (4) of bytes."""

    def resample(
        x: Tensor, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None
    ) -> Tensor:
        return interpolate(x, output_size, align_corners, (scales_h, scales_w), taps)

    return resample


def by_factors(taps: int) -> Callable[..., Tensor]:
    """Return the same with a size or factors."""

    def resample(x: Tensor, output_size: Any, align_corners: bool, scale_factors: Any) -> Tensor:
        factors = scale_factors or (None, None)
        size = output_size or [int(n * f) for n, f in zip(x.shape[2:], factors, strict=True)]
        return interpolate(x, size, align_corners, tuple(factors), taps)

    return resample


aten = torch.ops.aten
OF_BYTES = {
    aten.upsample_bilinear2d.default: by_size(2),
    aten.upsample_bilinear2d.vec: by_factors(2),
    aten.upsample_bicubic2d.default: by_size(4),
    aten.upsample_bicubic2d.vec: by_factors(4),
}
"""What replaces a call for an image of bytes."""
