"""Sizes that a model puts into tensors and reads back."""

import math

import pytest
import torch
from torch import nn

from mojoaccel.config import TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.ir.dims import evaluate, parse_size
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import load_model


class Window(nn.Module):
    """Cuts as many rows around the middle of a table as there are positions."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(128, 4))

    def forward(self, x):
        span = torch.tensor(min(x.shape[0], 64))
        window = self.table[64 - span : 64 + span]
        return window + 1, x.clamp(max=span * 2 - 1), x[1::2]


class Counted(nn.Module):
    """Makes as many rows as the largest of its positions tells."""

    def forward(self, x):
        positions = torch.arange(x.shape[0]).unsqueeze(0).repeat(3, 1)
        return torch.ones(1, 2).repeat(positions.max() + 1, positions[:, 2:].min() + 1)


class Positions(nn.Module):
    """Makes as many rows as there are positions."""

    def forward(self, x):
        positions = torch.arange(2, x.shape[0]).unsqueeze(0).expand(3, -1).t()
        return torch.ones(1, 2).repeat(positions.max() - positions.min(), 1)


class Padded(nn.Module):
    """Rounds a length up with floating-point arithmetic, as convolutions of sound do."""

    def forward(self, x):
        frames = torch.sym_float(x.shape[0] - 1) / 4 + 1.0
        return nn.functional.pad(x, (0, math.ceil(frames) * 4 - x.shape[0]))


class FromData(nn.Module):
    """Reads a position out of its input."""

    def forward(self, x):
        return x[: x[0].long()]


def traced(module, length="n:2..100"):
    example = Example(module, (torch.randn(9),), dynamic={"x": {0: length}})
    return trace(load_model(example), TraceOptions())[0].graph


def test_what_is_read_from_a_tensor_of_a_size_is_that_size():
    graph = traced(Window(), "n:4..100")
    shapes = [v.type.shape for n in graph.nodes for v in n.outputs if n.op == "slice"]
    assert shapes == [(parse_size("2*min(64, n)"), 4), (parse_size("floordiv(n, 2)"),)]


def test_the_ends_of_counted_positions_are_sizes():
    graph = traced(Positions(), "n:4..100")
    (shape,) = [n.output.type.shape for n in graph.nodes if n.op == "repeat"]
    assert [evaluate(shape[0], {"n": n}) for n in (4, 100)] == [1, 97]
    with pytest.raises(MojoaccelError, match="MA204"):  # what a slice holds is not followed
        traced(Counted(), "n:4..100")


def test_a_quotient_is_rounded_in_integers():
    graph = traced(Padded())
    (pad,) = [n.output.type.shape[0] for n in graph.nodes if n.op == "constant_pad_nd"]
    assert [evaluate(pad, {"n": n}) for n in (2, 5, 6, 9, 100)] == [8, 8, 12, 12, 104]


def test_what_is_read_from_an_input_is_refused():
    with pytest.raises(MojoaccelError) as caught:
        traced(FromData())
    assert {d.code for d in caught.value.diagnostics} == {"MA204"}
