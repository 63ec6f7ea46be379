"""The model of the runtime tests: dims that vary, a state, several output types."""

import torch
from torch import nn

from mojoaccel import Example


class Net(nn.Module):
    """Embeds, transforms, and counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 24)
        self.up = nn.Linear(24, 256)
        self.down = nn.Linear(256, 5)
        self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("total", torch.ones(24))

    def forward(self, x, ids):
        self.calls.add_(1)
        self.total.add_(x.sum(0))
        hidden = torch.relu(self.up(x + self.table(ids)))
        return {
            "logits": self.down(hidden),
            "next": ids + 1,
            "state": (self.calls + 0, self.total * 1.0),
            "active": hidden.sum(-1) > 1.0,
        }


def factory() -> Example:
    torch.manual_seed(0)
    dynamic = {"x": {0: "batch:1..16"}, "ids": {0: "batch:1..16"}}
    return Example(Net().eval(), (torch.randn(3, 24), torch.tensor([1, 5, 10])), dynamic=dynamic)


class Wide(nn.Module):
    """Enough work for every thread of a team, so that the threads really meet."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(part for _ in range(4) for part in (nn.Linear(512, 512), nn.Softmax(-1)))
        )

    def forward(self, x):
        return self.layers(x)


def wide() -> Example:
    torch.manual_seed(1)
    return Example(Wide().eval(), (torch.randn(64, 512),), dynamic={"x": {0: "rows:1..256"}})
