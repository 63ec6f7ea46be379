"""Replays the check cases that an artifact carries, and makes random inputs like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.check_arrays import read_arrays
from mojoaccel.artifact.manifest import Manifest, TensorSpec
from mojoaccel.errors import error
from mojoaccel.runtime.session import Session
from mojoaccel.runtime.sizes import evaluate, solve
from mojoaccel.runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One output of one case.

    Attributes:
        output: Name of the output.
        sizes: Sizes of the dynamic dims.
        error: Largest distance from the expected (float64) answer.
        allowed: What it may be.
        ok: Whether the answer is accepted.
    """

    output: str
    sizes: Mapping[str, int]
    error: float
    allowed: float
    ok: bool


def verify_check(session: Session) -> list[CheckRow]:
    """Run every check case of an artifact.

    Raises:
        MojoaccelError: MA601, the artifact carries no check or it is damaged.
    """
    cases = session.manifest.check
    if not cases:
        raise error("MA601", f"{session.path.name} was made without a check (--no-verify)")
    rows = []
    for case in cases:
        place = session.path / str(case["folder"])
        manifest = session.manifest
        inputs = read_arrays(place, "input", shapes_of(manifest.inputs, case))
        expected = read_arrays(place, "output", shapes_of(manifest.outputs, case))
        session.reset()
        got = session.run_flat(inputs)
        specs = session.manifest.outputs
        for spec, mine, truth, allowed in zip(specs, got, expected, case["allowed"], strict=True):
            off = distance(mine, truth, spec.dtype)
            ok = mine.shape == truth.shape and off <= allowed
            rows.append(CheckRow(spec.name, dict(case["sizes"]), off, float(allowed), ok))
    return rows


def shapes_of(specs: Sequence[TensorSpec], case: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Return the shapes that tensors have in a check case."""
    sizes = {k: int(v) for k, v in case["sizes"].items()}
    return [tuple(evaluate(n, sizes) for n in spec.shape) for spec in specs]


def distance(mine: Array, truth: Array, dtype: str) -> float:
    """Return the largest difference; infinite if shapes or special values differ."""
    if mine.shape != truth.shape:
        return float("inf")
    a, b = widen(mine, dtype), widen(truth, dtype)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    off = np.abs(a - b, where=finite, out=np.zeros(a.shape))
    largest = float(off.max(initial=0.0))
    return float("inf") if np.isnan(largest) else largest


def widen(array: Array, dtype: str) -> Array:
    """Return stored values as float64; bfloat16 arrives as uint16."""
    if dtype == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64)


def random_inputs(
    folder: Path, manifest: Manifest, given: Mapping[str, Array], seed: int = 0
) -> list[Array]:
    """Make random values for the inputs that are not given.

    Sizes follow the given inputs, else the artifact's last check case; integers stay in the range
    that the check case holds.
    """
    rng = np.random.default_rng(seed)
    samples: Sequence[Array | None] = [None] * len(manifest.inputs)
    dims = {
        name: max(low, 2 if high is None or high > 1 else 1)
        for name, (low, high) in manifest.dims.items()
    }
    if manifest.check:
        case = manifest.check[-1]
        dims |= {k: int(v) for k, v in case["sizes"].items()}
        shapes = shapes_of(manifest.inputs, case)
        samples = read_arrays(folder / str(case["folder"]), "input", shapes)
    for spec in manifest.inputs:
        if spec.name in given:
            for size, got in zip(spec.shape, given[spec.name].shape, strict=False):
                name, value = (isinstance(size, str) and solve(size, {}, int(got))) or ("", None)
                if value is not None:
                    dims[name] = value
    return [
        given[spec.name] if spec.name in given else _random(spec, sample, dims, rng)
        for spec, sample in zip(manifest.inputs, samples, strict=True)
    ]


def _random(
    spec: TensorSpec, sample: Array | None, dims: Mapping[str, int], rng: np.random.Generator
) -> Array:
    shape = tuple(evaluate(s, dims) for s in spec.shape)
    if spec.dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if spec.dtype == "bfloat16":
        bits = rng.standard_normal(shape).astype(np.float32).view(np.uint32)
        return (bits >> 16).astype(np.uint16)
    if spec.dtype.startswith(("int", "uint")):
        low, high = (0, 1) if sample is None else (int(sample.min()), int(sample.max()))
        return rng.integers(low, high, shape, endpoint=True).astype(spec.dtype)
    drawn: Any = rng.standard_normal(shape)
    return np.asarray(drawn, spec.dtype).reshape(shape)
