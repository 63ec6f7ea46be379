"""Pools that have no kernel of their own, written with torch as gathers and reductions.

A window's positions along one axis are a table [outputs, taps], made of `arange` alone so that
sizes may be symbolic. Taps outside the image repeat one inside: that changes no maximum, and
sums leave them out. The functions replace ATen overloads while an exported program is decomposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def per_axis(value: Any, rank: int, default: Sequence[Any] = ()) -> list[Any]:
    """Return one entry per axis of an int, a list of one or a list of all."""
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    items = items or list(default)
    return items * rank if len(items) == 1 else items


def pooled_size(n: Any, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> Any:
    """Return how many windows there are (`pooling_output_shape` of PyTorch)."""
    span = n + 2 * pad - dilation * (kernel - 1) - 1
    count = (span + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= n + pad:  # the last window must start inside
        count = count - 1
    return count


def line(count: Any, x: Tensor) -> Tensor:
    """Return 0 .. count - 1."""
    return torch.arange(count, device=x.device)


def clamped_taps(
    x: Tensor, n: Any, kernel: int, stride: int, pad: int, dilation: int, ceil: bool
) -> Tensor:
    """Return the positions [outputs, kernel] of dilated windows, all of them inside."""
    outputs = pooled_size(n, kernel, stride, pad, dilation, ceil)
    starts = (line(outputs, x) * stride - pad)[:, None]
    first = starts + ((-starts).clamp(min=0) + dilation - 1) // dilation * dilation
    last = starts + ((n - 1 - starts) // dilation).clamp(max=kernel - 1) * dilation
    return torch.minimum(torch.maximum(starts + line(kernel, x) * dilation, first), last)


def shared_taps(x: Tensor, n: Any, outputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the positions of adaptive windows, which of them count, and the windows' lengths."""
    i = line(outputs, x)[:, None]
    start = i * n // outputs
    end = ((i + 1) * n + outputs - 1) // outputs
    longest = 1 if n == outputs else (n + outputs - 1) // outputs + (0 if n % outputs == 0 else 1)
    at = start + line(longest, x)
    return torch.minimum(at, end - 1), at < end, end - start


def gather_axis(x: Tensor, axis: int, taps: Tensor) -> Tensor:
    """Replace an axis by [outputs, taps]."""
    picked = x.index_select(axis, taps.reshape(-1))
    return picked.unflatten(axis, tuple(taps.shape))


def column(t: Tensor, after: int) -> Tensor:
    """Add `after` axes of size 1 at the end."""
    return t.reshape(*t.shape, *(1,) * after)


def max_windows(x: Tensor, tables: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the maximum over windows and its flat position within the last axes.

    The position is that of the first maximum or, as PyTorch has it, of the last NaN.
    """
    rank = len(tables)
    lead = x.dim() - rank
    sizes = x.shape[lead:]
    windows, at = x, None
    for axis in range(rank - 1, -1, -1):
        windows = gather_axis(windows, lead + axis, tables[axis])
    order = [
        *range(lead),
        *(lead + 2 * a for a in range(rank)),
        *(lead + 2 * a + 1 for a in range(rank)),
    ]
    windows = windows.permute(order).flatten(-rank)
    step: Any = 1
    for axis in range(rank - 1, -1, -1):
        outputs, taps = tables[axis].shape
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = outputs, taps
        part = tables[axis].reshape(shape) * step
        at = part if at is None else at + part
        step = step * sizes[axis]
    assert at is not None
    at = at.flatten(-rank).expand(windows.shape)
    values = windows.amax(-1)
    best = values.unsqueeze(-1)
    hit = ((windows == best) | windows.isnan()).to(torch.int32)
    first = hit.argmax(-1, keepdim=True)
    last = hit.shape[-1] - 1 - hit.flip(-1).argmax(-1, keepdim=True)
    chosen = torch.where(best.isnan(), last, first)
    return values, at.gather(-1, chosen).squeeze(-1)


def max_pool3d_with_indices(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """``aten.max_pool3d_with_indices``."""
    k = per_axis(kernel, 3)
    s, p, d = per_axis(stride, 3, k), per_axis(padding, 3), per_axis(dilation, 3)
    sizes = x.shape[-3:]
    tables = [clamped_taps(x, sizes[a], k[a], s[a], p[a], d[a], ceil_mode) for a in range(3)]
    return max_windows(x, tables)


def adaptive_max_pool(x: Tensor, output_size: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """``aten.adaptive_max_pool2d``, ``aten.adaptive_max_pool3d``."""
    sizes = x.shape[-len(output_size) :]
    tables = [shared_taps(x, n, o)[0] for n, o in zip(sizes, output_size, strict=True)]
    return max_windows(x, tables)


def accumulate(x: Tensor) -> Tensor:
    """Widen half types: sums of windows are kept in float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def sum_axis(x: Tensor, axis: int, taps: Tensor, counted: Tensor) -> Tensor:
    """Sum the taps of an axis that count."""
    rest = x.dim() - axis - 1
    windows = gather_axis(x, axis, taps)
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.where(column(counted, rest), windows, zero).sum(axis + 1)


def adaptive_avg_pool3d(x: Tensor, output_size: Sequence[Any]) -> Tensor:
    """``aten._adaptive_avg_pool3d``."""
    y = accumulate(x)
    for back, outputs in zip((3, 2, 1), output_size, strict=True):
        axis = x.dim() - back
        taps, counted, lengths = shared_taps(x, x.shape[axis], outputs)
        y = sum_axis(y, axis, taps, counted) / column(lengths[:, 0], back - 1).to(y.dtype)
    return y.to(x.dtype)


def avg_pool3d(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """``aten.avg_pool3d``."""
    k = per_axis(kernel, 3)
    s, p = per_axis(stride, 3, k), per_axis(padding, 3)
    y, divisor = accumulate(x), None
    for a in range(3):
        axis = x.dim() - 3 + a
        n = x.shape[axis]
        outputs = pooled_size(n, k[a], s[a], p[a], 1, ceil_mode)
        start = (line(outputs, x) * s[a] - p[a])[:, None]
        end = (start + k[a]).clamp(max=n + p[a])
        at = start + line(k[a], x)
        y = sum_axis(y, axis, at.clamp(0, n - 1), (at >= 0) & (at < n))
        inside = end.clamp(max=n) - start.clamp(min=0)
        count = column(((end - start) if count_include_pad else inside)[:, 0], 2 - a)
        divisor = count if divisor is None else divisor * count
    assert divisor is not None
    total = divisor_override if divisor_override else divisor.to(y.dtype)
    return (y / total).to(x.dtype)


aten = torch.ops.aten
POOLS = {
    aten.max_pool3d_with_indices.default: max_pool3d_with_indices,
    aten.adaptive_max_pool2d.default: adaptive_max_pool,
    aten.adaptive_max_pool3d.default: adaptive_max_pool,
    aten.avg_pool3d.default: avg_pool3d,
    aten._adaptive_avg_pool3d.default: adaptive_avg_pool3d,
}
"""What replaces each overload."""
