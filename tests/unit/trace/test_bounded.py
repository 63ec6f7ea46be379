"""Rows chosen by masks, or cut into pieces, whose number only the data tells."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mojoaccel.config import TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.trace.bounded import only_sized
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import load_model
from mojoaccel.trace.replay import graph_runner, module_runner


class Model(nn.Module):
    """Calls a function of itself and of rows of eight numbers."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.gate = nn.Linear(8, 3)
        inside = (nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 8))
        self.experts = nn.ModuleList(nn.Sequential(*inside) for _ in range(3))

    def forward(self, x):
        return self.function(self, x)


def experts(m, x):
    weight, which = m.gate(x).softmax(-1).topk(2)
    hit = F.one_hot(which, 3).permute(2, 1, 0)
    made = torch.zeros_like(x)
    for number, expert in enumerate(m.experts):
        slot, row = torch.where(hit[number])
        made.index_add_(0, row, expert(x[None, row].reshape(-1, 8)) * weight[row, slot, None])
    return made


def by_mask(m, x):
    made = torch.zeros_like(x)
    for number, expert in enumerate(m.experts):
        mine = m.gate(x).argmax(-1) == number
        made[mine] = expert(x[mine])
    return made


def by_place(m, x):
    rows = torch.nonzero(x[:, 0] > 0).squeeze(1)
    made = x.clone()
    made[rows] = m.experts[0](made[rows])
    return (
        made,
        made.index_put((rows,), x[rows], accumulate=True),
        x.scatter_add(0, rows[:, None].expand(-1, 8), x[rows]),
    )


def of_axes(m, x):
    pairs = x.reshape(-1, 2, 4)
    mask = pairs[:, :, 0] > 0
    heads = pairs.transpose(0, 2)[:, mask.t()]
    return x.new_zeros(4).index_add(0, torch.arange(4), heads.softmax(0).sum(1)), pairs[mask].sum()


def looked_up(m, x):
    rows = torch.nonzero(x[:, 2] > 0).squeeze(1)
    mine = x.index_select(0, rows)
    top = mine.gather(1, mine.argsort(1))[:, :3]
    return torch.zeros_like(x).index_copy(0, rows, F.embedding(rows, x) * top.sum(1, keepdim=True))


def totals(m, x):
    mask = x[:, 1] > 0
    return x[mask].sum(0), x[mask].exp().mean(), x[mask].mean(0, keepdim=True)


def scattered(m, x):
    mask = x > 0
    return torch.zeros_like(x).masked_scatter(mask, torch.masked_select(x, mask).relu() + 1)


def checked(m, x):
    torch._check(torch.unique_consecutive(x[:, 0]).numel() >= 1)
    return by_mask(m, x)


def last_of_each(m, x):
    ends = torch.stack([x.argmax(1), x.argmin(1)], 1)
    ends = torch.zeros_like(x, dtype=torch.bool).scatter(1, ends, True)
    torch._check(torch.unique_consecutive(ends.sum(1)).numel() == 1)
    rows = torch.stack([x, x + 1], 2)[ends, :].view(x.shape[0], -1, 2)
    return rows[:, -1, :], rows[:, 0]


def pieces(m, x):
    which = m.gate(x).argmax(1)
    order = which.argsort(stable=True)
    counts = F.one_hot(which, 3).sum(0).tolist()
    made = torch.cat([e(p) for e, p in zip(m.experts, x[order].split(counts), strict=True)])
    scale = made.t().split(counts, dim=1)
    made = torch.cat([made.t(), torch.cat([p * n for n, p in enumerate(scale, 1)], -1)], 0).t()
    return made, torch.zeros_like(x).index_copy(0, order, made[:, :8])


READ = (
    experts, by_mask, by_place, of_axes, looked_up, totals, scattered, checked, last_of_each, pieces
)  # fmt: skip


@pytest.mark.parametrize("function", READ)
def test_rows_are_read_one_by_one(function):
    torch.manual_seed(1)
    example = Example(Model(function), (torch.randn(6, 8),), dynamic={"x": {0: "rows:2..64"}})
    traced, weights = trace(load_model(example), TraceOptions())
    run, reference = graph_runner(traced, weights), module_runner(example)
    one = torch.randn(5, 8)
    for x in (torch.randn(6, 8), one, one.abs(), -one.abs(), torch.randn(9, 8)):
        for got, wanted in zip(run([x.numpy()]), reference([x.numpy()]), strict=True):
            assert got.shape == wanted.shape
            torch.testing.assert_close(
                torch.from_numpy(got), torch.from_numpy(wanted), equal_nan=True
            )


def cut(x):
    return x.split((x[:, :3] == x[:, :3].amax(1, True)).sum(0).tolist())


UNREAD = {
    "result": lambda m, x: x[x[:, 0] > 0],
    "number": lambda m, x: x * x[x[:, 0] > 0].shape[0],
    "order": lambda m, x: x[x[:, 0] > 0].flip(0).sum(0),
    "neighbours": lambda m, x: x[x[:, 0] > 0].cumsum(0).sum(),
    "first ones": lambda m, x: x[: x[x[:, 0] > 0].shape[0]].sum(),
    "product": lambda m, x: x[x > 0].outer(x[x > 0]).softmax(0).sum(),
    "contraction": lambda m, x: x[x[:, 0] > 0].t() @ x[x[:, 0] > 0],
    "blocks": lambda m, x: x[x > 0].reshape(1, -1).softmax(1).sum(),
    "row by row": lambda m, x: x.gather(1, x[x[:, 0] > 0].argsort(1)).sum(0),
    "scattered": lambda m, x: x.scatter_add(1, x[x[:, 0] > 0].argsort(1), x[x[:, 0] > 0]),
    "all of each": lambda m, x: 1 + x[x > 0].view(6, -1).sum(1),
    "a piece": lambda m, x: cut(x)[0].sum(0),
    "some pieces": lambda m, x: torch.cat(cut(x)[:2]).sum(0),
    "pieces turned round": lambda m, x: torch.cat(cut(x)[::-1]),
    "neighbours in pieces": lambda m, x: torch.cat([p.cumsum(0) for p in cut(x)]),
    "share of a piece": lambda m, x: torch.cat([p.softmax(0) for p in cut(x)]),
    "sizes of pieces": lambda m, x: torch.cat([p * p.shape[0] for p in cut(x)]),
    "numbered": lambda m, x: torch.arange(x[x > 0].shape[0]).sum() + x,
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_use_of_the_number_is_refused(name):
    example = Example(Model(UNREAD[name]), (torch.randn(6, 8),))
    with pytest.raises(MojoaccelError) as caught:
        trace(load_model(example), TraceOptions())
    assert {d.code for d in caught.value.diagnostics} <= {"MA203", "MA204"}
    assert any("depends on the data" in d.message for d in caught.value.diagnostics)


def test_a_long_way_to_a_size_is_followed():
    graph = torch.fx.Graph()
    calls = [graph.placeholder("x")]
    for _ in range(1200):
        calls.append(graph.call_function(torch.add, (calls[-1], 1)))
        calls[-1].meta["val"] = torch.empty(6)
    size = graph.call_function(torch.ops.aten.sym_size.int, (calls[-1], 0))
    size.meta["val"] = 6
    graph.output((size, calls[1000]))
    assert only_sized(graph) == set(calls[1001:])
