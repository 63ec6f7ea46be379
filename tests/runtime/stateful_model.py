"""Models whose buffers change in awkward ways: exchanged, shifted, equal at first."""

import torch
from torch import nn

from mojoaccel import Example


class Exchange(nn.Module):
    """Two buffers that start equal and exchange their values, and one that nobody reads."""

    def __init__(self):
        super().__init__()
        self.register_buffer("first", torch.zeros(2, 3))
        self.register_buffer("second", torch.zeros(2, 3))
        self.register_buffer("constant", torch.zeros(2, 3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        before = self.first.clone()
        self.first.copy_(self.second + self.constant)
        self.second.copy_(before + x)
        self.seen.add_(1)
        return self.first * 1, self.second * 2


class Window(nn.Module):
    """A sliding window of the last rows, transposed in place now and then."""

    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.arange(16.0).reshape(4, 4))
        self.register_buffer("square", torch.arange(9.0).reshape(3, 3))

    def forward(self, row):
        self.rows.copy_(torch.cat([self.rows[1:], row[None]]))
        self.square.copy_(self.square.T.clone())
        return self.rows.sum(0), self.square + 0


class Cache(nn.Module):
    """A key cache as decoders keep it: one row a step, at a position given as a tensor."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(8, 8)
        self.register_buffer("keys", torch.zeros(1, 6, 8))

    def forward(self, x, position):
        here = torch.arange(6)[None, :, None] == position
        self.keys.copy_(torch.where(here, self.project(x)[:, None], self.keys))
        return torch.softmax(self.keys @ x[..., None], 1)


def exchange() -> Example:
    return Example(Exchange(), (torch.randn(2, 3),))


def window() -> Example:
    return Example(Window(), (torch.randn(4),))


def cache() -> Example:
    torch.manual_seed(0)
    return Example(Cache().eval(), (torch.randn(1, 8), torch.tensor([2])))
