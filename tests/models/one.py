"""Compiles and judges one model of a suite, in this process; prints the result as a line of JSON.

Run by the sweep: ``python -m tests.models.one SUITE NAME [--dynamic|--sequence] [--dynamo]
[--threads N]``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.models import lengths

BATCHES = (1, 2, 3, 5, 8)


def load_suite(path: str) -> ModuleType:
    """Import a suite: ``names()``, ``load(name)``, ``family(name)`` and ``SMOKE``."""
    spec = importlib.util.spec_from_file_location("model_suite", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_suite"] = module
    spec.loader.exec_module(module)
    return module


def batch_axes(args: tuple[Any, ...], shapes: Any) -> list[int | None]:
    """Return the axis of each positional input that carries the batch."""
    if isinstance(shapes, dict):
        (shapes,) = shapes.values()
    return [next(iter(s)) if s else None for s in shapes] + [None] * (len(args) - len(shapes))


def resized(args: tuple[Any, ...], axes: list[int | None], batch: int) -> tuple[Any, ...]:
    """Return inputs for another batch: rows of the example, floats disturbed row by row."""
    import torch

    made = []
    for value, axis in zip(args, axes, strict=True):
        if axis is None:
            made.append(value)
            continue
        rows = torch.arange(batch) % value.shape[axis]
        copy = value.index_select(axis, rows)
        if value.is_floating_point() and value.numel() and bool((value != value.round()).any()):
            copy = copy + 0.1 * value.std() * torch.randn(copy.shape, dtype=copy.dtype)
        made.append(copy)
    return tuple(made)


def processor_seconds() -> float:
    """Return processor time of this process and of those that it has waited for."""
    usages = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usages)


def through_dynamo(module: Any, threads: int) -> tuple[Callable[..., Any], list[Any]]:
    """Return what ``torch.compile`` makes of a module, and the graphs that it captures.

    A graph that would run eager is an error, as with ``fullgraph=True``; breaks are allowed.
    """
    import torch
    import torch._dynamo

    from mojoaccel.backends.dynamo import mojoaccel_backend

    torch._dynamo.config.allow_rnn = True  # else dynamo itself leaves recurrent models eager
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        options = {"threads": threads, "verify": False}
        made: Any = mojoaccel_backend(graph, inputs, options=options)
        made.strict = True
        graphs.append(made)
        return made

    return torch.compile(module, backend=backend), graphs


def measure(
    suite: str,
    name: str,
    *,
    dynamic: bool,
    threads: int,
    sequence: bool = False,
    dynamo: bool = False,
) -> dict[str, Any]:
    """Compile one model and judge its answers."""
    import torch

    torch.set_num_threads(threads)
    models = load_suite(suite)
    module, args, kwargs, shapes = models.load(name)
    import mojoaccel
    from mojoaccel.errors import MojoaccelError
    from tests.models.referee import judge

    if dynamic and shapes is None:
        return {"status": "skip", "reason": ["its code fixes the batch"]}
    free: list[lengths.Length] = []
    if sequence:
        answer = lengths.free_lengths(module, tuple(args), kwargs or {}, models.family(name))
        if isinstance(answer, str):
            return {"status": "skip", "reason": [answer]}
        free = answer
        shapes = lengths.declared(module, tuple(args), kwargs or {}, free)
    result: dict[str, Any] = {"status": "pass"}
    graphs: list[Any] = []
    if sequence:
        result["lengths"] = [f.sizes for f in free]
    start, before = time.perf_counter(), processor_seconds()
    try:
        if dynamo:
            call, graphs = through_dynamo(module, threads)
            with torch.no_grad():
                call(*args, **(kwargs or {}))
            if not graphs:
                return {"status": "fail", "stage": "compile", "reason": ["no graph was captured"]}
        else:
            call = mojoaccel.compile(
                module,
                tuple(args),
                kwargs,
                dynamic_shapes=shapes if dynamic or sequence else None,
                threads=threads,
                verify=False,
            )
    except MojoaccelError as problem:
        messages = [d.message for d in problem.diagnostics]
        return {"status": "fail", "stage": "compile", "code": problem.code, "reason": messages}
    result["compile_seconds"] = time.perf_counter() - start
    result["cpu_seconds"] = processor_seconds() - before
    usage = (
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    result["memory_mb"] = max(usage) / 1024
    torch.manual_seed(1)
    sets = {0: tuple(args)}
    if dynamic:
        axes = batch_axes(tuple(args), shapes)
        sets = {n: resized(tuple(args), axes, n) for n in BATCHES}
    if sequence:
        tried = zip(*(f.sizes for f in free), strict=True)
        sets = {str(sizes): lengths.resized(tuple(args), free, sizes) for sizes in tried}
    with torch.no_grad():
        for batch, inputs in sets.items():
            verdict = judge(module, inputs, dict(kwargs or {}), call(*inputs, **(kwargs or {})))
            for key in ("error", "own"):
                known = [v for v in (result.get(key), getattr(verdict, key)) if v is not None]
                result[key] = max(known, default=None)
            result["strict"] = result.get("strict", True) and verdict.strict
            if not verdict.ok:
                where = f" at batch {batch}" if dynamic else ""
                where = f" at lengths {batch}" if sequence else where
                result.update(status="fail", stage="compare", reason=[verdict.reason + where])
    result["compiled"] = sum(len(g.variants) for g in graphs)
    return result


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("name")
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--sequence", action="store_true")
    parser.add_argument("--dynamo", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the compiler on the way out
    answer = os.dup(1)
    os.dup2(2, 1)  # what models print while they are built is not the answer
    try:
        result = measure(
            given.suite,
            given.name,
            dynamic=given.dynamic,
            threads=given.threads,
            sequence=given.sequence,
            dynamo=given.dynamo,
        )
    except Exception as problem:
        trace = traceback.format_exc().splitlines()
        result = {
            "status": "fail",
            "stage": "crash",
            "reason": [repr(problem)[:500]],
            "trace": trace[-12:],
        }
    os.write(answer, json.dumps(result).encode() + b"\n")


if __name__ == "__main__":
    main()
