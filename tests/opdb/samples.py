"""Samples of PyTorch's operator database as modules to compile, many in one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

DTYPES = {
    "float32": torch.float32,
    "int64": torch.int64,
    "bool": torch.bool,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True)
class Sample:
    """One call of one operator.

    Attributes:
        op: Name in the database.
        dtype: Type of its main input.
        number: Position among the operator's samples of that type.
        function: What is called.
        leaves: Arguments, flattened.
        spec: How they were nested.
    """

    op: str
    dtype: str
    number: int
    function: Any
    leaves: tuple[Any, ...]
    spec: Any

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors among the arguments."""
        return tuple(v for v in self.leaves if isinstance(v, Tensor))

    def call(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the operator with other tensors; return the tensors it gives."""
        given = iter(tensors)
        leaves = [next(given) if isinstance(v, Tensor) else v for v in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        found = pytree.tree_leaves(self.function(*args, **kwargs))
        return [v for v in found if isinstance(v, Tensor)]


class Samples(nn.Module):
    """Runs every sample on its own tensors."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, *tensors: Tensor) -> list[list[Tensor]]:
        results, at = [], 0
        for sample in self.samples:
            count = len(sample.tensors)
            results.append(sample.call(tensors[at : at + count]))
            at += count
        return results


def read_database() -> dict[str, Any]:
    """Return the database by full name."""
    from torch.testing._internal.common_methods_invocations import op_db

    return {op.full_name: op for op in op_db}


def read_samples(op: Any, dtype: str, most: int) -> list[Sample]:
    """Return up to `most` samples of an operator, evenly over all that it has.

    Samples that PyTorch itself does not run, or answers with nothing, are left out.
    """
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(op.sample_inputs("cpu", DTYPES[dtype], requires_grad=False))
    step = max(1, -(-len(found) // most))
    made = []
    for number in range(0, len(found), step):
        one = found[number]
        leaves, spec = pytree.tree_flatten(((one.input, *one.args), dict(one.kwargs)))
        sample = Sample(op.full_name, dtype, number, op.op, tuple(leaves), spec)
        if not sample.tensors or any(t.layout != torch.strided for t in sample.tensors):
            continue
        try:
            if sample.call([t.clone() for t in sample.tensors]):
                made.append(sample)
        except Exception:  # nothing to compare with
            continue
    return made
