"""Complex values as results."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import mojoaccel
from mojoaccel.config import TraceOptions
from mojoaccel.passes.split_complex import split_complex
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import load_model


class Twice(nn.Module):
    """Gives an operator's result, parts and an input more than once."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        whole = torch.fft.fft(x)
        parts = x * x
        return whole, whole, parts, parts, x, x, torch.view_as_real(whole)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def outputs(module: nn.Module) -> list[str]:
    example = mojoaccel.Example(module.eval(), (torch.randn(3, 5, dtype=torch.complex64),))
    traced, _ = trace(load_model(example), TraceOptions())
    return list(split_complex(traced.graph)[0].outputs)


def test_results_given_twice_are_each_their_own() -> None:
    assert len(set(outputs(Twice()))) == 7
    assert len(set(outputs(Nothing()))) == 2
