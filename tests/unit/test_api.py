"""Arguments of `mojoaccel.compile`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mojoaccel.api import _as_model
from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.dims import Axis, Dim


def test_dims_are_declared_by_name_or_as_torch_export_does() -> None:
    module, x = nn.Linear(3, 2), torch.randn(2, 3)
    named = _as_model(module, (x,), None, {"input": {0: "batch:1..64"}}, None)
    exported = _as_model(
        module, (x,), None, None, {"input": {0: torch.export.Dim("batch", max=64)}}
    )
    assert named.dims() == {"input": {0: Axis(Dim("batch", 1, 64))}}
    assert exported.dims()["input"][0].dim.name == "batch"
    assert not _as_model(module, (x,), None, None, None).dims()


def test_a_multiple_of_a_dim_is_declared_in_both_ways() -> None:
    module, x = nn.Linear(3, 2), torch.randn(25, 3)
    expected = {"input": {0: Axis(Dim("n", 2, 9), 8, 1)}}
    for text in ("8*n+1:2..9", "n * 8 + 1:2..9"):
        assert _as_model(module, (x,), None, {"input": {0: text}}, None).dims() == expected
    n = torch.export.Dim("n", min=2, max=9)
    assert _as_model(module, (x,), None, None, {"input": {0: 8 * n + 1}}).dims() == expected
    with pytest.raises(MojoaccelError, match="no multiple"):
        _as_model(module, (x,), None, {"input": {0: "0*n"}}, None).dims()


def test_more_shapes_than_arguments_are_refused() -> None:
    with pytest.raises(MojoaccelError, match="2 entries for 1 arguments"):
        _as_model(nn.Linear(3, 2), (torch.randn(2, 3),), None, None, ({}, {}))
