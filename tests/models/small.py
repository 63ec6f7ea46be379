"""Small modules that exercise one thing each; golden files and pass tests are made from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mojoaccel.example import Example


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.gelu(self.a(x)))


class Pointwise(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x * 2 + y).sigmoid() - y.abs()


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2) + 1


class Concatenated(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x.relu(), y.exp()], -1)


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.n = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.n(self.c(x)).relu(), 2)


class Attended(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return y.transpose(1, 2).reshape(2, 5, 12)


class Normalized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = nn.LayerNorm(24)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.n(x + y).softmax(-1)


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids).mean(1)


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        past = torch.arange(n)[:, None] >= torch.arange(n)
        return torch.where(past, x, torch.full((), -1e9))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.r = nn.LSTM(8, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.r(x)[0][:, -1]


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(x.sum(0))
        return x + self.seen


class Integers(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x // 3 + y, (x > y) & (x != 0)


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def examples() -> dict[str, Example]:
    """Return every module with example inputs, seeded."""
    torch.manual_seed(0)
    batch = {0: "batch"}
    ids = torch.arange(6).reshape(2, 3)
    return {
        "linear": Example(Linear(), (_random(2, 16),), dynamic={"x": batch}),
        "pointwise": Example(Pointwise(), (_random(2, 9), _random(1, 9)), dynamic={"x": {0: "n"}}),
        "transposed": Example(Transposed(), (_random(2, 5, 7),)),
        "concatenated": Example(Concatenated(), (_random(2, 5), _random(2, 3))),
        "convolved": Example(Convolved().eval(), (_random(1, 3, 8, 8),)),
        "attended": Example(
            Attended(),
            (*(_random(2, 3, 5, 4) for _ in range(3)), torch.ones(2, 1, 5, 5, dtype=torch.bool)),
        ),
        "normalized": Example(
            Normalized(), (_random(3, 24), _random(3, 24)), dynamic={"x": batch, "y": batch}
        ),
        "embedded": Example(Embedded(), (ids,), dynamic={"ids": {1: "length"}}),
        "masked": Example(Masked(), (_random(2, 6, 6),)),
        "recurrent": Example(Recurrent(), (_random(2, 5, 8),)),
        "counter": Example(Counter(), (_random(3, 4),)),
        "integers": Example(Integers(), (torch.arange(-6, 6), torch.arange(12))),
    }
