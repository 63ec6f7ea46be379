"""What PyTorch makes of a graph's calls, one by one."""

import numpy as np
import torch
from torch import nn

from mojoaccel.config import TraceOptions
from mojoaccel.example import Example
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import load_model
from mojoaccel.trace.replay import graph_runner, module_runner

aten = torch.ops.aten


class Numbers(nn.Module):
    """Has a number in each place of its calls."""

    def forward(self, x):
        return (
            aten.sub.Tensor(1, x), aten.div.Tensor(2.5, x), torch.pow(2, x),
            torch.rsub(x, 3), 1 - x, 2 / x, 2**x, torch.where(x > 0, 1.5, x), x - 1.5, x + True,
            aten.maximum.default(x, torch.tensor(0.5)),
        )  # fmt: skip


def test_numbers_stand_for_tensors() -> None:
    for kind in (torch.float32, torch.int32):
        example = Example(Numbers(), (torch.tensor([1, 2, 3], dtype=kind),))
        given = [np.array([1, 3, 5], dtype=example.args[0].numpy().dtype)]
        traced, weights = trace(load_model(example), TraceOptions())
        answers = graph_runner(traced, weights)(given)
        for got, wanted in zip(answers, module_runner(example)(given), strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)
