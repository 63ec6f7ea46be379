"""Weights that the model computes itself: from numbers alone or from weights, at every level."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mojoaccel.config import OptimizeOptions, TraceOptions
from mojoaccel.example import Example
from mojoaccel.passes.pipeline import optimize
from mojoaccel.targets.probe import detect
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel


class Blurred(nn.Module):
    """A filter made of numbers where it is used, and one made of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.sharp = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(5, dtype=x.dtype) - 2
        line = torch.exp(-(at**2) / 2)
        kernel = (line[:, None] * line[None, :] / line.sum() ** 2)[None, None]
        return self.sharp(F.conv2d(x, kernel))


@pytest.mark.parametrize("level", [0, 2])
def test_what_a_kernel_takes_as_a_weight_is_computed_when_packaging(level: int) -> None:
    example = Example(Blurred(), (torch.randn(1, 1, 12, 12),))
    traced, _ = trace(LoadedModel("blurred", example), TraceOptions())
    plan = optimize(traced, detect(), OptimizeOptions(optimization=level))
    assert plan.weight_graph is not None
    made = {n.op for n in plan.weight_graph.nodes}
    assert {"arange", "exp"} <= made
    run = {op for g in plan.groups for op in g.ops}
    assert "conv2d" in run and "exp" not in run


class Weighted(nn.Module):
    """A mean weighted by numbers made where they are used; the ramp itself is used too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        ramp = torch.arange(9, dtype=x.dtype) + 1
        return (x * (ramp / ramp.sum())).sum(1), x + ramp


def test_tables_of_numbers_are_computed_when_packaging() -> None:
    example = Example(Weighted(), (torch.randn(2, 9),))
    traced, _ = trace(LoadedModel("weighted", example), TraceOptions())
    plan = optimize(traced, detect(), OptimizeOptions())
    assert plan.weight_graph is not None
    assert [n.op for n in plan.weight_graph.nodes] == ["arange", "add", "sum", "div"]
    assert [w.shape for w in plan.weights] == [(9,)]
    run = [op for g in plan.groups for op in g.ops]
    assert run.count("sum") == 1 and "div" not in run and "arange" in run
