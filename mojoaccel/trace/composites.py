"""Composites that PyTorch writes with decisions on values, written here without them.

PyTorch's `cov` warns when a weight is negative, `combinations` selects by a mask,
`gaussian_nll_loss` raises for some variances, batch norm takes the count of a cumulative average
out of its tensor, distributions check their parameters and transformer layers look whether a mask
is the causal one: none can be traced. The functions replace them while a model is exported and
decomposed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.modules.linear_cross_entropy  # declares the chunked operators
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F
from torch.nn.modules import transformer
from torch.nn.modules.batchnorm import _BatchNorm

COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


def cov(
    x: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """``aten.cov``: rows are variables, columns observations (whose weights are not checked)."""
    rows = x if x.dim() == 2 else x.reshape(1, -1)
    weights = fweights
    if aweights is not None:
        weights = aweights if weights is None else weights * aweights
    real = rows.real.dtype if rows.is_complex() else rows.dtype
    if weights is None:
        total = torch.full((), rows.shape[1], dtype=real, device=x.device)
        weighted = rows
    else:
        total, weighted = weights.sum(), rows * weights
    mean = weighted.sum(1) / total
    freedom = total - correction
    if weights is not None and aweights is not None and correction != 0:
        freedom = total - correction * (weights * aweights).sum() / total
    centered = rows - mean.unsqueeze(1)
    weighted = centered if weights is None else centered * weights
    product = centered @ weighted.t().conj()
    return (product / freedom.clamp(min=0)).squeeze()


def corrcoef(x: Tensor) -> Tensor:
    """``aten.corrcoef``: covariances over standard deviations."""
    c = cov(x)
    if c.dim() == 0:
        return c / c
    deviation = c.diagonal().real.sqrt() if c.is_complex() else c.diagonal().sqrt()
    c = c / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    if c.is_complex():
        return torch.complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """``aten.combinations``: of a vector whose length is known, in lexicographic order."""
    n = int(x.shape[0])
    count = math.comb(n + r - 1, r) if with_replacement and n else math.comb(n, r)
    if r == 0 or count == 0:
        return x.new_empty((0, r) if r else (0,))
    place = torch.arange(n, device=x.device)
    inside = torch.ones((n,) * r, dtype=torch.bool, device=x.device)
    for axis in range(r - 1):
        before = place.reshape(*(-1 if a == axis else 1 for a in range(r)))
        after = place.reshape(*(-1 if a == axis + 1 else 1 for a in range(r)))
        inside = inside & (before <= after if with_replacement else before < after)
    return x[torch.nonzero_static(inside, size=count)]


def narrow(x: Tensor, dim: int, start: Tensor, length: int) -> Tensor:
    """``aten.narrow.Tensor``: from a place that a tensor without dimensions holds."""
    first = torch.where(start < 0, start + x.shape[dim], start).reshape(1)
    return x.index_select(dim, first + torch.arange(length, device=x.device))


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    class_weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``torch_nn._linear_cross_entropy_batch_chunked`` in one piece, without its gradients."""
    loss = F.cross_entropy(
        F.linear(x, weight, bias),
        target,
        class_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return loss, x.new_empty((0, 0)), x.new_empty((0, 0)), x.new_empty((0,))


def linear_cross_entropies(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    class_weight: Tensor | None,
    ignore_index: int,
    *_: Any,
) -> Tensor:
    """``torch_nn._linear_cross_entropy_batch_chunked_no_reduction``."""
    losses = linear_cross_entropy(x, weight, target, bias, class_weight, "none", ignore_index, 0.0)
    return losses[0]


def embedding_renorm(table: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """``aten.embedding_renorm``: shorten the rows that are looked up and too long."""
    norm = torch.linalg.vector_norm(table, norm_type, 1, keepdim=True)
    touched = torch.zeros(table.shape[0], dtype=torch.bool, device=table.device)
    rows = indices.reshape(-1)
    touched = touched.scatter(0, rows, torch.ones_like(rows, dtype=torch.bool)).unsqueeze(1)
    return torch.where(touched & (norm > max_norm), table * (max_norm / (norm + 1e-7)), table)


def rrelu(
    x: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    """``aten.rrelu``: outside of training the slope is the mean of its range."""
    if not training:
        return F.leaky_relu(x, (lower + upper) / 2)
    return aten.rrelu_with_noise_functional.default(  # type: ignore[no-any-return]
        x, torch.empty_like(x), lower, upper, True, generator
    )[0]


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, **_: Any
) -> Tensor:
    """``aten.linspace`` between tensors: whole numbers lie on the line between whole ends.

    PyTorch's own decomposition rounds the numbers alone, not the ends as `torch.linspace` does.
    """
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        start, end = (e.to(dtype) if isinstance(e, Tensor) else int(e) for e in (start, end))
    return torch._refs.linspace(start, end, steps, dtype=dtype, device=device)  # type: ignore[no-any-return]


def conv_tbc(x: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """``aten.conv_tbc``: a 1-d convolution of [time, batch, channels]."""
    y = F.conv1d(x.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return y.permute(2, 0, 1)


def weight_int8pack_mm(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """``aten._weight_int8pack_mm``: rows of whole numbers, each with its scale."""
    return (x.float() @ weight.float().t() * scales.float()).to(x.dtype)


def gaussian_nll_loss(
    x: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """``F.gaussian_nll_loss``; a negative variance counts as `eps` instead of raising."""
    spread = var * torch.ones_like(x) if isinstance(var, float) else var
    if spread.shape != x.shape and spread.shape == x.shape[:-1]:
        spread = spread.unsqueeze(-1)
    spread = spread.clamp(min=eps)
    loss = 0.5 * (spread.log() + (x - target) ** 2 / spread)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def is_causal_mask(
    mask: Tensor | None, is_causal: bool | None = None, size: int | None = None
) -> bool:
    """Whether a transformer's mask is said to be causal; any other is applied as it is."""
    return is_causal is True


_IS_CAUSAL = "_detect_is_causal_mask"


def batch_norm_forward(layer: Any, x: Tensor) -> Tensor:
    """``_BatchNorm.forward``; a cumulative average divides by the count as a tensor."""
    cumulative = layer.training and layer.momentum is None and layer.running_mean is not None
    if not cumulative:
        return _forward(layer, x)  # type: ignore[no-any-return]
    layer._check_input_dim(x)
    axes = [a for a in range(x.dim()) if a != 1]
    layer.num_batches_tracked.add_(1)
    share = layer.num_batches_tracked.to(layer.running_mean.dtype).reciprocal()
    wide = x.to(layer.running_mean.dtype)
    for kept, own in (
        (layer.running_mean, wide.mean(axes)),
        (layer.running_var, wide.var(axes, correction=1)),
    ):
        kept.copy_(kept * (1 - share) + own * share)
    return F.batch_norm(x, None, None, layer.weight, layer.bias, True, 0.0, layer.eps)


_forward = _BatchNorm.forward


def trained_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, ...]:
    """``aten._native_batch_norm_legit_functional`` for batches of any size.

    PyTorch's spelling multiplies by n / (n - 1), which is no constant where the batch varies.
    """
    if not training:
        found = aten._native_batch_norm_legit_no_training.default(
            x, weight, bias, running_mean, running_var, momentum, eps
        )
        return (*found, running_mean.clone(), running_var.clone())
    found = aten._native_batch_norm_legit.no_stats(x, weight, bias, True, momentum, eps)
    axes = [a for a in range(x.dim()) if a != 1]
    wide = x.to(running_mean.dtype)
    mean = momentum * wide.mean(axes) + (1 - momentum) * running_mean
    var = momentum * wide.var(axes, correction=1) + (1 - momentum) * running_var
    return (*found, mean, var)


aten, modules = torch.ops.aten, torch.ops.torch_nn
VIEWS = {aten.narrow.Tensor: narrow}
"""Those that return views: torch takes them apart by itself unless their calls are replaced."""

DECIDING = {
    **VIEWS,
    aten.cov.default: cov,
    aten.corrcoef.default: corrcoef,
    aten.combinations.default: combinations,
}
"""Composites that cannot even be exported as PyTorch writes them."""

COMPOSITES = {
    **DECIDING,
    aten.embedding_renorm.default: embedding_renorm,
    aten.rrelu.default: rrelu,
    aten._native_batch_norm_legit_functional.default: trained_batch_norm,
    aten.linspace.Tensor_Tensor: linspace,
    aten.linspace.Tensor_Scalar: linspace,
    aten.linspace.Scalar_Tensor: linspace,
    aten.conv_tbc.default: conv_tbc,
    aten._weight_int8pack_mm.default: weight_int8pack_mm,
    aten.view_as_real_copy.default: torch.view_as_real,
    aten.view_as_complex_copy.default: torch.view_as_complex,
    aten._conj_copy.default: torch.conj,
    aten._is_all_true.default: torch.all,
    aten._is_any_true.default: torch.any,
    torch.ops.prims.convert_element_type.default: lambda x, dtype: x.to(dtype),
    modules._linear_cross_entropy_batch_chunked.default: linear_cross_entropy,
    modules._linear_cross_entropy_batch_chunked_no_reduction.default: linear_cross_entropies,
}
"""What replaces each overload."""


@contextmanager
def decided_composites() -> Iterator[None]:
    """Export the composites of `DECIDING` in this spelling within the context."""
    with ExitStack() as stack:
        stack.callback(setattr, F, "gaussian_nll_loss", F.gaussian_nll_loss)
        F.gaussian_nll_loss = gaussian_nll_loss  # type: ignore[assignment]
        stack.callback(setattr, _BatchNorm, "forward", _BatchNorm.forward)
        _BatchNorm.forward = batch_norm_forward  # type: ignore[method-assign]
        stack.callback(setattr, transformer, _IS_CAUSAL, getattr(transformer, _IS_CAUSAL))
        setattr(transformer, _IS_CAUSAL, is_causal_mask)
        stack.callback(setattr, Distribution, "_validate_args", Distribution._validate_args)
        Distribution._validate_args = False
        for overload, function in DECIDING.items():
            overload.py_impl(COMPOSITE)(function)
            overload._dispatch_cache.clear()
            stack.callback(_restore, overload)
        yield


def _restore(overload: Any) -> None:
    del overload.py_kernels[COMPOSITE]
    overload._dispatch_cache.clear()
