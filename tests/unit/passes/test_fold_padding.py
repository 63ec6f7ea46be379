"""Padding in front of convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mojoaccel
from mojoaccel.ir.graph import Graph, Node, Value, make_attrs
from mojoaccel.ir.types import F32, TensorType
from mojoaccel.passes.fold_padding import fold_padding


def value(name: str, *shape: int) -> Value:
    return Value(name, TensorType(F32, shape))


def graph(pad: list[int], *, fill: float = 0, padding: object = 1, output: str = "y") -> Graph:
    nodes = (
        Node("constant_pad_nd", ("x",), make_attrs({"pad": tuple(pad), "value": fill}),
             (value("p", 1, 3, 9, 9),)),
        Node("conv2d", ("p", "w", None), make_attrs({"padding": padding}),
             (value("y", 1, 4, 8, 8),)),
    )  # fmt: skip
    return Graph("g", "kernel", (), (value("x", 1, 3, 8, 8),), (value("w", 4, 3, 3, 3),), nodes,
                 (output,))  # fmt: skip


def test_zeros_become_padding_of_the_convolution():
    changed, count = fold_padding(graph([2, 1, 0, 3]), frozenset())
    (node,) = changed.nodes
    assert (count, node.inputs[0], node.attr("padding")) == (1, "x", (1, 3))


@pytest.mark.parametrize(
    "made",
    [
        graph([1, 1, 1, 1], fill=2.0),
        graph([-1, 1, 1, 1]),
        graph([1, 1, 1, 1, 1, 0]),
        graph([1, 1, 1, 1], padding="same"),
    ],
    ids=["value", "crop", "channels", "same"],
)
def test_other_padding_stays(made: Graph):
    assert fold_padding(made, frozenset()) == (made, 0)


def test_a_padded_image_that_is_read_elsewhere_stays():
    changed, count = fold_padding(graph([1, 1, 1, 1], output="p"), frozenset())
    assert (count, [n.op for n in changed.nodes]) == (0, ["constant_pad_nd"])


def test_padding_by_nothing_is_read_through():
    changed, count = fold_padding(graph([0, 0, 0, 0], padding="valid"), frozenset())
    assert (count, [n.inputs[0] for n in changed.nodes]) == (1, ["x"])


class Padded(nn.Module):
    """Uneven padding before a strided, a depthwise and a one-dimensional convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 20, 3, stride=2)
        self.b = nn.Conv2d(20, 20, 3, groups=20, padding=1)
        self.c = nn.Conv1d(20, 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(F.pad(x, (0, 1, 0, 1))))
        y = self.b(F.pad(y, (2, 0, 0, 3)))
        return self.c(F.pad(y.mean(2), (3, 0)))


@pytest.mark.mojo
def test_folded_padding_answers_as_pytorch():
    torch.manual_seed(0)
    module = Padded().eval()
    x = torch.randn(2, 3, 13, 18)
    with mojoaccel.compile(module, (x,)) as session:
        assert dict(session.manifest.passes)["fold_padding"] == 3
        torch.testing.assert_close(session(x), module(x))
