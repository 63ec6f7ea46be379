"""The package stage: weights, library, manifest and proof become one artifact."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.assemble import (
    add_check,
    add_library,
    add_sources,
    add_weights,
    write_manifest,
)
from mojoaccel.artifact.host import architecture
from mojoaccel.artifact.manifest import FileSpec, Manifest, TensorSpec
from mojoaccel.config import options_key
from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.graph import Graph, Value
from mojoaccel.job import Job
from mojoaccel.placing import writing
from mojoaccel.products import Artifact, Plan, Target, TracedModel
from mojoaccel.verify import Verification, accuracy_error, verify

Array = np.ndarray[Any, Any]


def package(job: Job) -> Artifact:
    """Assemble the artifact in the compile's temporary folder, and verify it there.

    Raises:
        MojoaccelError: MA602 the artifact's answers are not PyTorch's, MA603 the temporary folder
            cannot be written.
    """
    folder = job.work / "package"
    traced: TracedModel = job.products["trace"]
    plan: Plan = job.products["optimize"]
    return prove(job, folder, assemble(job, folder, weight_sources(job, traced, plan)))


def prove(job: Job, folder: Path, manifest: Manifest) -> Artifact:
    """Compare an assembled artifact with PyTorch, and put the proof into it.

    Raises:
        MojoaccelError: As `package`.
    """
    traced: TracedModel = job.products["trace"]
    task = served_task(job)
    found = check(job, traced, folder)
    kept = [
        (c.sizes, c.inputs, c.expected, [o.allowed for o in c.comparisons])
        for c in found.check_cases()
    ]
    with writing(folder):
        if task:
            assert job.model.folder is not None
            shutil.copyfile(job.model.folder / task["tokenizer"], folder / task["tokenizer"])
        manifest = replace(
            manifest, verification=found.to_json(), check=add_check(folder, kept), task=task
        )
        write_manifest(folder, manifest)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return Artifact(folder, manifest.to_json(), size)


def served_task(job: Job) -> dict[str, Any]:
    """Return what the model is for, empty if that is not known."""
    folder = job.model.folder if "model" in vars(job) else None
    if folder is None:
        return {}
    signature = job.products["trace"].signature
    names = [[v.name for v in values] for values in (signature.inputs, signature.outputs)]
    found = importlib.import_module("mojoaccel.trace.task").embedding_task(folder, *names)
    return dict(found or {})


def assemble(job: Job, folder: Path, sources: Mapping[str, Array]) -> Manifest:
    """Write a runnable artifact that nobody has checked yet.

    Args:
        job: The compile; its stages up to build are done.
        folder: The artifact.
        sources: The arrays that the plan packs (`weight_sources`).

    Raises:
        MojoaccelError: MA603, the folder cannot be written.
    """
    plan: Plan = job.products["optimize"]
    with writing(folder):
        library = add_library(folder, job.products["build"].path)
        weights = add_weights(folder, plan.weights, sources)
        manifest = describe(job, job.products["trace"], plan, library, weights)
        add_sources(folder, job.products["emit"], manifest)
        write_manifest(folder, manifest)
    return manifest


def weight_sources(job: Job, traced: TracedModel, plan: Plan) -> dict[str, Array]:
    """Return the arrays that the plan packs: original weights and folded ones."""
    return fold_weights(job, traced, plan.weight_graph)


def fold_weights(job: Job, traced: TracedModel, graph: Graph | None) -> dict[str, Array]:
    """Return the original weights, and those that `graph` makes of them."""
    arrays = {w.value: job.weights[w.digest] for w in traced.weights}
    if graph is not None and graph.nodes:
        replay = importlib.import_module("mojoaccel.trace.replay")
        arrays |= replay.fold_weights(graph, {w.name: arrays[w.name] for w in graph.weights})
    return arrays


def describe(
    job: Job, traced: TracedModel, plan: Plan, library: FileSpec, weights: FileSpec
) -> Manifest:
    """Write down what the artifact is, before it is verified."""
    target, options = job.target, job.request.options
    return replace(
        describe_model(job, traced, library, weights, job.compiler.identity),
        arch=target.arch,
        required_features=target.required_features,
        states=len(traced.states),
        options={
            "dtype": options.trace.dtype,
            "optimization": options.optimize.optimization,
            "build": {
                k: v for k, v in options_key(options.build).items() if k not in ("timeout", "jobs")
            },
        },
        passes=plan.passes,
        kernels=job.products["emit"].kernels,
    )


def describe_model(
    job: Job, traced: TracedModel, library: FileSpec, weights: FileSpec, compiler: str
) -> Manifest:
    """Write down what an artifact of any engine is that runs on machines like this one."""
    from mojoaccel import __version__

    return Manifest(
        name=traced.graph.name,
        target=str(job.target),
        arch=architecture(),
        system="linux",
        required_features=(),
        library=library,
        weights=weights,
        inputs=tuple(spec_of(v) for v in traced.signature.inputs),
        outputs=tuple(spec_of(v) for v in traced.signature.outputs),
        dims={d.name: (d.min, d.max) for d in traced.graph.dims},
        in_tree=traced.signature.in_tree,
        out_tree=traced.signature.out_tree,
        producer={"mojoaccel": __version__, "compiler": compiler},
        threads=job.request.options.package.threads,
    )


def spec_of(value: Value) -> TensorSpec:
    """Return a value of the signature as the manifest has it."""
    shape = tuple(s if isinstance(s, int) else str(s) for s in value.type.shape)
    return TensorSpec(value.name, value.type.dtype.torch, shape)


def runs_here(target: Target) -> bool:
    """Whether this machine can run code for `target`."""
    from mojoaccel.artifact.host import usable_flags

    missing = set(target.required_features) - usable_flags()
    return target.arch == architecture() and not missing


def check(job: Job, traced: TracedModel, folder: Path) -> Verification:
    """Compare the artifact with PyTorch, unless that was not asked for or cannot be done here.

    Raises:
        MojoaccelError: MA602, the answers differ by more than the float64 referee allows.
    """
    if not job.request.options.package.verify:
        return Verification("skipped", "not asked for")
    if not runs_here(job.target):
        return Verification("skipped", f"this machine cannot run code for {job.target}")
    from mojoaccel.runtime.session import load

    replay = importlib.import_module("mojoaccel.trace.replay")
    if "model" in vars(job):  # the user's own module; otherwise the compile began at graph.ir
        export = importlib.import_module("mojoaccel.trace.export")
        example = export.as_traced(job.model.example, job.request.options.trace)
        runs = [replay.module_runner(example, double=d) for d in (False, True)]
        examples = replay.example_arrays(example)
    else:
        runs = [replay.graph_runner(traced, job.weights, double=d) for d in (False, True)]
        examples = []
    with load(folder, job.request.options.package.threads or None) as session:

        def ours(inputs: Sequence[Array]) -> list[Array]:
            session.reset()
            return session.run_flat(inputs)

        found = verify(
            traced, ours=ours, torch_runs=runs[0], double_runs=runs[1], examples=examples
        )
    if found.status == "failed":
        if "optimize" not in job.products:  # another engine's: it has no values to lay open
            raise accuracy_error(found, [], "compile it with --engine mojo")
        raise accuracy_error(found, culprit(job, found))
    return found


def culprit(job: Job, found: Verification) -> list[str]:
    """Return the account of the first wrong value behind a failed verification."""
    bisect = importlib.import_module("mojoaccel.bisect")
    wrong = next(c for c in found.cases if not all(o.ok for o in c.comparisons))
    try:
        departure = bisect.first_departure(job, wrong.inputs)
    except MojoaccelError as e:  # the failure itself matters more
        return [f"the first wrong value could not be found: {e.diagnostics[0].message}"]
    return departure.lines() if departure else ["no single value is wrong when it is laid open"]
