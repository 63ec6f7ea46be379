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
@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "f32"), (torch.bfloat16, "bf16")])
def test_tied_weights_are_stored_once(dtype, name):
    torch.manual_seed(0)
    module = Tied().eval()
    ids = torch.randint(0, 131, (2, 7))
    ids[0, 0], ids[1, 6] = 130, 0
    with mojoaccel.compile(module, (ids,), dtype=name) as session:
        module.to(dtype)
        torch.testing.assert_close(session(ids), module(ids))
        own = sum(p.numel() * p.element_size() for p in module.parameters())
        assert session.manifest.weights.size < 1.1 * own, "the table twice would be 1.7 times"
        ids[1, 3] = 131  # a column of padding in the last panel
        with pytest.raises(MojoaccelError, match="outside"):
            session(ids)
