"""Operators through the whole pipeline against PyTorch, with float64 as referee.

Cases are compiled together, one `mojo build` a group. Integers, booleans and special values must
be equal; a float may be off by four times PyTorch's own error or by 16 roundings of the output's
largest value, whichever is more (different but equally good orders of summation differ by that).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import mojoaccel
from mojoaccel.trace.replay import in_double
from tests import operator_cases as cases
from tests.operators import (
    attention_cases,
    binning_cases,
    complex_cases,
    core_cases,
    linalg_cases,
    movement_cases,
    ordering_cases,
    product_cases,
    recurrent_cases,
    reduction_cases,
    scatter_cases,
    spatial_cases,
    special_cases,
)

STEP = {
    torch.float32: 2.0**-23,
    torch.float64: 2.0**-52,
    torch.bfloat16: 2.0**-7,
    torch.float16: 2.0**-10,
}


class Batch(nn.Module):
    """Runs every case on its own inputs."""

    def __init__(self, group: list[cases.Case]) -> None:
        super().__init__()
        self.group = group

    def forward(self, *inputs: Tensor) -> list[object]:
        results, at = [], 0
        for _, function, args in self.group:
            results.append(function(*inputs[at : at + len(args)]))
            at += len(args)
        return results


def widen(t: Tensor) -> Tensor:
    if t.is_complex():
        return t.to(torch.complex128)
    return t.double() if t.is_floating_point() else t


def judge(got: Tensor, own: Tensor, exact: Tensor) -> str:
    """Return what is wrong with an answer, or nothing."""
    if got.shape != own.shape or got.dtype != own.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {own.dtype}{list(own.shape)}"
    if own.is_complex():
        return judge(*(torch.view_as_real(t.resolve_conj()) for t in (got, own, exact)))
    if not own.is_floating_point():
        return "" if torch.equal(got, own) else f"{int((got != own).sum())} values differ"
    mine, theirs, truth = got.double(), own.double(), exact.double()
    special = ~(torch.isfinite(theirs) & torch.isfinite(truth))
    if not torch.equal(mine[special].nan_to_num(7.0), theirs[special].nan_to_num(7.0)):
        return "special values differ"
    off = (mine - truth)[~special].abs()
    if off.numel() == 0:
        return ""
    limit = max(
        4 * float((theirs - truth)[~special].abs().max()),
        16 * STEP[own.dtype] * float(truth[~special].abs().max()),
    )
    worst = float(off.max())
    return "" if worst <= limit else f"off by {worst:.3g}, allowed {limit:.3g}"


GROUPS: dict[str, Callable[[], list[cases.Case]]] = {
    "pointwise": cases.pointwise_cases,
    "binary": cases.binary_cases,
    "shape": cases.shape_cases,
    "reduction": cases.reduction_cases,
    "product": cases.product_cases,
    "image": cases.image_cases,
    "products": product_cases.product_cases,
    "attention": attention_cases.attention_cases,
    "recurrent": recurrent_cases.recurrent_cases,
    "higher_order": recurrent_cases.higher_order_cases,
    "complex": complex_cases.complex_cases,
    "fourier": complex_cases.fourier_cases,
    "linalg": linalg_cases.linalg_cases,
    "scatter": scatter_cases.scatter_cases,
    "index_write": scatter_cases.index_write_cases,
    "index_put": scatter_cases.index_put_cases,
    "sort": ordering_cases.sort_cases,
    "selection": ordering_cases.selection_cases,
    "scan": ordering_cases.scan_cases,
    "lookup": ordering_cases.lookup_cases,
    "moment": reduction_cases.moment_cases,
    "sum": reduction_cases.sum_cases,
    "norm": reduction_cases.norm_cases,
    "creation": movement_cases.creation_cases,
    "view": movement_cases.view_cases,
    "read": movement_cases.read_cases,
    "convolution": spatial_cases.convolution_cases,
    "transposed_convolution": spatial_cases.transposed_cases,
    "pooling": spatial_cases.pooling_cases,
    "resampling": spatial_cases.resampling_cases,
    "sampling": spatial_cases.sampling_cases,
    "rearranging": spatial_cases.rearranging_cases,
    "spatial_norm": spatial_cases.norm_cases,
    "special": special_cases.special_cases,
    "polynomial": special_cases.polynomial_cases,
    "integer": special_cases.integer_cases,
    "narrow": special_cases.narrow_cases,
    "binning": binning_cases.binning_cases,
    "core": core_cases.core_cases,
}


TOGETHER = (
    "pointwise binary",
    "shape view read creation",
    "reduction sum moment norm",
    "product products",
    "scatter index_write index_put",
    "sort selection scan lookup",
    "special polynomial",
    "integer narrow binning core",
    "recurrent higher_order",
    "image spatial_norm rearranging",
)
"""Groups of one build: the compiler takes 2 s for the least program."""
ALONE = [name for name in GROUPS if all(name not in names.split() for names in TOGETHER)]


@pytest.mark.mojo
@pytest.mark.parametrize("names", [*ALONE, *TOGETHER])
def test_operators_agree_with_pytorch(names: str, tmp_path: Path) -> None:
    group = [case for name in names.split() for case in GROUPS[name]()]
    module = Batch(group)
    inputs = tuple(t for _, _, args in group for t in args)
    with mojoaccel.compile(module, inputs, verify=False, output=tmp_path / "ops.maccel") as session:
        got = session(*inputs)
    wrong = []
    for (case, function, args), answer in zip(group, got, strict=True):
        own = pytree.tree_leaves(function(*args))
        wide = in_double(function) if isinstance(function, nn.Module) else function
        exact = pytree.tree_leaves(wide(*(widen(a) for a in args)))
        for mine, theirs, truth in zip(pytree.tree_leaves(answer), own, exact, strict=True):
            problem = judge(mine, theirs, truth)
            if problem:
                wrong.append(f"{case}: {problem}")
    assert not wrong, "\n".join(wrong)


class Constants(nn.Module):
    """The same calls on buffers alone: all of them are computed when the artifact is made."""

    def __init__(self, group: list[cases.Case]) -> None:
        super().__init__()
        self.group = group
        for i, (_, _, args) in enumerate(group):
            for j, t in enumerate(args):
                self.register_buffer(f"case{i}_{j}", t)

    def forward(self, x: Tensor) -> list[object]:
        results: list[object] = [x + 1]
        for i, (_, function, args) in enumerate(self.group):
            held = (getattr(self, f"case{i}_{j}") for j in range(len(args)))
            results.append(function(*held))
        return results


FOLDED = ("scatter", "index_put", "sort", "scan", "lookup", "moment", "norm", "read")


@pytest.mark.mojo
def test_folded_operators_agree_with_pytorch(tmp_path: Path) -> None:
    group = [(f"{name}: {case}", *rest) for name in FOLDED for case, *rest in GROUPS[name]()]
    x = torch.zeros(2)
    place = tmp_path / "ops.maccel"
    with mojoaccel.compile(Constants(group), (x,), verify=False, output=place) as session:
        got = session(x)[1:]
    wrong = []
    for (case, function, args), answer in zip(group, got, strict=True):
        own = pytree.tree_leaves(function(*args))
        for mine, theirs in zip(pytree.tree_leaves(answer), own, strict=True):
            problem = judge(mine, theirs, theirs)
            if problem:
                wrong.append(f"{case}: {problem}")
    assert not wrong, "\n".join(wrong)
