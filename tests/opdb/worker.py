"""Compiles and judges samples of some operators; prints a line of JSON a build.

Run by the harness: ``python -m tests.opdb.worker MOST SECONDS``, which reads from standard input
which operators to take (``OP:DTYPE``) and which samples of each not to. Every build runs in a
process forked for it, with everything imported, so that a crash costs one sample.
"""

from __future__ import annotations

import json
import os
import re
import signal
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
from tests.opdb.samples import Sample, Samples, families, read_database, read_samples
from tests.test_operators import judge, widen

BATCH = 250
"""Families of one build."""

UNINITIALIZED = re.compile(r"(new_)?empty(_like|_strided|_permuted)?")
"""Operators that give whatever was in memory: shapes and types are compared."""

Family = list[Sample]
Refusals = dict[tuple[str, str], Counter[str]]
Outcome = tuple[list[tuple[int, str]], list[tuple[str, str, dict[str, int]]]]


def tensors_of(samples: Sequence[Sample]) -> tuple[torch.Tensor, ...]:
    """Return the samples' tensors, and a spare: a session that is given none answers in arrays."""
    return (*(t for s in samples for t in s.tensors), torch.zeros(1))


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


def lowered(groups: list[Family], refused: Refusals) -> list[Family]:
    """Return the families that can be lowered; note the others.

    All are tried at once: an export costs a quarter of a second whatever it exports, a sample in it
    a twentieth. A refused batch is halved between operators, and one operator's is taken apart.
    """
    samples = [family[0] for family in groups]
    why = refusal(samples) if samples else ""
    if not why:
        return groups
    if len(samples) == 1:
        refused[samples[0].op, samples[0].dtype][why] += len(groups[0])
        return []
    cuts = [
        i for i, (a, b) in enumerate(pairwise(samples), 1) if (a.op, a.dtype) != (b.op, b.dtype)
    ]
    if cuts:
        middle = min(cuts, key=lambda i: abs(2 * i - len(samples)))
        parts = [groups[:middle], groups[middle:]]
    else:
        parts = [[family] for family in groups]
    return [f for part in parts for f in lowered(part, refused)]


def run(groups: list[Family], refused: Refusals) -> list[tuple[Sample, str]]:
    """Compile families together; return what is wrong with each sample (nothing if it is right).

    The first of each is compiled, and the others' tensors are given to what came of it. Those that
    cannot be lowered are noted and left out. A build that fails is halved until the sample that
    breaks it is alone.
    """
    if not groups:
        return []
    found: list[tuple[Sample, str]] = []
    inputs = tensors_of(samples := [family[0] for family in groups])
    try:
        with mojoaccel.compile(Samples(samples), inputs, verify=False, threads=1) as session:
            for turn in range(max(map(len, groups))):
                given = [family[min(turn, len(family) - 1)] for family in groups]
                answers = session(*tensors_of(given))
                found += [
                    (s, judged(s, a))
                    for family, s, a in zip(groups, given, answers, strict=True)
                    if turn < len(family)
                ]
    except Exception as problem:
        kept = lowered(groups, refused)
        if len(kept) < len(groups):
            return run(kept, refused)
        if len(groups) == 1:
            return [(s, f"{type(problem).__name__}: {str(problem)[:200]}") for s in groups[0]]
        half = len(groups) // 2
        return run(groups[:half], refused) + run(groups[half:], refused)
    return found


def judged(sample: Sample, answer: Sequence[torch.Tensor]) -> str:
    """Compare one answer with PyTorch's, float64 as the referee where it can be."""
    own = sample.call([t.clone() for t in sample.tensors])
    if UNINITIALIZED.fullmatch(sample.op):
        answer, own = ([torch.zeros_like(t) for t in given] for given in (answer, own))
        exact = own
    else:
        exact = _in_double(sample, own)
    problem = difference(answer, own, exact)
    if problem and sample.settle is not None:
        settled = difference(*(sample.settled(given) for given in (answer, own, exact)))
        problem += "" if settled else " (equal in what the database compares)"
    return problem


def difference(
    answer: Sequence[torch.Tensor], own: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]
) -> str:
    """Return what is wrong with the first wrong tensor of an answer, or nothing."""
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


def isolated(groups: list[Family], limit: int) -> Outcome:
    """Judge families in a process of their own; one that dies is halved down to the family.

    Args:
        groups: Families of one build.
        limit: Seconds the process may take.

    Returns:
        What is wrong with each sample that was lowered, by position, and why others were refused.
    """
    samples = [s for family in groups for s in family]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(limit)
        refused: Refusals = defaultdict(Counter)
        places = {id(s): i for i, s in enumerate(samples)}
        found = [(places[id(s)], why) for s, why in run(groups, refused)]
        with os.fdopen(write, "w") as pipe:
            json.dump((found, [(*key, dict(why)) for key, why in refused.items()]), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status == 0 and text:
        judged, refusals = json.loads(text)
        return [(i, why) for i, why in judged], [tuple(r) for r in refusals]
    if len(groups) == 1:
        died = f"the process died of signal {os.WTERMSIG(status)}"
        return [(i, died) for i in range(len(samples))], []
    half = len(groups) // 2
    first, second = (isolated(part, limit) for part in (groups[:half], groups[half:]))
    before = sum(map(len, groups[:half]))
    return first[0] + [(before + i, why) for i, why in second[0]], first[1] + second[1]


def rows_of(groups: list[Family], totals: dict[str, int], outcome: Outcome) -> dict[str, Any]:
    """Return what one build tells, by operator and type."""
    samples = [s for family in groups for s in family]
    rows: dict[str, dict[str, Any]] = {}
    for s in samples:
        pair = f"{s.op}:{s.dtype}"
        row = rows.setdefault(pair, empty_row(totals[pair]))
        row["taken"].append(s.number)
    judged, refusals = outcome
    for place, why in judged:
        row = rows[f"{samples[place].op}:{samples[place].dtype}"]
        row["pass"] += not why
        row["wrong"] += [[samples[place].number, why]] if why else []
    for op, dtype, why in refusals:
        row = rows[f"{op}:{dtype}"]
        row["refused"] = dict(Counter(row["refused"]) + Counter(why))
    return rows


def empty_row(total: int) -> dict[str, Any]:
    """Return the row of an operator of which no sample has run."""
    return {"all": total, "taken": [], "left_out": {}, "pass": 0, "wrong": [], "refused": {}}


def main() -> None:
    """Run the command line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    answer = os.dup(1)
    os.dup2(2, 1)
    pairs: dict[str, list[int]] = json.load(sys.stdin)
    most, limit, database = int(sys.argv[1]), int(sys.argv[2]), read_database()

    def tell(rows: dict[str, Any]) -> None:
        os.write(answer, json.dumps(rows).encode() + b"\n")

    totals: dict[str, int] = {}
    pending: list[Family] = []
    warm = False
    for pair, done in pairs.items():
        name, dtype = pair.rsplit(":", 1)
        samples, row = read_samples(database[name], dtype, most, done)
        if samples and not pending and not warm:
            warm = refusal(samples[:1]) is not None  # imports what every process needs
        totals[pair] = row["all"]
        without = sorted({*row["taken"]} - {s.number for s in samples})
        tell({pair: {**empty_row(row["all"]), "taken": without, "left_out": row["left_out"]}})
        pending += families(samples)
        while len(pending) >= BATCH:
            batch, pending = pending[:BATCH], pending[BATCH:]
            tell(rows_of(batch, totals, isolated(batch, limit)))
    if pending:
        tell(rows_of(pending, totals, isolated(pending, limit)))


if __name__ == "__main__":
    main()
