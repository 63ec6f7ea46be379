"""Samples of PyTorch's operator database as modules to compile, many in one."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
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
    "float64": torch.float64,
    "float16": torch.float16,
    "complex64": torch.complex64,
    "int32": torch.int32,
    "uint8": torch.uint8,
}
USUAL = ("float32", "int64", "bool", "bfloat16")
"""Types that are run unless others are asked for."""


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
        settle: What the database makes of an answer before it compares it: singular vectors, say,
            lose their signs.
    """

    op: str
    dtype: str
    number: int
    function: Any
    leaves: tuple[Any, ...]
    spec: Any
    settle: Any = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors among the arguments."""
        return tuple(v for v in self.leaves if isinstance(v, Tensor))

    @property
    def form(self) -> str:
        """Text that is equal for calls that differ only in what their tensors hold."""
        leaves = [_layout(v) if isinstance(v, Tensor) else repr(v) for v in self.leaves]
        return " ".join([self.op, self.dtype, str(self.spec), *leaves])

    def call(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the operator with other tensors; return the tensors it gives."""
        return _tensors(self._result(tensors))

    def settled(self, answer: Sequence[Tensor]) -> list[Tensor]:
        """Return what the database compares of an answer."""
        result = self._result([t.clone() for t in self.tensors])
        return _tensors(self.settle(_filled(*pytree.tree_flatten(result), answer)))

    def _result(self, tensors: Sequence[Tensor]) -> Any:
        args, kwargs = _filled(self.leaves, self.spec, tensors)
        return self.function(*args, **kwargs)


def _tensors(tree: Any) -> list[Tensor]:
    return [v for v in pytree.tree_leaves(tree) if isinstance(v, Tensor)]


def _filled(leaves: Sequence[Any], spec: Any, tensors: Sequence[Tensor]) -> Any:
    """Return a tree with other tensors."""
    given = iter(tensors)
    return pytree.tree_unflatten(
        [next(given) if isinstance(v, Tensor) else v for v in leaves], spec
    )


class Samples(nn.Module):
    """Runs every sample on its own tensors."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, *tensors: Tensor) -> list[list[Tensor]]:
        results: list[list[Tensor]] = []
        at = 0
        for sample in self.samples:
            count = len(sample.tensors)
            results.append(sample.call(tensors[at : at + count]))
            at += count
        return results


def _layout(t: Tensor) -> str:
    flags = (t.is_conj(), t.is_neg(), t.storage_offset(), t.untyped_storage().nbytes())
    return f"{t.dtype} {list(t.shape)} {t.stride()} {flags}"


def families(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Put samples of equal form together: what is compiled for one serves the others."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.form, []).append(sample)
    return list(found.values())


def read_database() -> dict[str, Any]:
    """Return the database by full name."""
    from torch.testing._internal.common_methods_invocations import op_db

    return {op.full_name: op for op in op_db}


def read_samples(
    op: Any, dtype: str, most: int, done: Collection[int] = ()
) -> tuple[list[Sample], dict[str, Any]]:
    """Return samples of an operator that are spread over all that it has.

    Args:
        op: Entry of the database.
        dtype: Type of the main input.
        most: How many; all of them if there are fewer.
        done: Numbers of those to leave out because an earlier run had them.

    Returns:
        The samples that can be compared, and a row of the results: how many the database has
        (``all``), the numbers ``taken``, and how many of those were left out, by reason.
    """
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(op.sample_inputs("cpu", DTYPES[dtype], requires_grad=False))
    count = min(most, len(found))
    numbers = sorted({i * len(found) // count for i in range(count)} - set(done))
    made, left_out = [], Counter[str]()
    for number in numbers:
        one = found[number]
        given = pytree.tree_leaves(((one.input, *one.args), dict(one.kwargs)))
        if any(isinstance(t, Tensor) and t.layout != torch.strided for t in given):
            left_out["a sparse tensor is given"] += 1
            continue
        # Samples may share tensors, and one that is given twice cannot be written.
        arguments = copy.deepcopy(((one.input, *one.args), dict(one.kwargs)))
        leaves, spec = pytree.tree_flatten(arguments)
        sample = Sample(
            op.full_name, dtype, number, op.op, tuple(leaves), spec, one.output_process_fn_grad
        )
        why = _incomparable(sample)
        if why:
            left_out[why] += 1
        else:
            made.append(sample)
    return made, {"all": len(found), "taken": numbers, "left_out": dict(left_out)}


def _incomparable(sample: Sample) -> str:
    """Return why there is no answer of PyTorch's to compare with, or nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = sample.call([t.clone() for t in sample.tensors])
    except Exception as problem:
        return f"PyTorch raises {type(problem).__name__}"
    return "" if answer else "the answer has no tensor"
