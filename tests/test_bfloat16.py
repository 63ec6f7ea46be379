"""Models in bfloat16: not less exact than PyTorch's own, with float64 as the referee."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import mojoaccel


class Mixed(nn.Module):
    """Products and convolutions over even and odd depths: with pairs and without."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, stride=2, padding=3)
        self.convs = nn.Sequential(
            *(nn.Conv2d(32, 66, 3, padding=1), nn.ReLU(), nn.Conv2d(66, 64, 1, stride=2)),
            *(nn.ReLU(), nn.Conv2d(64, 48, 3, groups=2), nn.ReLU(), nn.Conv2d(48, 37, (1, 3))),
        )
        self.odd = nn.Linear(37, 70)
        self.even = nn.Linear(70, 51)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs(torch.relu(self.first(x))).flatten(2).transpose(1, 2)
        # A slice whose rows begin at odd elements.
        return self.even(nn.functional.gelu(self.odd(x)))[:, :, 1:]


@pytest.mark.mojo
def test_products_and_convolutions_are_as_exact_as_pytorchs():
    torch.manual_seed(0)
    module = Mixed().eval().requires_grad_(False)
    with mojoaccel.compile(module, (torch.randn(2, 3, 61, 47),), dtype="bf16") as session:
        module.bfloat16()
        double = copy.deepcopy(module).double()
        for _ in range(3):
            x = torch.randn(2, 3, 61, 47).bfloat16()
            exact = double(x.double())
            ours = (session(x).double() - exact).abs()
            theirs = (module(x).double() - exact).abs()
            assert ours.max() <= 1.5 * theirs.max()
            assert ours.mean() <= 1.05 * theirs.mean()
