"""Recurrent layers: every kind, direction, layout and form of state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.map import map as map_steps
from torch._higher_order_ops.scan import scan
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from tests.operator_cases import Case, rand


def layer(kind: Callable[..., nn.Module], *sizes: int, **options: Any) -> nn.Module:
    torch.manual_seed(sum(sizes))
    return kind(*sizes, **options).eval()


def double(module: nn.Module) -> Callable[..., Any]:
    """Return a call of the module that follows its inputs' type, for the float64 referee."""
    kinds = (torch.float64, torch.bfloat16)
    modules = {kind: copy.deepcopy(module).to(kind) for kind in kinds} | {torch.float32: module}
    return lambda *args, **options: modules[args[0].dtype](*args, **options)


def with_states(module: nn.Module) -> Callable[..., Any]:
    """Return a call whose further operands are the initial states."""
    call = double(module)

    def run(x: Tensor, *states: Tensor) -> Any:
        return call(x, states[0] if len(states) == 1 else tuple(states))

    return run


def recurrent_cases() -> list[Case]:
    x, y = rand(5, 3, 7), rand(3, 5, 7)
    cases: list[Case] = []
    for name, kind in (("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)):
        first = {"batch_first": True}
        cases += [
            (name, double(layer(kind, 7, 6)), (x,)),
            (f"{name}_first", double(layer(kind, 7, 19, **first)), (y,)),
            (f"{name}_two", double(layer(kind, 7, 6, num_layers=2, bidirectional=True)), (x,)),
            (f"{name}_bare", double(layer(kind, 7, 17, bias=False, bidirectional=True)), (x,)),
            (f"{name}_one", double(layer(kind, 7, 6)), (x[:, 0],)),
            (f"{name}_wide", double(layer(kind, 7, 33, **first)), (rand(11, 2, 7),)),
            (f"{name}_bf16", double(layer(kind, 7, 6)), (x.bfloat16(),)),
            (f"{name}_f64", double(layer(kind, 7, 6)), (x.double(),)),
        ]
        if kind is not nn.LSTM:
            states = with_states(layer(kind, 7, 6, bidirectional=True))
            cases.append((f"{name}_state", states, (x, rand(2, 3, 6))))
    cases += [
        ("rnn_relu", double(layer(nn.RNN, 7, 18, nonlinearity="relu", num_layers=2)), (x,)),
        ("lstm_state", with_states(layer(nn.LSTM, 7, 6)), (x, rand(1, 3, 6), rand(1, 3, 6))),
        ("lstm_projected", double(layer(nn.LSTM, 7, 20, proj_size=5)), (x,)),
        (
            "lstm_projected_two",
            double(layer(nn.LSTM, 7, 9, proj_size=3, num_layers=2, bidirectional=True)),
            (x,),
        ),
        (
            "lstm_projected_bare",
            with_states(layer(nn.LSTM, 7, 9, proj_size=4, bias=False, batch_first=True)),
            (y, rand(1, 3, 4), rand(1, 3, 9)),
        ),
        ("lstm_cell", double(layer(nn.LSTMCell, 7, 6)), (x[0],)),
        ("gru_cell", double(layer(nn.GRUCell, 7, 6)), (x[0],)),
        ("rnn_cell", double(layer(nn.RNNCell, 7, 6, nonlinearity="relu")), (x[0],)),
    ]
    return cases


def running_mean(carry: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    carry = 0.9 * carry + 0.1 * row
    return carry, carry.tanh()


def higher_order_cases() -> list[Case]:
    """Functions that PyTorch's operators call: for each step, for each score."""
    x, state, heads = rand(5, 2, 3), rand(2, 3, seed=1), rand(2, 4, 6, 8)

    def near(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score - (i - j).abs() * 0.1 * (h + 1)

    past = create_block_mask(
        lambda b, h, i, j: i >= j, None, None, 6, 6, device="cpu", BLOCK_SIZE=4
    )
    return [
        ("scan", lambda s, a: scan(running_mean, s, a), (state, x)),
        ("scan_reverse", lambda s, a: scan(running_mean, s, a, reverse=True)[1], (state, x)),
        ("map", lambda a: map_steps(lambda row: row.softmax(-1) * 2, a), (x,)),
        (
            "cond",
            lambda a, s: torch.cond(a.sum() > s, torch.sin, torch.cos, (a,)),
            (x, x.sum() - 1),
        ),
        (
            "cond_not",
            lambda a, s: torch.cond(a.sum() > s, torch.sin, torch.cos, (a,)),
            (x, x.sum() + 1),
        ),
        ("flex", lambda q: flex_attention(q, q, q, score_mod=near), (heads,)),
        ("flex_mask", lambda q: flex_attention(q, q, q, block_mask=past), (heads,)),
        (
            "flex_groups",
            lambda q: flex_attention(q, q[:, :2], q[:, 2:], enable_gqa=True, scale=0.2),
            (heads,),
        ),
    ]
