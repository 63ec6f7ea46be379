"""Compiles and judges samples of some operators; prints the result as a line of JSON.

Run by the harness: ``python -m tests.opdb.worker MOST``, which reads from standard input which
operators to take (``OP:DTYPE``) and which samples of each not to.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
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

BATCH = 250
"""Samples of one build."""

UNINITIALIZED = re.compile(r"(new_)?empty(_like|_strided|_permuted)?")
"""Operators that give whatever was in memory: shapes and types are compared."""

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
    """Return the samples that can be lowered; note the others.

    All are tried at once: an export costs a quarter of a second whatever it exports, a sample in it
    a twentieth. A refused batch is halved between operators, and one operator's is taken apart.
    """
    why = refusal(samples) if samples else ""
    if not why:
        return samples
    if len(samples) == 1:
        refused[samples[0].op, samples[0].dtype][why] += 1
        return []
    cuts = [
        i for i, (a, b) in enumerate(pairwise(samples), 1) if (a.op, a.dtype) != (b.op, b.dtype)
    ]
    if cuts:
        middle = min(cuts, key=lambda i: abs(2 * i - len(samples)))
        parts = [samples[:middle], samples[middle:]]
    else:
        parts = [[sample] for sample in samples]
    return [s for part in parts for s in lowered(part, refused)]


def run(samples: list[Sample], refused: Refusals) -> list[tuple[Sample, str]]:
    """Compile samples together; return what is wrong with each (nothing if it is right).

    Those that cannot be lowered are noted and left out. A build that fails is halved until the
    sample that breaks it is alone.
    """
    if not samples:
        return []
    inputs = tensors_of(samples)
    try:
        with mojoaccel.compile(Samples(samples), inputs, verify=False, threads=1) as session:
            answers = session(*inputs)
    except Exception as problem:
        kept = lowered(samples, refused)
        if len(kept) < len(samples):
            return run(kept, refused)
        if len(samples) == 1:
            return [(samples[0], f"{type(problem).__name__}: {str(problem)[:200]}")]
        half = len(samples) // 2
        return run(samples[:half], refused) + run(samples[half:], refused)
    return [(s, judged(s, a)) for s, a in zip(samples, answers, strict=True)]


def judged(sample: Sample, answer: Sequence[torch.Tensor]) -> str:
    """Compare one answer with PyTorch's, float64 as the referee where it can be."""
    own = sample.call([t.clone() for t in sample.tensors])
    if UNINITIALIZED.fullmatch(sample.op):
        answer, own = ([torch.zeros_like(t) for t in given] for given in (answer, own))
        exact = own
    else:
        exact = _in_double(sample, own)
    for mine, theirs, truth in zip(answer, own, exact, strict=True):
        problem = judge(mine, theirs, truth if theirs.is_floating_point() else theirs)
        if problem:
            return problem
    return ""


def _in_double(sample: Sample, own: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return what the operator gives in float64, or `own` where it insists on its types."""
    try:
        exact = sample.call([widen(t) for t in sample.tensors])
    except Exception:
        return own
    return exact if [e.shape for e in exact] == [o.shape for o in own] else own


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    answer = os.dup(1)
    os.dup2(2, 1)
    pairs: dict[str, list[int]] = json.load(sys.stdin)
    most, database = int(sys.argv[1]), read_database()
    refused: Refusals = defaultdict(Counter)
    rows: dict[str, dict[str, Any]] = {}
    pending: list[Sample] = []
    for pair, done in pairs.items():
        name, dtype = pair.rsplit(":", 1)
        samples, rows[pair] = read_samples(database[name], dtype, most, done)
        pending += samples
    judgements = []
    for at in range(0, len(pending), BATCH):
        judgements += run(pending[at : at + BATCH], refused)
    for pair, row in rows.items():
        mine = [(s.number, why) for s, why in judgements if f"{s.op}:{s.dtype}" == pair]
        row["pass"] = sum(not why for _, why in mine)
        row["wrong"] = [[number, why] for number, why in mine if why]
        name, dtype = pair.rsplit(":", 1)
        row["refused"] = dict(refused[name, dtype])
    os.write(answer, json.dumps(rows).encode() + b"\n")


if __name__ == "__main__":
    main()
