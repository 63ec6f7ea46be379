"""A small GPT that predicts the next token of a prompt; batch and prompt length vary.

mojoaccel compile examples/small_gpt.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mojoaccel import Example

CONTEXT = 256


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the layers."""
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [batch, length, width] to the same shape."""
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class SmallGPT(nn.Module):
    """A decoder-only transformer whose output layer shares the token embedding's weights."""

    def __init__(
        self, vocabulary: int = 8000, width: int = 256, heads: int = 8, layers: int = 4
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Predict what follows ids [batch, length].

        Returns:
            The likeliest token [batch], and the logits [batch, vocabulary].
        """
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions(positions)
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x[:, -1]), self.tokens.weight)
        return logits.argmax(dim=-1), logits


def factory() -> Example:
    """Return the model with seeded weights and a prompt of 64 tokens."""
    torch.manual_seed(0)
    ids = torch.randint(0, 8000, (1, 64))
    dynamic = {"ids": {0: "batch", 1: f"length:1..{CONTEXT}"}}
    return Example(SmallGPT(), (ids,), dynamic=dynamic)
