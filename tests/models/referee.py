"""Judges an artifact's outputs as PyTorch's dashboard does, with a stricter relative bound.

The dashboard's rule is ``torch._dynamo.utils.same`` with a float64 run as the referee. On its own
it accepts outputs that broadcast, integers that are off by one, and anything near zero; so shapes,
dtypes and counts are compared first, integers exactly, and the relative error is bounded.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import same
from torch.utils import _pytree as pytree

TOLERANCE = 1e-3
"""The dashboard's tolerance for fp32 inference."""


@dataclass(frozen=True)
class Verdict:
    """What was found for one set of inputs.

    Attributes:
        ok: The outputs are accepted.
        reason: What is wrong with them, empty if nothing is.
        error: Largest relative error of an output against float64, as RMSE over its spread.
        own: The same for PyTorch's float32 run.
        strict: Accepted at a tolerance of 1e-4 as well.
    """

    ok: bool
    reason: str
    error: float | None
    own: float | None
    strict: bool


def tensors(outputs: Any) -> list[Tensor]:
    """Flatten what a module returned to its tensors, in order."""
    return [t for t in pytree.tree_leaves(outputs) if isinstance(t, Tensor)]


def as_double(value: Any) -> Any:
    """Return tensors of real floating-point numbers in float64, everything else as it is."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    if isinstance(value, Tensor) and value.is_complex():
        return value.to(torch.complex128)
    return value


def double_run(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the module in float64; None where its code does not allow that."""
    try:
        twin = copy.deepcopy(module).double()
        inputs, named = pytree.tree_map(as_double, (args, kwargs))
        found = [as_double(t) for t in tensors(twin(*inputs, **named))]
    except Exception:  # a model that fixes its types inside; the caller compares with float32
        return None
    return found if all(bool(torch.isfinite(t).all()) for t in found) else None


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return RMSE over the spread (standard deviation) of the exact values."""
    if exact.numel() == 0:
        return 0.0
    wide = as_double(found)
    rmse = (wide - exact).abs().pow(2).mean().sqrt()
    spread = exact.std() if exact.numel() > 1 else exact.abs().max()
    return float(rmse / spread.abs().clamp(min=1e-12))


def judge(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
) -> Verdict:
    """Compare outputs with PyTorch's for the same inputs.

    Args:
        module: The model.
        args: Positional inputs.
        kwargs: Keyword inputs.
        outputs: What the artifact answered.
    """
    found = tensors(outputs)
    with torch.no_grad():
        ours, again = tensors(module(*args, **kwargs)), tensors(module(*args, **kwargs))
        exact = double_run(module, args, kwargs)
    if not all(
        torch.equal(a, b) or bool(a.isnan().any()) for a, b in zip(ours, again, strict=True)
    ):
        return Verdict(False, "two runs of PyTorch differ", None, None, False)
    reason = _mismatch(ours, found)
    if reason:
        return Verdict(False, reason, None, None, False)
    if exact is None:
        close = [
            torch.allclose(b, a, TOLERANCE, TOLERANCE, True)
            for a, b in zip(ours, found, strict=True)
        ]
        strict = all(
            torch.allclose(b, a, 1e-4, 1e-4, True) for a, b in zip(ours, found, strict=True)
        )
        reason = "" if all(close) else "not close to float32, and there is no float64 run"
        return Verdict(all(close), reason, None, None, strict)
    return _refereed(ours, found, exact)


def _mismatch(ours: Sequence[Tensor], found: Sequence[Tensor]) -> str:
    if len(ours) != len(found):
        return f"{len(found)} outputs instead of {len(ours)}"
    for index, (a, b) in enumerate(zip(ours, found, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            expected = f"{a.dtype} {tuple(a.shape)}"
            return f"output {index}: {b.dtype} {tuple(b.shape)} instead of {expected}"
        if not (a.is_floating_point() or a.is_complex()) and not torch.equal(a, b):
            return f"output {index}: {int((a != b).sum())} of {a.numel()} integers differ"
    return ""


def _refereed(ours: list[Tensor], found: list[Tensor], exact: list[Tensor]) -> Verdict:
    floats = [i for i, t in enumerate(ours) if t.is_floating_point() or t.is_complex()]
    errors = [relative_error(found[i], exact[i]) for i in floats]
    owns = [relative_error(ours[i], exact[i]) for i in floats]
    settings = {"equal_nan": False, "cos_similarity": False, "exact_dtype": True}

    def accepted(tol: float) -> bool:
        reals = [
            [torch.view_as_real(t) if t.is_complex() else t for t in s]
            for s in (ours, found, exact)
        ]
        return bool(same(*reals, tol=tol, **settings))

    reason = "" if accepted(TOLERANCE) else "the dashboard's rule refuses it"
    for error, own in zip(errors, owns, strict=True):
        if not error <= max(10 * own, 1e-4):
            reason = reason or f"relative error {error:.1e} where PyTorch's is {own:.1e}"
    worst, own = max(errors, default=0.0), max(owns, default=0.0)
    return Verdict(not reason, reason, worst, own, accepted(1e-4))
