"""Small models for the server's tests; compiled once."""

import torch
from torch import nn

from mojoaccel import Example


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(32, 64)
        self.second = nn.Linear(64, 8)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Kinds(nn.Module):
    def forward(self, i, f, b, h, w, s):
        return i * 2, f + 0.5, ~b, h + 0.5, w + 0.5, s + 1


class Slow(nn.Module):
    """Long enough for queues to fill: a chain of products."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(1024, 1024) / 32)

    def forward(self, x):
        for _ in range(24):
            x = torch.tanh(x @ self.weight)
        return x


def add():
    axes = {0: "batch:1..1024"}
    return Example(Add(), (torch.ones(2, 16), torch.ones(2, 16)), dynamic={"a": axes, "b": axes})


def net():
    return Example(Net(), (torch.randn(2, 32),), dynamic={"x": {0: "batch:1..64"}})


def kinds():
    return Example(
        Kinds(),
        (
            torch.ones(3, dtype=torch.int64),
            torch.ones(2, 2),
            torch.ones(4, dtype=torch.bool),
            torch.ones(3, dtype=torch.float16),
            torch.ones(3, dtype=torch.bfloat16),
            torch.tensor(1.0),
        ),
    )


def slow():
    return Example(Slow(), (torch.randn(64, 1024),))
