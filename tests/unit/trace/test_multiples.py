"""Axes that are declared as a multiple of a dim."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mojoaccel.config import TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import load_model
from mojoaccel.trace.replay import graph_runner


class Blocks(nn.Module):
    """Sums blocks of eight."""

    def forward(self, x, y):
        batch, length = x.shape
        return x.reshape(batch, length // 8, 8).sum(2) + y[:, 1:]


def traced(model, *dynamic):
    return trace(load_model(model), TraceOptions(dynamic=dynamic))


def example(length, dynamic):
    blocks = torch.randn(2, length // 8 + 1)
    return Example(Blocks(), (torch.randn(2, length), blocks), dynamic=dynamic)


@pytest.mark.parametrize("length", [32, 8])
def test_sizes_are_over_the_dim(length):
    found, weights = traced(example(length, {"x": {-1: "8*n:1..20"}, "y": {1: "n+1"}}))
    assert [(d.name, d.min, d.max) for d in found.graph.dims] == [("n", 1, 20)]
    assert [str(v.type) for v in found.signature.inputs] == ["f32[2, 8*n]", "f32[2, n + 1]"]
    assert [str(v.type) for v in found.signature.outputs] == ["f32[2, n]"]
    x, y = np.ones((2, 40), np.float32), np.ones((2, 6), np.float32)
    (answer,) = graph_runner(found, weights)([x, y])
    assert answer.tolist() == [[9.0] * 5] * 2


class Padded(nn.Module):
    """Sums blocks of five, the last of which is filled up."""

    def forward(self, x):
        if x.shape[0] % 5:
            x = nn.functional.pad(x, (0, 0, 0, -x.shape[0] % 5))
        return x.view(x.shape[0] // 5, 5, 2).sum(1)


def test_what_fills_a_block_up_is_known():
    given = Example(Padded(), (torch.randn(16, 2),), dynamic={"x": {0: "5*n+1:1..20"}})
    found, _ = traced(given)
    shapes = [str(v.type) for node in found.graph.nodes for v in node.outputs]
    assert shapes == ["f32[5*n + 5, 2]", "f32[n + 1, 5, 2]", "f32[n + 1, 2]"]


def test_of_an_exported_program(tmp_path: Path):
    n = torch.export.Dim("n", min=2, max=20)
    args = example(32, {}).args
    shapes = {"x": {1: 8 * n}, "y": {1: n + 1}}
    program = torch.export.export(Blocks(), args, dynamic_shapes=shapes, strict=False)
    torch.export.save(program, tmp_path / "blocks.pt2")
    graph = traced(tmp_path / "blocks.pt2")[0].graph
    (dim,) = graph.dims
    assert (dim.min, dim.max) == (2, 20)
    assert [str(s) for v in graph.inputs for s in v.type.shape[1:]] == [
        f"8*{dim.name}",
        f"{dim.name} + 1",
    ]
    renamed = traced(tmp_path / "blocks.pt2", "x:1=8*steps:2..9", "y:1=steps+1")[0].graph
    assert [(d.name, d.max) for d in renamed.dims] == [("steps", 9)]
    with pytest.raises(MojoaccelError) as caught:
        traced(tmp_path / "blocks.pt2", "x:1=n")
    assert caught.value.diagnostics[0].hint == "declare it as 8*n"


def test_an_example_that_is_no_multiple_is_refused():
    with pytest.raises(MojoaccelError, match="size is 30, which no whole n makes of 8"):
        traced(example(30, {"x": {1: "8*n"}}))


def test_what_must_be_a_multiple_is_said():
    with pytest.raises(MojoaccelError) as caught:
        traced(
            Example(nn.Unflatten(1, (-1, 8)), (torch.randn(2, 32),), dynamic={"input": {1: "n"}})
        )
    assert caught.value.diagnostics[0].hint == "it must be a multiple: declare it as 8*n"
