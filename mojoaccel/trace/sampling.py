"""Antialiased resampling and sampling of volumes, written with torch as gathers and sums."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mojoaccel.trace.bytes_resampling import weigh_bytes
from mojoaccel.trace.pooling import accumulate, column, gather_axis, line

Filter = Callable[[Tensor], Tensor]
"""Weights of pixels from their distances."""


def cubic(t: Tensor) -> Tensor:
    """Return the cubic filter of antialiased resampling (a = -0.5)."""
    t = t.abs()
    near = ((1.5 * t - 2.5) * t) * t + 1
    far = -0.5 * ((t - 5) * t * t + 8 * t - 4)
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))


def triangle(t: Tensor) -> Tensor:
    """Return the linear filter."""
    return (1 - t.abs()).clamp(min=0)


def lanczos(t: Tensor) -> Tensor:
    """Return Lanczos' filter: sinc, windowed by its own main lobe at a third of the pace."""
    return torch.where(t.abs() < 3, torch.sinc(t) * torch.sinc(t / 3), 0.0)


REACH = {triangle: 1.0, cubic: 2.0, lanczos: 3.0}
"""How far each filter reaches, in pixels."""


def resample_axis(
    x: Tensor, axis: int, outputs: Any, scale: float | None, corners: bool, filtered: Filter
) -> Tensor:
    """Resample one axis with a filter as wide as the reduction (PyTorch's `antialias=True`)."""
    n = x.shape[axis]
    if corners:
        ratio = (n - 1) / (outputs - 1) if outputs > 1 else 0.0
    else:
        ratio = 1.0 / scale if scale else n / outputs
    reach = REACH[filtered]
    support = reach * ratio if ratio >= 1.0 else reach
    inverse = 1.0 / ratio if ratio >= 1.0 else 1.0
    taps = int(-(-support // 1)) * 2 + 1
    center = ratio * (line(outputs, x).to(torch.float64) + 0.5)
    first = (center - support + 0.5).to(torch.int64).clamp(min=0)
    end = (center + support + 0.5).to(torch.int64).clamp(max=n)
    at = first[:, None] + line(taps, x)
    t = (at.to(torch.float64) - center[:, None] + 0.5) * inverse
    weights = torch.where(at < end[:, None], filtered(t), 0.0)
    total = weights.sum(1, keepdim=True)
    weights = weights / torch.where(total == 0, 1.0, total)
    if x.dtype == torch.uint8:
        return weigh_bytes(x, axis, at.clamp(max=n - 1), weights)
    weights = weights.to(x.dtype)
    windows = gather_axis(x, axis, at.clamp(max=n - 1))
    rest = x.dim() - axis - 1
    counted = column(at < end[:, None], rest)
    return torch.where(counted, windows * column(weights, rest), 0.0).sum(axis + 1)


def antialiased(
    x: Tensor, size: Any, corners: bool, scales: Sequence[Any], filtered: Filter
) -> Tensor:
    """Resample the columns, then the rows, of images."""
    y = accumulate(x)
    for axis in (3, 2):
        y = resample_axis(y, axis, size[axis - 2], scales[axis - 2], corners, filtered)
    return y.to(x.dtype)


def resampler(filtered: Filter) -> Callable[..., Tensor]:
    """Return ``aten._upsample_*2d_aa`` with a filter."""

    def resample(
        x: Tensor, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None
    ) -> Tensor:
        return antialiased(x, output_size, align_corners, (scales_h, scales_w), filtered)

    return resample


def reflect(at: Tensor, low: float, high: float) -> Tensor:
    """Reflect coordinates at `low` / 2 and `high` / 2."""
    if low == high:
        return torch.zeros_like(at)
    start, span = low / 2, (high - low) / 2
    at = (at - start).abs()
    extra = at.fmod(span)
    turns = (at / span).floor()
    return torch.where(turns.fmod(2) == 0, extra + start, span - extra + start)


def source(g: Tensor, n: Any, padding: int, corners: bool) -> Tensor:
    """Return where grid coordinates lie, in pixels."""
    at = (g + 1) / 2 * (n - 1) if corners else ((g + 1) * n - 1) / 2
    if padding == 2:
        at = reflect(at, 0, 2 * (n - 1)) if corners else reflect(at, -1, 2 * n - 1)
    if padding in (1, 2):
        at = torch.where(at.isnan(), 0.0, at).clamp(0, n - 1)
    return at


def grid_sampler_3d(
    x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool
) -> Tensor:
    """``aten.grid_sampler_3d``: trilinear (0) or nearest (1)."""
    batch, channels = x.shape[:2]
    sizes = x.shape[2:]
    wide, places = accumulate(x), accumulate(grid)
    at = [source(places[..., 2 - a], sizes[a], padding, align_corners) for a in range(3)]
    flat = wide.flatten(2)

    def read(corner: list[Tensor]) -> Tensor:
        inside = torch.ones_like(corner[0], dtype=torch.bool)
        index: Any = 0
        for c, n in zip(corner, sizes, strict=True):
            inside = inside & (c >= 0) & (c <= n - 1)
            whole = torch.where((c >= 0) & (c <= n - 1), c, 0.0).to(torch.int64)
            index = index * n + whole
        where = index.reshape(batch, 1, -1).expand(-1, channels, -1)
        values = flat.gather(2, where).reshape(batch, channels, *corner[0].shape[1:])
        return torch.where(inside.unsqueeze(1), values, 0.0)

    if mode == 1:
        return read([a.round() for a in at]).to(x.dtype)
    low = [a.floor() for a in at]
    total: Any = 0
    for shift in itertools.product((0, 1), repeat=3):
        weight: Any = 1
        for a, base, s in zip(at, low, shift, strict=True):
            weight = weight * ((a - base) if s else (base + 1 - a))
        corner = [base + s for base, s in zip(low, shift, strict=True)]
        value = read(corner)
        inside = torch.ones_like(corner[0], dtype=torch.bool)
        for c, n in zip(corner, sizes, strict=True):
            inside = inside & (c >= 0) & (c <= n - 1)
        total = total + torch.where(inside.unsqueeze(1), value * weight.unsqueeze(1), 0.0)
    return total.to(x.dtype)


aten = torch.ops.aten
SAMPLERS = {
    aten._upsample_bilinear2d_aa.default: resampler(triangle),
    aten._upsample_bicubic2d_aa.default: resampler(cubic),
    aten._upsample_lanczos2d_aa.default: resampler(lanczos),
    aten.grid_sampler_3d.default: grid_sampler_3d,
}
"""What replaces each overload."""
