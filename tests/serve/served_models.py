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
    def forward(self, i, f, b, h, w, s, n, u, c, d):
        return i * 2, f + 0.5, ~b, h + 0.5, w + 0.5, s + 1, n - 1, u + 250, -c, d / 3


class Counted(nn.Module):
    """Keeps a state, and takes a multiple of 8."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x.reshape(x.shape[0] // 8, 8).sum(1) + self.calls


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
            torch.ones(2, dtype=torch.int32),
            torch.ones(3, dtype=torch.uint8),
            torch.ones(5, dtype=torch.int8),
            torch.ones(2, dtype=torch.float64),
        ),
    )


def counted():
    return Example(Counted(), (torch.ones(24),), dynamic={"x": {0: "8*n:1..64"}})


def slow():
    return Example(Slow(), (torch.randn(64, 1024),))
