"""Keys and values that are repeated for groups of queries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mojoaccel


class Repeated(nn.Module):
    """Grouped attention by hand, in both common spellings, and three that are something else."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        b, h, s, d = k.shape
        keys = k[:, :, None].expand(b, h, 3, s, d).reshape(b, 3 * h, s, d)
        values = v[:, :, None].expand(b, h, 3, s, v.shape[-1]).reshape(b, 3 * h, s, v.shape[-1])
        by_hand = F.scaled_dot_product_attention(q, keys, values, is_causal=True)
        keys = torch.repeat_interleave(k, 3, dim=1)
        interleaved = F.scaled_dot_product_attention(q, keys, v.repeat_interleave(3, 1), mask)
        tiled = F.scaled_dot_product_attention(q, k.repeat(1, 3, 1, 1), values)
        turned = k[:, None].expand(b, 3, h, s, d).reshape(b, 3 * h, s, d)
        turned = F.scaled_dot_product_attention(q, turned, values)
        alone = F.scaled_dot_product_attention(q[:, :1], keys, values)
        return by_hand, interleaved, tiled, turned, alone


@pytest.mark.mojo
@pytest.mark.parametrize("dynamic", [False, True])
def test_repeated_heads_are_shared_where_they_lie_together(dynamic: bool) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 6, 5, 16), torch.randn(2, 2, 7, 16), torch.randn(2, 2, 7, 12)
    inputs = (q, k, v, torch.randn(2, 1, 5, 7))
    dims = {"k": {2: "n"}, "v": {2: "n"}, "mask": {3: "n"}} if dynamic else {}
    module = Repeated().eval()
    with mojoaccel.compile(module, inputs, dynamic=dims) as session:
        assert dict(session.manifest.passes)["share_heads"] == 2
        for n in (7, 12) if dynamic else (7,):
            fresh = (q, torch.randn(2, 2, n, 16), torch.randn(2, 2, n, 12), torch.randn(2, 1, 5, n))
            torch.testing.assert_close(session(*fresh), module(*fresh))
