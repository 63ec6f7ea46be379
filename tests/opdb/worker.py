"""Compiles and judges samples of some operators; prints the result as a line of JSON.

Run by the harness: ``python -m tests.opdb.worker MOST OP:DTYPE ...``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch

import mojoaccel
from mojoaccel.config import OptimizeOptions, TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.passes.pipeline import optimize
from mojoaccel.targets.probe import detect
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel
from tests.opdb.samples import Sample, Samples, read_database, read_samples
from tests.test_operators import judge, widen

BATCH = 120
"""Samples of one build."""

Refusals = dict[tuple[str, str], Counter[str]]


def tensors_of(samples: Sequence[Sample]) -> tuple[torch.Tensor, ...]:
    return tuple(t for s in samples for t in s.tensors)


def refusal(samples: Sequence[Sample]) -> str:
    """Return why these samples cannot be lowered, or nothing."""
    example = Example(Samples(samples), tensors_of(samples))
    try:
        traced, _ = trace(LoadedModel("samples", example), TraceOptions())
        optimize(traced, detect(), OptimizeOptions())
    except MojoaccelError as problem:
        first = problem.diagnostics[0]
        return f"{first.code} {first.message.split(' (')[0]}"
    except Exception as problem:  # a defect, to be listed as one
        return f"crash {type(problem).__name__}: {str(problem)[:120]}"
    return ""


def lowered(samples: list[Sample], refused: Refusals) -> list[Sample]:
    """Return the samples that can be lowered; note the others."""
    if not samples or not refusal(samples):
        return samples
    kept = []
    for sample in samples:
        why = refusal([sample])
        if why:
            refused[sample.op, sample.dtype][why] += 1
        else:
            kept.append(sample)
    return kept


def run(samples: Sequence[Sample]) -> list[tuple[Sample, str]]:
    """Compile samples together; return what is wrong with each (nothing if it is right).

    A build that fails is halved until the sample that breaks it is alone.
    """
    if not samples:
        return []
    inputs = tensors_of(samples)
    try:
        with mojoaccel.compile(Samples(samples), inputs, verify=False, threads=1) as session:
            answers = session(*inputs)
    except Exception as problem:
        if len(samples) == 1:
            return [(samples[0], f"{type(problem).__name__}: {str(problem)[:200]}")]
        half = len(samples) // 2
        return run(samples[:half]) + run(samples[half:])
    return [(s, judged(s, a)) for s, a in zip(samples, answers, strict=True)]


def judged(sample: Sample, answer: Sequence[torch.Tensor]) -> str:
    """Compare one answer with PyTorch's, float64 as the referee where it can be."""
    own = sample.call([t.clone() for t in sample.tensors])
    try:
        exact = sample.call([widen(t) for t in sample.tensors])
        if [e.shape for e in exact] != [o.shape for o in own]:
            exact = own
    except Exception:  # the operator insists on its types
        exact = own
    for mine, theirs, truth in zip(answer, own, exact, strict=True):
        problem = judge(mine, theirs, truth if theirs.is_floating_point() else theirs)
        if problem:
            return problem
    return ""


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    answer = os.dup(1)
    os.dup2(2, 1)
    most, pairs = int(sys.argv[1]), [p.rsplit(":", 1) for p in sys.argv[2:]]
    database = read_database()
    refused: Refusals = defaultdict(Counter)
    results: dict[str, dict[str, Any]] = {}
    pending: list[Sample] = []
    judgements: list[tuple[Sample, str]] = []
    for name, dtype in pairs:
        pending += lowered(read_samples(database[name], dtype, most), refused)
        while len(pending) >= BATCH:
            judgements += run(pending[:BATCH])
            pending = pending[BATCH:]
    judgements += run(pending)
    for name, dtype in pairs:
        mine = [(s.number, why) for s, why in judgements if (s.op, s.dtype) == (name, dtype)]
        results[f"{name}:{dtype}"] = {
            "pass": sum(not why for _, why in mine),
            "wrong": [[number, why] for number, why in mine if why],
            "refused": dict(refused[name, dtype]),
        }
    os.write(answer, json.dumps(results).encode() + b"\n")


if __name__ == "__main__":
    main()
