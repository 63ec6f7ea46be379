"""Models in bfloat16: not less exact than PyTorch's own, with float64 as the referee."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import mojoaccel
from mojoaccel.artifact.packing import AMX_PANEL
from mojoaccel.config import OptimizeOptions, TraceOptions
from mojoaccel.emit.module import emit
from mojoaccel.passes.pipeline import optimize
from mojoaccel.targets.base import read_target
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel


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


@pytest.mark.parametrize(
    ("cpu", "pairs"),
    [
        ("x86_64-linux-gnu+znver4", True),
        ("x86_64-linux-gnu+sapphirerapids", True),
        ("x86_64-linux-gnu+icelake-server", False),
        ("x86_64-linux-gnu+znver3", False),
        ("aarch64-linux-gnu+neoverse-v1", False),
    ],
)
def test_only_targets_with_the_instruction_get_it(cpu, pairs):
    example = mojoaccel.Example(Mixed().eval(), (torch.randn(1, 3, 30, 20),))
    traced, _ = trace(LoadedModel("Mixed", example), TraceOptions(dtype="bf16"))
    target = read_target(f"cpu:{cpu}")
    text = emit(optimize(traced, target, OptimizeOptions()), target).main
    assert ("conv2d_pairs[" in text, "linear_pairs[" in text) == (pairs, pairs)
    assert ("conv2d_gathered[" in text) == target.amx, "three channels fill no tile by themselves"
    assert ("conv2d_odd_pairs[" in text) == (pairs and not target.amx)
    assert "widen=True" in text, "an odd depth has no pairs"


@pytest.mark.parametrize(("features", "amx"), [("", True), ("-amx-tile", False)])
def test_weights_lie_in_panels_of_two_tiles_for_amx(features, amx):
    module = nn.Sequential(nn.Linear(64, 192), nn.Linear(192, 64), nn.Linear(64, 48)).eval()
    example = mojoaccel.Example(module, (torch.randn(40, 64),))
    traced, _ = trace(LoadedModel("Layers", example), TraceOptions(dtype="bf16"))
    target = read_target(f"cpu:x86_64-linux-gnu+sapphirerapids{features}")
    plan = optimize(traced, target, OptimizeOptions())
    panels = {w.shape[2] for w in plan.weights if len(w.shape) == 4}
    assert target.amx == amx
    assert (panels == {AMX_PANEL}) == amx
