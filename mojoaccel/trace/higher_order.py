"""Higher-order operators, which call functions of the model, written out in ATen operators.

PyTorch keeps ``flex_attention``, ``scan``, ``map`` and ``cond`` whole in an exported program, with
their functions beside it. While the program is taken apart they are computed here: attention with
all of its scores, loops step by step where their number of steps is known, both branches of a
condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch._higher_order_ops.cond import CondOp
from torch._higher_order_ops.flex_attention import FlexAttentionHOP, math_attention
from torch._higher_order_ops.map import MapImpl
from torch._higher_order_ops.scan import ScanOp


def flex_attention(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """``flex_attention``: softmax over all scores, changed and masked by the model's functions."""
    return math_attention(*args, **kwargs)


def scan(operator: Any, combine: Any, init: Any, xs: Any, additional: Any) -> Any:
    """``scan``: carry a state through the steps of the first axis, and stack what each gives."""
    if not xs or not isinstance(xs[0].shape[0], int) or not xs[0].shape[0]:
        return _scan(operator, combine, init, xs, additional)
    carry, made = list(init), []
    for step in range(xs[0].shape[0]):
        found = list(combine(*carry, *(x.select(0, step) for x in xs), *additional))
        carry = found[: len(init)]
        made.append(found[len(init) :])
    return (*carry, *stacked(made))


def map_steps(operator: Any, function: Any, xs: Any, additional: Any) -> Any:
    """``map``: the same function of every step of the first axis."""
    if not isinstance(xs[0].shape[0], int) or not xs[0].shape[0]:
        return _map(operator, function, xs, additional)
    steps = range(xs[0].shape[0])
    return stacked([list(function(*(x.select(0, s) for x in xs), *additional)) for s in steps])


def cond(operator: Any, condition: Any, true: Any, false: Any, operands: Any = ()) -> Any:
    """``cond`` on a tensor: both functions, of whose results one is taken."""
    if not isinstance(condition, torch.Tensor):
        return _cond(operator, condition, true, false, operands)
    chosen = condition.reshape(())
    pairs = zip(true(*operands), false(*operands), strict=True)
    return tuple(torch.where(chosen, *pair) for pair in pairs)


def stacked(steps: Sequence[Sequence[torch.Tensor]]) -> tuple[torch.Tensor, ...]:
    """Stack the results of the steps, one by one."""
    return tuple(torch.stack(column) for column in zip(*steps, strict=True))


_scan, _map, _cond = ScanOp.__call__, MapImpl.__call__, CondOp.__call__
WRITTEN_OUT = {FlexAttentionHOP: flex_attention, ScanOp: scan, MapImpl: map_steps, CondOp: cond}
"""What calls each operator's class within the context."""


@contextmanager
def written_out() -> Iterator[None]:
    """Compute higher-order operators by what stands here within the context."""
    with ExitStack() as stack:
        for operator, function in WRITTEN_OUT.items():
            stack.callback(setattr, operator, "__call__", operator.__call__)
            operator.__call__ = function  # type: ignore[assignment]
        yield
