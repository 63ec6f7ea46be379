"""Whether a runner's answer counts: its distance from float64's, next to PyTorch's own.

Much laxer than the verification of `compile`, and the same for everybody: a rival is left out only
if what it computes is wrong, not if it rounds more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mojoaccel.ir.graph import Value
from mojoaccel.ir.types import DTYPES, TensorType
from mojoaccel.verify import compare

Array = np.ndarray[Any, Any]
RELATIVE = {"f32": 1e-3, "f64": 1e-9, "f16": 2e-2, "bf16": 8e-2}
"""Accepted error as a share of the largest value; the dashboard of PyTorch's own compilers takes
1e-3 for f32 too, and bfloat16 keeps eight bits that every layer rounds to again."""


@dataclass(frozen=True)
class Reference:
    """What the answers should be.

    Attributes:
        dtypes: Short type names of the outputs.
        exact: Answers in float64 (integers and booleans as they are).
        own: PyTorch's answers in the model's own types; None where PyTorch did not run.
        source: ``float64``, ``check`` (kept in the artifact) or ``PyTorch``.
    """

    dtypes: Sequence[str]
    exact: Sequence[Array]
    own: Sequence[Array] | None
    source: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The worst output of a runner.

    Attributes:
        error: Largest distance from the reference over all floating outputs.
        relative: Largest distance as a share of its output's largest value.
        wrong: Integer and boolean elements that differ from both PyTorch's and float64's.
        ok: Whether the answer counts.
        reason: Why it does not.
    """

    error: float
    relative: float
    wrong: int
    ok: bool
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def judge(answer: Sequence[Array], reference: Reference) -> Accuracy:
    """Compare one answer with the reference."""
    if len(answer) != len(reference.exact):
        reason = f"{len(answer)} outputs, expected {len(reference.exact)}"
        return Accuracy(float("inf"), float("inf"), 0, False, reason)
    error = relative = 0.0
    wrong = 0
    reasons = []
    for index, (got, exact) in enumerate(zip(answer, reference.exact, strict=True)):
        dtype = DTYPES[reference.dtypes[index]]
        own = exact if reference.own is None else reference.own[index]
        if got.shape != exact.shape:
            reasons.append(f"output {index} has shape {got.shape}, expected {exact.shape}")
            continue
        row = compare(Value(f"output {index}", TensorType(dtype, exact.shape)), got, own, exact)
        if not dtype.is_float and dtype.kind != "c":
            wrong += int(row.error)
            if not row.ok:
                reasons.append(f"output {index}: {int(row.error)} of {got.size} elements differ")
            continue
        share = row.error / row.scale if row.scale else row.error
        error, relative = max(error, row.error), max(relative, share)
        # A NaN fails, as it should.
        if not (share <= RELATIVE[dtype.name] if dtype.is_float else row.ok) and not row.ok:
            reasons.append(f"output {index}: off by {row.error:.2g} of {row.scale:.2g}")
    return Accuracy(error, relative, wrong, not reasons, "; ".join(reasons))


def own_error(reference: Reference) -> Accuracy | None:
    """Return PyTorch's own distance from float64, or None where it did not run."""
    return None if reference.own is None else judge(reference.own, reference)
