"""What a trace depends on is told apart, names or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

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


class Mode(Enum):
    NEAREST = 1
    LINEAR = 2


@dataclass
class Settings:
    scale: float
    mode: Mode = Mode.NEAREST


@dataclass(frozen=True, slots=True)
class Slotted:
    scale: float


def key(function: Any) -> object:
    example = Example(Holder(function), (torch.zeros(3),), {})
    return fingerprint(load_model(example), TraceOptions())["modules"]


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * factor


def power(x: Tensor, exponent: int) -> Tensor:
    return x**exponent


def test_functions_that_a_module_holds_count_by_their_code() -> None:
    functions = [lambda x: x + 1, lambda x: x + 2, lambda x: x - 1, scaled(2.0), scaled(3.0)]
    functions += [partial(power, exponent=2), partial(power, exponent=3), torch.sin, torch.cos]
    functions += [torch.Tensor.__radd__, torch.Tensor.__getitem__]
    keys = [key(f) for f in functions]
    assert len(set(map(str, keys))) == len(keys)
    assert key(scaled(2.0)) == key(scaled(2.0))


def test_settings_that_a_module_holds_count_by_their_values() -> None:
    held = [Settings(1.0), Settings(2.0), Settings(1.0, Mode.LINEAR), Slotted(1.0), Slotted(2.0)]
    held += [torch.float32, torch.float64, {1}, {2}, Mode.LINEAR, 1j, 2j, slice(1), slice(2)]
    keys = [key(value) for value in held]
    assert len(set(map(str, keys))) == len(keys)
    assert key(Settings(1.0)) == key(Settings(1.0))
