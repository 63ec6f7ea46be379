"""Forms that are refused say which, why and what to do instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mojoaccel.config import OptimizeOptions, TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.passes.pipeline import optimize
from mojoaccel.targets.base import read_target
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel
from tests.operator_cases import ints, rand
from tests.operators.complex_cases import pairs

sdpa = F.scaled_dot_product_attention

REFUSED: dict[str, tuple[Callable[..., object], tuple[Tensor, ...], str, str]] = {
    "rand": (lambda a: a + torch.rand(3), (rand(3),), "MA203", "draw the numbers outside"),
    "randn_like": (lambda a: a + torch.randn_like(a), (rand(3),), "MA203", "random numbers"),
    "randperm": (lambda a: a[torch.randperm(3)], (rand(3),), "MA203", "random numbers"),
    "bernoulli": (torch.bernoulli, (rand(3).sigmoid(),), "MA203", "random numbers"),
    "multinomial": (lambda a: torch.multinomial(a, 2), (rand(5).abs(),), "MA203", "random"),
    "dropout": (lambda a: F.dropout(a, 0.5, True), (rand(3),), "MA203", "eval()"),
    "eig": (torch.linalg.eig, (rand(3, 3),), "MA203", "symmetric"),
    "attention_dropout": (
        lambda a: sdpa(a, a, a, dropout_p=0.5),
        (rand(1, 2, 3, 4),),
        "MA302",
        "eval()",
    ),
    "complex_softmax": (lambda a: a.softmax(0), (pairs(3),), "MA302", "of complex numbers"),
    "complex_inverse": (torch.linalg.inv, (pairs(3, 3),), "MA302", "of complex numbers"),
    "one_hot": (lambda a: F.one_hot(a), (ints(4, low=0),), "MA204", "pass num_classes"),
    "unique": (
        lambda a: [a * n for n in a.unique().tolist()],
        (ints(4),),
        "MA204",
        "only known when the model runs",
    ),
    "lengths": (
        lambda a, n: torch.tensor_split(a, n),
        (rand(6), torch.tensor([2, 4])),
        "MA204",
        "aten.slice.Tensor: a size depends on the data",
    ),
    "lstm_weights": (
        lambda a, w: lstm(a, w),
        (rand(4, 2, 5), rand(12, 5)),
        "MA302",
        "weights computed at run time",
    ),
}


def lstm(x: Tensor, w: Tensor) -> Tensor:
    zero = x.new_zeros(1, 2, 3)
    return torch.lstm(x, (zero, zero), (w, w[:, :3]), False, 1, 0.0, False, False, False)[0]


class One(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_forms_say_why(name: str) -> None:
    function, inputs, code, why = REFUSED[name]
    with pytest.raises(MojoaccelError) as caught:
        traced, _ = trace(LoadedModel("One", Example(One(function), inputs)), TraceOptions())
        optimize(traced, read_target("cpu:x86_64-linux-gnu"), OptimizeOptions())
    assert caught.value.code == code
    assert any(why in f"{d.message} {d.hint}" for d in caught.value.diagnostics)
