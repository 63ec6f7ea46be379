"""A table that an embedding and the output layer share lies in the artifact once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mojoaccel
from mojoaccel.errors import MojoaccelError


class Tied(nn.Module):
    """A language model's first and last layer."""

    def __init__(self, rows: int = 131, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(rows, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, rows, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(self.embed(ids))))


@pytest.mark.mojo
def test_tied_weights_are_stored_once():
    torch.manual_seed(0)
    module = Tied().eval()
    ids = torch.randint(0, 131, (2, 7))
    ids[0, 0], ids[1, 6] = 130, 0
    with mojoaccel.compile(module, (ids,)) as session:
        torch.testing.assert_close(session(ids), module(ids))
        own = sum(p.numel() * 4 for p in module.parameters())
        assert session.manifest.weights.size < 1.1 * own, "the table twice would be 1.7 times"
        ids[1, 3] = 131  # a column of padding in the last panel
        with pytest.raises(MojoaccelError, match="outside"):
            session(ids)
