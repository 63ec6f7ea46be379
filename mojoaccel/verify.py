"""Verification: the artifact's answers against PyTorch's, with a float64 run as referee.

For fresh random inputs, at two sizes of every dynamic dim, three answers are computed: ours,
PyTorch's in the model's own types, and PyTorch's in float64. The distance to the third decides:
ours may be `TIMES` PyTorch's own, or `EPSILONS` roundings of the largest value, whichever is more.
Integer and boolean outputs must be exact; where PyTorch's own answer is not the one float64
gives (an arg max between near ties), either counts as exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mojoaccel.artifact.check_arrays import draw
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.ir.dims import Dim, evaluate
from mojoaccel.ir.graph import Value
from mojoaccel.ir.types import DType
from mojoaccel.products import TracedModel

Array = np.ndarray[Any, Any]
Runner = Callable[[Sequence[Array]], Sequence[Array]]
"""A model on flattened inputs; a state starts from its initial value in each call."""

TIMES = 4.0
EPSILONS = 32.0  # two summation orders of a few hundred terms differ by about this much
_STEPS = {"f64": 2.0**-52, "f32": 2.0**-23, "f16": 2.0**-10, "bf16": 2.0**-7}
_CHECK_BYTES = 1 << 20
"""Cases beyond the first are shipped while all together are smaller than this."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output in one run.

    Attributes:
        output: Name of the output.
        error: Largest distance of our answer from float64's.
        torch_error: Largest distance of PyTorch's answer from float64's.
        allowed: What `error` may be.
        scale: Largest finite value of the float64 answer.
        ok: Whether the answer is accepted.
    """

    output: str
    error: float
    torch_error: float
    allowed: float
    scale: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One run: inputs, what float64 says they give, and how far off an answer may be."""

    sizes: Mapping[str, int]
    inputs: tuple[Array, ...]
    expected: tuple[Array, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of verifying one artifact.

    Attributes:
        status: ``passed`` | ``failed`` | ``skipped``.
        reason: Why it was skipped, or what the referee was when float64 was impossible.
        cases: The runs.
    """

    status: str
    reason: str = ""
    cases: tuple[Case, ...] = ()

    @property
    def worst(self) -> Comparison | None:
        """The comparison nearest to (or furthest beyond) its limit."""
        found = [c for case in self.cases for c in case.comparisons]
        return max(found, key=_closeness) if found else None

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        runs = [
            {"sizes": dict(c.sizes), "outputs": [asdict(o) for o in c.comparisons]}
            for c in self.cases
        ]
        return {"status": self.status, "reason": self.reason, "runs": runs}

    def check_cases(self) -> tuple[Case, ...]:
        """Return the cases to ship with the artifact: the first, and more while they are small."""
        kept: list[Case] = []
        total = 0
        for case in self.cases:
            total += sum(a.nbytes for a in (*case.inputs, *case.expected))
            if kept and total > _CHECK_BYTES:
                break
            kept.append(case)
        return tuple(kept)


def verify(
    traced: TracedModel,
    *,
    ours: Runner,
    torch_runs: Runner,
    double_runs: Runner,
    examples: Sequence[Array] = (),
    seed: int = 0,
) -> Verification:
    """Compare `ours` with PyTorch on fresh random inputs.

    Args:
        traced: The model's signature and dims.
        ours: The artifact.
        torch_runs: The model in its own types.
        double_runs: The model with every floating type replaced by float64.
        examples: Example inputs, whose value ranges the random ones follow.
        seed: Seed of the random inputs.
    """
    rng = np.random.default_rng(seed)
    dims = {d.name: d for d in traced.graph.dims}
    example = dict(traced.example)
    cases: list[Case] = []
    reason = ""
    for turn in range(2):
        sizes = {name: _pick_size(dim, example.get(name, 2), turn) for name, dim in dims.items()}
        inputs = random_inputs(traced, sizes, examples, rng)
        own = torch_runs(inputs)
        try:
            exact = double_runs(inputs)
        except Exception as e:  # the model's own code may insist on a type
            exact, reason = own, f"no float64 run ({type(e).__name__}: {e}); PyTorch is the referee"
        answer = ours(inputs)
        outputs = traced.signature.outputs
        rows = zip(outputs, answer, own, exact, strict=True)
        comparisons = tuple(compare(*row) for row in rows)
        expected = tuple(_round(v, e) for v, e in zip(outputs, exact, strict=True))
        cases.append(Case(sizes, tuple(inputs), expected, comparisons))
    passed = all(c.ok for case in cases for c in case.comparisons)
    return Verification("passed" if passed else "failed", reason, tuple(cases))


def accuracy_error(
    found: Verification,
    culprit: Sequence[str] = (),
    hint: str = "this is a defect of mojoaccel; -O0 shows whether an optimization causes it",
) -> MojoaccelError:
    """Build MA602 for a failed verification: one note per output beyond its limit.

    Args:
        found: The verification.
        culprit: Lines about the first wrong value inside the model.
        hint: What to do.
    """
    notes = []
    for case in found.cases:
        sizes = ", ".join(f"{k}={v}" for k, v in case.sizes.items())
        for row in case.comparisons:
            if not row.ok:
                notes.append(
                    f"{row.output}{f' at {sizes}' if sizes else ''}: off by {row.error:.3g}, "
                    f"PyTorch by {row.torch_error:.3g}, allowed {row.allowed:.3g}"
                )
    return error(
        "MA602",
        f"{len(notes)} output(s) differ from PyTorch's by more than the float64 referee allows",
        notes=[*notes, *culprit],
        hint=hint,
    )


def compare(output: Value, ours: Array, own: Array, exact: Array) -> Comparison:
    """Judge one output; `ours` and `own` hold its stored bytes, `exact` is float64 or exact."""
    dtype = output.type.dtype
    if ours.shape != own.shape:
        return Comparison(output.name, float("inf"), 0.0, 0.0, 0.0, False)
    if not dtype.is_float and dtype.kind != "c":
        wrong = (ours != own) & (ours != exact.astype(own.dtype))
        return Comparison(output.name, float(wrong.sum()), 0.0, 0.0, 0.0, not wrong.any())
    mine, theirs, truth = (widen(a, dtype) for a in (ours, own, exact))
    finite = np.isfinite(truth) & np.isfinite(theirs)
    same_elsewhere = np.array_equal(mine[~finite], theirs[~finite], equal_nan=True)
    scale = float(np.abs(truth[finite]).max(initial=0.0))
    mine_off = np.abs(mine - truth, where=finite, out=np.zeros(truth.shape))
    torch_error = float(
        np.abs(theirs - truth, where=finite, out=np.zeros(truth.shape)).max(initial=0.0)
    )
    largest = float(mine_off.max(initial=0.0))
    step = _STEPS.get(dtype.name, _STEPS["f32"])
    allowed = max(TIMES * torch_error, EPSILONS * step * scale)
    # A NaN of ours fails the comparison, as it should.
    ok = bool(same_elsewhere and largest <= allowed)
    return Comparison(output.name, largest, torch_error, allowed, scale, ok)


def widen(array: Array, dtype: DType) -> Array:
    """Return stored values as float64 (complex128); bfloat16 arrives as uint16."""
    if dtype.name == "bf16" and array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def random_inputs(
    traced: TracedModel,
    sizes: Mapping[str, int],
    examples: Sequence[Array],
    rng: np.random.Generator,
) -> list[Array]:
    """Make inputs of the signature's shapes whose values follow the example's range."""
    ranges = dict(traced.random_ranges)
    made = []
    for position, value in enumerate(traced.signature.inputs):
        shape = tuple(evaluate(s, sizes) for s in value.type.shape)
        example = examples[position] if position < len(examples) else None
        made.append(_random_input(value, shape, example, ranges.get(value.name), rng))
    return made


def _random_input(
    value: Value,
    shape: tuple[int, ...],
    example: Array | None,
    limits: tuple[int, int] | None,
    rng: np.random.Generator,
) -> Array:
    dtype = value.type.dtype
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if not dtype.is_float and dtype.kind != "c":
        low, high = limits if limits is not None else (0, 1)
        return rng.integers(low, high, shape, endpoint=True).astype(dtype.numpy)
    if example is not None and example.size and not np.isfinite(widen(example, dtype)).all():
        # A mask of zeros and infinities: only values that the user showed make sense.
        return rng.choice(example.reshape(-1), shape).astype(example.dtype)
    drawn = draw(shape, rng.standard_normal)
    if dtype.kind == "c":
        both: Array = drawn + 1j * rng.standard_normal(shape)
        return both.astype(dtype.numpy)
    return narrow(drawn, dtype)


def narrow(array: Array, dtype: DType) -> Array:
    """Round float64 values to `dtype` as stored; bfloat16 as uint16, ties to even."""
    if dtype.name != "bf16":
        return array.astype(dtype.numpy)
    bits = array.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def _round(value: Value, exact: Array) -> Array:
    dtype = value.type.dtype
    if exact.dtype == dtype.numpy:
        return exact
    return narrow(exact, dtype) if dtype.is_float else exact.astype(dtype.numpy)


def _pick_size(dim: Dim, example: int, turn: int) -> int:
    """The smallest allowed size first, then an odd one beyond the example's."""
    if turn == 0:
        return max(dim.min, 1)
    wanted = max(2 * example - 1, dim.min + 2)
    return wanted if dim.max is None else min(wanted, dim.max)


def _closeness(row: Comparison) -> float:
    if row.ok:
        return row.error / row.allowed if row.allowed else 0.0
    return float("inf")
