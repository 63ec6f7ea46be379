"""Arguments of `mojoaccel.compile`."""

from __future__ import annotations

import torch
from torch import nn

from mojoaccel.api import _as_model
from mojoaccel.ir.dims import Dim


def test_dims_are_declared_by_name_or_as_torch_export_does() -> None:
    module, x = nn.Linear(3, 2), torch.randn(2, 3)
    named = _as_model(module, (x,), None, {"input": {0: "batch:1..64"}}, None)
    exported = _as_model(
        module, (x,), None, None, {"input": {0: torch.export.Dim("batch", max=64)}}
    )
    assert named.dims() == {"input": {0: Dim("batch", 1, 64)}}
    assert exported.dims()["input"][0].name == "batch"
    assert not _as_model(module, (x,), None, None, None).dims()
