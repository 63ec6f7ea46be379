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


class Recurrent(nn.Module):
    """Has layers of each kind, one after the other."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.LSTM(4, 4, 2, batch_first=True, bidirectional=True),
                nn.LSTM(8, 5, bias=False, proj_size=3),
                nn.GRU(3, 4, 2),
                nn.RNN(4, 4, nonlinearity="relu"),
            ]
        )

    def forward(self, x):
        states = []
        for layer in self.layers:
            x, state = layer(x)
            states.append(state)
        return x, states


def agree(module, given: np.ndarray, double: bool) -> None:
    example = Example(module, (torch.from_numpy(given),))
    traced, weights = trace(load_model(example), TraceOptions())
    answers = graph_runner(traced, weights, double=double)([given])
    for got, wanted in zip(answers, module_runner(example, double=double)([given]), strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_numbers_stand_for_tensors() -> None:
    for kind in (np.float32, np.int32):
        agree(Numbers(), np.array([1, 3, 5], kind), double=False)


def test_recurrent_layers_are_run_as_they_are() -> None:
    for double in (False, True):
        agree(Recurrent(), np.random.default_rng(0).random((2, 3, 4), np.float32), double)


class Ones(nn.Module):
    """Has a number and a row of one number, of equal bytes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("row", torch.tensor([2.0]))
        self.register_buffer("number", torch.tensor(2.0))

    def forward(self, x):
        return x * self.number, torch.cat([self.row, x])


def test_a_number_is_no_row() -> None:
    agree(Ones(), np.array([1, 3, 5], np.float32), double=False)
