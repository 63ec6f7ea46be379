"""Layers that change their own statistics or tables while they run, over several calls."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import mojoaccel
from tests.operator_cases import ints, rand


class Training(nn.Module):
    """Stays in training mode, which is what updates running statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line, self.total = nn.BatchNorm1d(4), nn.BatchNorm1d(4, momentum=None)
        self.image = nn.BatchNorm2d(4, momentum=None)
        self.volume = nn.BatchNorm3d(4, momentum=0.3, affine=False)
        self.instance = nn.InstanceNorm2d(4, track_running_stats=True)
        self.table = nn.Embedding(6, 4, max_norm=1.0)

    def train(self, mode: bool = True) -> Training:
        return self

    def forward(self, x: Tensor, y: Tensor, z: Tensor, i: Tensor) -> list[Tensor]:
        found = [self.line(x), self.total(x[..., 0]), self.image(y), self.volume(z)]
        found += [self.instance(y), self.table(i), x[:, :, 0] @ self.table.weight.T]
        return found + [b * 1 for _, b in self.named_buffers()]


@pytest.mark.mojo
def test_statistics_and_tables_follow_pytorch() -> None:
    def inputs(batch: int) -> tuple[Tensor, ...]:
        x, y, z = rand(batch, 4, 5), rand(batch, 4, 3, 5) + 3, rand(batch, 4, 2, 3, 2)
        return 2 * x + 1, y, z, ints(3, low=0, high=6, seed=batch)

    module = Training()
    own = copy.deepcopy(module)
    dynamic = {name: {0: "batch"} for name in "xyz"}
    with mojoaccel.compile(module, inputs(4), dynamic=dynamic, verify=False) as session:
        for batch in (4, 2, 7, 3, 5):
            given = inputs(batch)
            with torch.no_grad():
                expected = pytree.tree_leaves(own(*given))
            for ours, theirs in zip(pytree.tree_leaves(session(*given)), expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
