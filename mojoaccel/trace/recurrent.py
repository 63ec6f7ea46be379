"""Keeps recurrent layers whole while a model is exported.

torch.export infers the shapes of LSTM, GRU and RNN by running PyTorch's decomposition, a Python
loop over the time steps: the length of the sequence becomes a constant. The shapes are known
without it, so for the time of an export these operators get a rule of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch._decomp import decomposition_table


def one_state(x: Any, hx: Any, *rest: Any) -> tuple[Any, Any]:
    """Return outputs of the shapes that GRU and RNN give (`bidirectional` is the last but one)."""
    return _sequence(x, hx, rest), hx.new_empty(hx.shape)


def two_states(x: Any, hx: Any, *rest: Any) -> tuple[Any, Any, Any]:
    """Return outputs of the shapes that LSTM gives."""
    hidden, cell = hx
    return _sequence(x, hidden, rest), hidden.new_empty(hidden.shape), cell.new_empty(cell.shape)


def _sequence(x: Any, hidden: Any, rest: tuple[Any, ...]) -> Any:
    directions = 2 if rest[-2] else 1
    return x.new_empty((x.shape[0], x.shape[1], hidden.shape[2] * directions))


SHAPES = {
    torch.ops.aten.lstm.input: two_states,
    torch.ops.aten.gru.input: one_state,
    torch.ops.aten.rnn_tanh.input: one_state,
    torch.ops.aten.rnn_relu.input: one_state,
}
"""What stands for each operator while shapes are inferred."""


@contextmanager
def whole_recurrences() -> Iterator[None]:
    """Infer the shapes of recurrent operators by `SHAPES` within the context."""
    with ExitStack() as stack:
        for overload, shape in SHAPES.items():
            stack.enter_context(_replaced(overload, shape))
        yield


@contextmanager
def _replaced(overload: Any, shape: Callable[..., Any]) -> Iterator[None]:
    kernels, usual = dict(overload.py_kernels), decomposition_table.get(overload)
    for key in kernels:
        overload.py_kernels[key] = shape
    decomposition_table[overload] = shape
    overload._dispatch_cache.clear()
    try:
        yield
    finally:
        overload.py_kernels.update(kernels)
        overload._dispatch_cache.clear()
        if usual is None:
            decomposition_table.pop(overload, None)
        else:
            decomposition_table[overload] = usual
