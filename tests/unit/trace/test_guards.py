"""Conditions on sizes that torch cannot prove are tried out."""

import pytest
import torch
from torch import nn

from mojoaccel.config import TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.ir.dims import Dim
from mojoaccel.trace.export import trace
from mojoaccel.trace.guards import draw_sizes
from mojoaccel.trace.loader import load_model


class Steps(nn.Module):
    """Halves a length with rounding until it is used squared, as encoders of sound do."""

    def __init__(self, least):
        super().__init__()
        self.least = least

    def forward(self, x):
        steps = nn.functional.avg_pool1d(nn.functional.avg_pool1d(x, 10, 5), 4)
        count = steps.shape[-1] - 1
        if count * count > self.least:
            return steps @ steps.mT
        return steps * 2


def traced(least, samples):
    example = Example(Steps(least), (torch.randn(1, 2, 4000),), dynamic={"x": {2: samples}})
    return trace(load_model(example), TraceOptions())[0]


def test_conditions_that_hold_for_the_whole_range():
    graph = traced(1, "samples:80..100000").graph
    assert [(d.name, d.min, d.max) for d in graph.dims] == [("samples", 80, 100000)]


def test_a_condition_that_fails_somewhere_is_said():
    with pytest.raises(MojoaccelError) as caught:
        traced(1, "samples:60..100000")
    assert caught.value.diagnostics[0].code == "MA205"


def test_draws_stay_in_their_ranges():
    ranges = {"a": Dim("a", 1, 7), "b": Dim("b", 60, None), "c": Dim("c", 5, 5)}
    draws = list(draw_sizes(ranges))
    assert {d["a"] for d in draws} >= {2, 7} and all(2 <= d["a"] <= 7 for d in draws)
    assert min(d["b"] for d in draws) == 60 and {d["c"] for d in draws} == {5}
