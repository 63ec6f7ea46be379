"""Runs of a user's module that verification compares with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mojoaccel.example import Example
from mojoaccel.trace.replay import module_runner


class Lazy(nn.Module):
    """Makes its table for the size of its first input, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(1))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.table.shape[0] != x.shape[-1]:
            self.table = torch.arange(x.shape[-1], dtype=x.dtype)
        self.calls += 1
        return x + self.table * self.calls


def test_a_run_leaves_the_buffers_as_they_were() -> None:
    module = Lazy()
    table = module.table
    for double in (False, True):
        run = module_runner(Example(module, (torch.ones(2, 3),)), double=double)
        answers = [run([np.ones((2, 3), np.float32)])[0] for _ in range(3)]
        for answer in answers:
            np.testing.assert_array_equal(answer, [[1, 2, 3]] * 2)
    assert module.table is table and table.shape == (1,) and float(module.calls) == 0
