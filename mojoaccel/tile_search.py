"""Level 3: tile parameters by measuring on this machine.

The model is built once per candidate (every kernel with its first choice, then every kernel with
its second, ...) with the clock around each fused group, and run as it will be run: same shapes,
same threads, same neighbours in the cache, and its prologues and epilogues in place. Each question
then takes the candidate that was fastest in the groups that asked it. Answers are kept in the
cache, for this machine, compiler and kernel library, so that a question is measured once.

The method is that of ATLAS (Whaley, Petitet and Dongarra 2001): few candidates, chosen by a model
of the hardware, decided by the clock.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.emit.module import emit
from mojoaccel.errors import Diagnostic, MojoaccelError
from mojoaccel.job import Job, kernels_digest
from mojoaccel.ops.tiles import TileTable
from mojoaccel.packaging import Array, assemble, runs_here, weight_sources
from mojoaccel.passes.pipeline import optimize
from mojoaccel.paths import cache_root
from mojoaccel.placing import write_text
from mojoaccel.products import Plan, digest_json
from mojoaccel.runtime.session import Session, load
from mojoaccel.toolchain.build import build
from mojoaccel.verify import random_inputs

ROUNDS = 5
"""Turns that every candidate gets, one after the other, so that a disturbance hits all alike."""

SECONDS = 0.3
"""Time of one turn."""

LEAST_GAIN = 0.98
"""A candidate replaces the kernel's own choice when it takes at most this share of its time."""

Answers = dict[str, int]


def optimize_measured(job: Job) -> Plan:
    """Optimize with tile parameters that were measured here; kept answers are used again.

    Raises:
        MojoaccelError: As the stages optimize and build.
    """
    traced, options = job.products["trace"], job.request.options.optimize
    asked = TileTable()
    plan = optimize(traced, job.target, options, asked)
    if not runs_here(job.target):
        message = f"tiles cannot be measured for {job.target} on this machine; defaults are used"
        job.warnings.append(Diagnostic("MA303", message, "warning"))
        return plan
    place = cache_root() / "tiles" / f"{digest_json(machine_key(job))}.json"
    answers = read_answers(place)
    fresh = {q: c for q, c in asked.asked.items() if len(c) > 1 and q not in answers}
    if fresh:
        answers |= measure(job, plan, fresh)
        with contextlib.suppress(MojoaccelError):  # then the next compile measures again
            write_text(place, json.dumps(answers, indent=1, sort_keys=True))
    return optimize(traced, job.target, options, TileTable(answers))


def machine_key(job: Job) -> dict[str, Any]:
    """Return what measured answers depend on, beside the question."""
    from mojoaccel.targets.probe import machine_digest

    return {
        "machine": machine_digest(),
        "target": job.target.code_key(),
        "compiler": job.compiler.identity,
        "kernels": kernels_digest(),
        "threads": job.request.options.package.threads,
        "example": job.products["trace"].example,
    }


def read_answers(place: Path) -> Answers:
    """Return the kept answers; none if the file is missing or damaged."""
    try:
        data = json.loads(place.read_text(encoding="utf-8"))
        return {str(q): int(a) for q, a in data.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


@dataclass
class Trial:
    """One build of the model with one candidate for every question.

    Attributes:
        plan: Its plan.
        answers: The candidate of each question.
        times: Nanoseconds of every group, one row a run.
    """

    plan: Plan
    answers: Answers
    times: list[list[int]]

    def seconds(self, question: str) -> float:
        """Median time of the groups that asked `question`, in seconds a run."""
        groups = [
            i
            for i, group in enumerate(self.plan.groups)
            if any(call.question == question for call in group.calls)
        ]
        return statistics.median(sum(row[g] for g in groups) for row in self.times) * 1e-9


def measure(job: Job, plan: Plan, questions: Mapping[str, Sequence[int]]) -> Answers:
    """Return the fastest candidate of every question.

    Args:
        job: The compile; its trace is done.
        plan: The plan with every kernel's own choice.
        questions: Candidates of each question, the kernel's own choice first.
    """
    sources = weight_sources(job, job.products["trace"], plan)
    inputs = example_inputs(job)
    trials: list[Trial] = []
    with contextlib.ExitStack() as stack:
        sessions: list[Session] = []
        for number in range(max(len(c) for c in questions.values())):
            answers = {q: c[min(number, len(c) - 1)] for q, c in questions.items()}
            trial, folder = build_trial(job, number, answers, sources)
            trials.append(trial)
            threads = job.request.options.package.threads or None
            sessions.append(stack.enter_context(load(folder, threads)))
        for _ in range(ROUNDS):
            for trial, session in zip(trials, sessions, strict=True):
                trial.times += run_for(session, inputs, SECONDS)
    return {q: fastest(q, c, trials) for q, c in questions.items()}


def fastest(question: str, candidates: Sequence[int], trials: Sequence[Trial]) -> int:
    """Return the candidate of the fastest trial, or the first if none gains enough."""
    own = trials[0].seconds(question)
    best = min(trials[: len(candidates)], key=lambda t: t.seconds(question))
    gains = best.seconds(question) <= LEAST_GAIN * own
    return best.answers[question] if gains else candidates[0]


def build_trial(
    job: Job, number: int, answers: Answers, sources: Mapping[str, Array]
) -> tuple[Trial, Path]:
    """Build the model with `answers`, keeping the time of each group."""
    options = job.request.options
    plan = optimize(job.products["trace"], job.target, options.optimize, TileTable(answers))
    work = job.work / f"trial_{number}"
    source = emit(plan, job.target)
    timed = replace(options.build, profile=True)
    library = build(source, job.target, timed, compiler=job.compiler, out=work)
    products = {**job.products, "optimize": plan, "emit": source, "build": library}
    assemble(replace(job, work=work, products=products), work / "artifact", sources)
    return Trial(plan, answers, []), work / "artifact"


def example_inputs(job: Job) -> list[Array]:
    """Return random inputs of the example's sizes."""
    traced = job.products["trace"]
    examples: list[Array] = []
    if "model" in vars(job):
        export = importlib.import_module("mojoaccel.trace.export")
        replay = importlib.import_module("mojoaccel.trace.replay")
        example = export.as_traced(job.model.example, job.request.options.trace)
        examples = replay.example_arrays(example)
    return random_inputs(traced, dict(traced.example), examples, np.random.default_rng(0))


def run_for(session: Session, inputs: Sequence[Array], seconds: float) -> list[list[int]]:
    """Run for some time, at least twice; return the times of every run but the first."""
    rows: list[list[int]] = []
    session.run_flat(inputs)
    end = time.monotonic() + seconds
    while not rows or time.monotonic() < end:
        session.run_flat(inputs)
        rows.append(session.profile())
    return rows
