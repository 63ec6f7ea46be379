"""What a trace depends on is told apart, names or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from mojoaccel.config import TraceOptions
from mojoaccel.example import Example
from mojoaccel.trace.fingerprint import fingerprint
from mojoaccel.trace.loader import load_model


class Holder(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def key(function: Callable[[Tensor], Tensor]) -> object:
    example = Example(Holder(function), (torch.zeros(3),), {})
    return fingerprint(load_model(example), TraceOptions())["modules"]


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * factor


def power(x: Tensor, exponent: int) -> Tensor:
    return x**exponent


def test_functions_that_a_module_holds_count_by_their_code() -> None:
    functions = [lambda x: x + 1, lambda x: x + 2, lambda x: x - 1, scaled(2.0), scaled(3.0)]
    functions += [partial(power, exponent=2), partial(power, exponent=3), torch.sin, torch.cos]
    keys = [key(f) for f in functions]
    assert len(set(map(str, keys))) == len(keys)
    assert key(scaled(2.0)) == key(scaled(2.0))
