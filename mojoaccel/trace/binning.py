"""Histograms, reductions of segments and searches by order, written with torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Range = Sequence[float] | None


def outer_edges(x: Tensor, given: Range) -> list[tuple[Any, Any]]:
    """Return the first and last edge of each dimension, the extremes of its column if not given.

    Equal ends are moved apart by a half each way; no samples at all lie between 0 and 1.
    """
    dims = x.shape[1]
    ends: list[tuple[Any, Any]]
    if given is not None:
        ends = [(given[2 * d], given[2 * d + 1]) for d in range(dims)]
        return [(a - 0.5, b + 0.5) if a == b else (a, b) for a, b in ends]
    if x.shape[0] == 0:
        return [(0.0, 1.0)] * dims
    low, high = x.amin(0), x.amax(0)
    apart = torch.where(low == high, 0.5, 0.0).to(x.dtype)
    return list(zip((low - apart).unbind(), (high + apart).unbind(), strict=True))


def even_edges(x: Tensor, bins: Sequence[int], given: Range) -> list[Tensor]:
    """Return evenly spaced edges, spelled as PyTorch's `linspace`: each half from its own end."""
    made = []
    for count, ends in zip(bins, outer_edges(x, given), strict=True):
        low, high = (v if isinstance(v, Tensor) else x.new_full((), v) for v in ends)
        step = (high - low) / count
        at = torch.arange(count + 1, device=x.device)
        first, last = low + step * at, high - step * (count - at)
        made.append(torch.where(at < (count + 1) // 2, first, last))
    return made


def count_samples(
    x: Tensor, edges: Sequence[Tensor], weight: Tensor | None, density: bool
) -> Tensor:
    """Count rows of [samples, dims] in the cells between edges; the last edge belongs to its cell.

    Samples outside of the edges, and those that are no number, are not counted.
    """
    sizes = [e.shape[0] - 1 for e in edges]
    inside = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    cell = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
    for column, edge, size in zip(x.unbind(1), edges, sizes, strict=True):
        inside = inside & (column >= edge[0]) & (column <= edge[-1])
        place = torch.searchsorted(edge.contiguous(), column.contiguous(), right=True) - 1
        cell = cell * size + place.clamp(0, size - 1)
    counted = torch.ones_like(inside, dtype=x.dtype) if weight is None else weight.reshape(-1)
    total = 1
    for size in sizes:
        total *= size
    counts = x.new_zeros(total).scatter_add(0, cell, torch.where(inside, counted.to(x.dtype), 0))
    counts = counts.reshape(sizes)
    if density:
        counts = counts / counts.sum()
        for axis, edge in enumerate(edges):
            widths = edge[1:] - edge[:-1]
            counts = counts / widths.reshape([-1 if a == axis else 1 for a in range(len(sizes))])
    return counts


def histogram(
    x: Tensor,
    bins: int = 100,
    *,
    range: Range = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    """``aten.histogram.bin_ct``."""
    column = x.reshape(-1, 1)
    edges = even_edges(column, [bins], range)
    return count_samples(column, edges, weight, density), edges[0]


def histogram_edges(
    x: Tensor, bins: Tensor, *, weight: Tensor | None = None, density: bool = False
) -> tuple[Tensor, Tensor]:
    """``aten.histogram.bins_tensor``."""
    return count_samples(x.reshape(-1, 1), [bins], weight, density), bins.clone()


def histogramdd_edges(
    x: Tensor,
    bins: Sequence[int],
    *,
    range: Range = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> list[Tensor]:
    """``aten._histogramdd_bin_edges``."""
    return even_edges(x.reshape(-1, x.shape[-1]), bins, range)


def histogramdd_counts(
    x: Tensor,
    bins: Sequence[int],
    *,
    range: Range = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Tensor:
    """``aten._histogramdd_from_bin_cts``."""
    rows = x.reshape(-1, x.shape[-1])
    return count_samples(rows, even_edges(rows, bins, range), weight, density)


def histogramdd_in(
    x: Tensor, bins: Sequence[Tensor], *, weight: Tensor | None = None, density: bool = False
) -> Tensor:
    """``aten._histogramdd_from_bin_tensors``."""
    return count_samples(x.reshape(-1, x.shape[-1]), bins, weight, density)


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Any:
    """``aten.bincount`` with a minimal length, which is then the length.

    A value beyond it would make PyTorch's result longer; here it is an index out of range.
    """
    if not minlength:
        return NotImplemented
    counted = torch.ones_like(x, dtype=torch.int64) if weights is None else weights
    if weights is not None and weights.dtype != torch.float32:
        counted = weights.to(torch.float64)
    return counted.new_zeros(minlength).scatter_add(0, x.to(torch.int64), counted)


def search_by_order(
    bounds: Tensor, values: Any, *, sorter: Tensor | None = None, **how: Any
) -> Any:
    """``aten.searchsorted`` in bounds that a permutation sorts."""
    if sorter is None:
        return NotImplemented
    return torch.searchsorted(bounds.gather(-1, sorter), values, **how)


EMPTY = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -torch.inf, "min": torch.inf}
"""What the reduction of an empty segment starts from."""


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """``aten.segment_reduce``; that lengths add up is not checked. Rows beyond them are ignored."""
    axis = axis % data.dim()
    if offsets is None:
        assert lengths is not None
        ends = lengths.cumsum(axis)
        starts = ends - lengths
    else:
        length = offsets.shape[axis] - 1
        starts, ends = (offsets.narrow(axis, first, length) for first in (0, 1))
    count = ends.shape[axis]
    place = torch.arange(data.shape[axis], device=data.device).expand(*ends.shape[:axis], -1)
    segment = torch.searchsorted(ends.contiguous(), place.contiguous(), right=True)
    inside = segment < count
    if count:
        inside = inside & (place >= starts.gather(axis, segment.clamp(max=count - 1)))
    segment = torch.where(inside, segment, count)  # one more, for what is in none
    for _ in range(axis + 1, data.dim()):
        segment = segment.unsqueeze(-1)
    start = EMPTY[reduce] if initial is None else initial
    shape = (*data.shape[:axis], count + 1, *data.shape[axis + 1 :])
    kind = {"mean": "sum", "max": "amax", "min": "amin"}.get(reduce, reduce)
    found = data.new_full(shape, start).scatter_reduce(
        axis, segment.expand(data.shape), data, kind, include_self=True
    )
    found = found.narrow(axis, 0, count)
    if reduce != "mean":
        return found
    size = (ends - starts).reshape(*ends.shape, *(1,) * (data.dim() - axis - 1))
    empty = torch.nan if initial is None else initial
    return torch.where(size > 0, found / size.clamp(min=1), empty).to(data.dtype)


aten = torch.ops.aten
BINNING = {
    aten.histogram.bin_ct: histogram,
    aten.histogram.bins_tensor: histogram_edges,
    aten._histogramdd_bin_edges.default: histogramdd_edges,
    aten._histogramdd_from_bin_cts.default: histogramdd_counts,
    aten._histogramdd_from_bin_tensors.default: histogramdd_in,
    aten.segment_reduce.default: segment_reduce,
    aten.bincount.default: bincount,
    aten.searchsorted.Tensor: search_by_order,
    aten.searchsorted.Scalar: search_by_order,
}
"""What replaces each overload."""
