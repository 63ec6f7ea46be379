"""Arguments of `mojoaccel.compile`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mojoaccel.api import _as_model
from mojoaccel.errors import MojoaccelError
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


def test_more_shapes_than_arguments_are_refused() -> None:
    with pytest.raises(MojoaccelError, match="2 entries for 1 arguments"):
        _as_model(nn.Linear(3, 2), (torch.randn(2, 3),), None, None, ({}, {}))
