"""Rows written where a mask holds, with torch as places in the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols, statically_known_true


def put_rows(
    x: Tensor, mask: Tensor, values: Tensor, axis: int = 0, accumulate: bool = False
) -> Tensor:
    """Return x after ``x[mask] = values``, the n-th true place taking the n-th row.

    Args:
        x: [before, axes of the mask, rest].
        mask: Its axes stand for those of x from `axis` on.
        values: [before, rows, rest] or what broadcasts to that. PyTorch demands as many rows as
            there are true places; here those beyond are left out, and the last one is repeated.
        axis: How many axes of x come before.
        accumulate: Add instead.
    """
    before, rest = x.shape[:axis], x.shape[axis + mask.dim() :]
    count = values.shape[-len(rest) - 1]
    if count == 0:
        return x.clone()
    place = (mask != 0).reshape(-1).cumsum(0) - 1
    taken = values.expand(*before, count, *rest).index_select(axis, place.clamp(0, count - 1))
    taken = taken.reshape(x.shape)
    flags = (mask != 0).reshape(*mask.shape, *(1,) * len(rest))
    return torch.where(flags, x + taken if accumulate else taken, x)


def put_by_mask(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Any:
    """``aten.index_put`` of rows by a mask; the other forms have kernels."""
    given = [(axis, i) for axis, i in enumerate(indices) if i is not None]
    if len(given) != 1 or given[0][1].dtype not in (torch.bool, torch.uint8):
        return NotImplemented
    axis, mask = given[0]
    after = x.dim() - axis - mask.dim()
    if mask.dim() == 0 or values.dim() <= after or free_unbacked_symbols(values):
        return NotImplemented
    if statically_known_true(values.shape[values.dim() - after - 1] == 1):
        return NotImplemented
    return put_rows(x, mask, values, axis, accumulate)


MASKING = {torch.ops.aten.index_put.default: put_by_mask}
"""What replaces each overload."""
