"""The six stages as the driver sees them: key, run, write, read, digest, one line to describe.

A key holds everything the product depends on: the digests of the products before it, every field
of the stage's options, the parts of the target it looks at, the tools, and the digest of our own
source in the rooms that do the work. Products are chained by content, so a change that leaves a
product as it was costs nothing after that stage.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mojoaccel.artifact.copying import copy_folder
from mojoaccel.config import options_key
from mojoaccel.errors import Diagnostic, MojoaccelError, SourceLoc
from mojoaccel.ir.serialize import parse_plan, plan_to_text
from mojoaccel.job import Job, kernels_digest, source_digest
from mojoaccel.products import (
    Artifact,
    MojoSource,
    NativeLibrary,
    Plan,
    Target,
    TracedModel,
    digest_bytes,
    digest_json,
)
from mojoaccel.weights import StoredWeights, save_weights

ARTIFACT = "model.maccel"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: One of the six names.
        version: Version of the product's format in the cache.
        file: Name of the product's main file.
        key: What the product depends on.
        run: Makes the product.
        write: Writes the product into a folder.
        read: Reads it back.
        digest: Content digest, for the keys of later stages.
        describe: One phrase for the stage's line.
    """

    name: str
    version: int
    file: str
    key: Callable[[Job], dict[str, Any]]
    run: Callable[[Job], Any]
    write: Callable[[Job, Any, Path], None]
    read: Callable[[Job, Path], Any]
    digest: Callable[[Any], str]
    describe: Callable[[Any], str]


# -- detect ---------------------------------------------------------------------------------


def _detect_key(job: Job) -> dict[str, Any]:
    from mojoaccel.targets.probe import machine_digest

    return {
        "options": options_key(job.request.options.detect),
        "machine": machine_digest(),
        "source": source_digest("targets"),
    }


def _detect(job: Job) -> Target:
    from mojoaccel.targets.probe import detect

    return detect(job.request.options.detect.target)


def _read_target(job: Job, folder: Path) -> Target:
    data = json.loads((folder / "target.json").read_text())
    lists = {k: tuple(v) for k, v in data.items() if isinstance(v, list)}
    return Target(**{**data, **lists})


def _write_target(job: Job, target: Target, folder: Path) -> None:
    (folder / "target.json").write_text(json.dumps(asdict(target), indent=1))


DETECT = Stage(
    name="detect",
    version=1,
    file="target.json",
    key=_detect_key,
    run=_detect,
    write=_write_target,
    read=_read_target,
    digest=lambda target: digest_json(target.code_key()),
    describe=lambda target: target.name if target.name != "cpu" else f"{target.arch} {target.cpu}",
)


# -- trace ----------------------------------------------------------------------------------


def _trace_key(job: Job) -> dict[str, Any]:
    options = job.request.options.trace
    model = job.model
    fingerprint = importlib.import_module("mojoaccel.trace.fingerprint").fingerprint
    return {
        "options": options_key(options),
        "model": fingerprint(model, options),
        "custom": job.custom,
        "source": source_digest("trace", "ops", "ir", "products", "example"),
    }


def _trace(job: Job) -> TracedModel:
    traced: TracedModel
    try:
        traced, job.weights = job.tracer.trace(job.model, job.request.options.trace)
    except MojoaccelError as problem:
        if problem.partial is None or job.target.name == "reference":
            raise
        more = refused_forms(problem.partial, job)
        raise MojoaccelError((*problem.diagnostics, *more), problem.details) from problem
    warn_of_written(job, traced)
    return traced


def warn_of_written(job: Job, traced: TracedModel) -> None:
    """Say which inputs the module writes: the artifact gives its outputs, and leaves them alone."""
    if traced.written:
        names = ", ".join(traced.written)
        message = f"the module writes into its input {names}; the artifact does not"
        job.warnings.append(Diagnostic("MA211", message, "warning"))


def refused_forms(traced: TracedModel, job: Job) -> tuple[Diagnostic, ...]:
    """Return what lowering would refuse in a model whose tracing failed: all is said at once."""
    from mojoaccel.passes.pipeline import optimize

    try:
        optimize(traced, job.target, job.request.options.optimize)
    except MojoaccelError as problem:
        return problem.diagnostics
    return ()


def _write_traced(job: Job, traced: TracedModel, folder: Path) -> None:
    from mojoaccel.ir.text import print_traced

    (folder / "graph.ir").write_text(print_traced(traced), encoding="utf-8")
    save_weights(job.weights, folder)


def _read_traced(job: Job, folder: Path) -> TracedModel:
    from mojoaccel.ir.text import parse_traced

    traced = parse_traced((folder / "graph.ir").read_text(encoding="utf-8"))
    job.weights = StoredWeights(folder)
    warn_of_written(job, traced)
    return traced


def _traced_digest(traced: TracedModel) -> str:
    from mojoaccel.ir.text import print_traced

    return digest_bytes(print_traced(traced))


TRACE = Stage(
    name="trace",
    version=1,
    file="graph.ir",
    key=_trace_key,
    run=_trace,
    write=_write_traced,
    read=_read_traced,
    digest=_traced_digest,
    describe=lambda traced: f"{len(traced.graph.nodes)} nodes, {len(traced.weights)} weights",
)


# -- optimize -------------------------------------------------------------------------------


def _optimize_key(job: Job) -> dict[str, Any]:
    options = job.request.options.optimize
    key = {
        "traced": job.digests["trace"],
        "target": job.target.code_key(),
        "options": options_key(options),
        "custom": job.custom,
        "source": source_digest("passes", "ops", "ir"),
    }
    if measures(job):
        from mojoaccel.tile_search import machine_key

        key["measured"] = machine_key(job)
    return key


def measures(job: Job) -> bool:
    """Whether tile parameters are chosen by measuring."""
    return job.request.options.optimize.optimization >= 3 and job.target.name == "cpu"


def _optimize(job: Job) -> Plan:
    from mojoaccel.passes.pipeline import optimize

    if measures(job):
        from mojoaccel.tile_search import optimize_measured

        return optimize_measured(job)
    return optimize(job.products["trace"], job.target, job.request.options.optimize)


def _write_plan(job: Job, plan: Plan, folder: Path) -> None:
    (folder / "plan.ir").write_text(plan_to_text(plan), encoding="utf-8")


def _read_plan(job: Job, folder: Path) -> Plan:
    return parse_plan((folder / "plan.ir").read_text(encoding="utf-8"))


OPTIMIZE = Stage(
    name="optimize",
    version=1,
    file="plan.ir",
    key=_optimize_key,
    run=_optimize,
    write=_write_plan,
    read=_read_plan,
    digest=lambda plan: digest_bytes(plan_to_text(plan)),
    describe=lambda plan: f"{len(plan.groups)} groups",
)


# -- emit -----------------------------------------------------------------------------------


def _emit_key(job: Job) -> dict[str, Any]:
    return {
        "plan": job.digests["optimize"],
        "target": job.target.code_key(),
        "options": options_key(job.request.options.emit),
        "source": source_digest("emit", "ir", "artifact"),
    }


def _emit(job: Job) -> MojoSource:
    from mojoaccel.emit.module import emit

    return emit(job.products["optimize"], job.target)


def _write_source(job: Job, source: MojoSource, folder: Path) -> None:
    for name, text in source.files:
        (folder / name).write_text(text, encoding="utf-8")
    lines = [[line, loc.to_json()] for line, loc in source.line_map]
    record = {"files": [n for n, _ in source.files], "kernels": source.kernels, "lines": lines}
    (folder / "model.json").write_text(json.dumps(record), encoding="utf-8")


def _read_source(job: Job, folder: Path) -> MojoSource:
    """Read the emitted source; a hand-edited ``model.mojo`` keeps its old line map."""
    from mojoaccel.emit.module import code_digest

    record: dict[str, Any] = {"files": ["model.mojo"], "kernels": [], "lines": []}
    if (folder / "model.json").exists():
        record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    files = tuple((n, (folder / n).read_text(encoding="utf-8")) for n in record["files"])
    lines = tuple((line, SourceLoc(*loc)) for line, loc in record["lines"])
    texts = dict(files)
    digest = code_digest(texts.pop("model.mojo"), *texts.values())
    return MojoSource(files, lines, tuple(record["kernels"]), digest)


EMIT = Stage(
    name="emit",
    version=1,
    file="model.mojo",
    key=_emit_key,
    run=_emit,
    write=_write_source,
    read=_read_source,
    digest=lambda source: digest_json([source.files, source.code_digest]),
    describe=lambda source: f"{len(source.kernels)} kernels",
)


# -- build ----------------------------------------------------------------------------------


def _build_key(job: Job) -> dict[str, Any]:
    target = job.target
    return {
        "code": job.products["emit"].code_digest,
        "target": {"triple": target.triple, "cpu": target.cpu, "features": list(target.features)},
        "options": options_key(job.request.options.build),
        "compiler": job.compiler.identity,
        "kernels": kernels_digest(),
        "source": source_digest("toolchain"),
    }


def _build(job: Job) -> NativeLibrary:
    from mojoaccel.toolchain.build import build

    return build(
        job.products["emit"],
        job.target,
        job.request.options.build,
        compiler=job.compiler,
        out=job.work / "build",
    )


def _write_library(job: Job, library: NativeLibrary, folder: Path) -> None:
    if library.path != folder / "model.so":
        shutil.copyfile(library.path, folder / "model.so")
    record = {k: v for k, v in asdict(library).items() if k != "path"}
    (folder / "library.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def _read_library(job: Job, folder: Path) -> NativeLibrary:
    record = json.loads((folder / "library.json").read_text(encoding="utf-8"))
    commands = tuple(tuple(c) for c in record.pop("commands"))
    return NativeLibrary(path=folder / "model.so", commands=commands, **record)


BUILD = Stage(
    name="build",
    version=1,
    file="model.so",
    key=_build_key,
    run=_build,
    write=_write_library,
    read=_read_library,
    digest=lambda library: library.digest,
    describe=lambda library: f"{library.size / 1000:.0f} kB",
)


# -- package --------------------------------------------------------------------------------


def _package_key(job: Job) -> dict[str, Any]:
    from mojoaccel.packaging import served_task

    options = options_key(job.request.options.package)
    # An archive holds the folder's bytes; it is made when the artifact is delivered.
    del options["archive"]
    return {
        "library": job.digests["build"],
        "emitted": job.digests["emit"],
        "plan": job.digests["optimize"],
        "traced": job.digests["trace"],
        "target": {**job.target.code_key(), "required": list(job.target.required_features)},
        "options": options,
        "task": served_task(job),
        "build": options_key(job.request.options.build),
        "compiler": job.compiler.identity,
        "source": source_digest("artifact", "runtime", "verify", "packaging", "ops", "ir"),
    }


def _package(job: Job) -> Artifact:
    from mojoaccel.packaging import package

    return package(job)


def _write_artifact(job: Job, artifact: Artifact, folder: Path) -> None:
    if artifact.path != folder / ARTIFACT:
        copy_folder(artifact.path, folder / ARTIFACT)


def _read_artifact(job: Job, folder: Path) -> Artifact:
    path = folder / ARTIFACT
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return Artifact(path, manifest, size)


PACKAGE = Stage(
    name="package",
    version=1,
    file=ARTIFACT,
    key=_package_key,
    run=_package,
    write=_write_artifact,
    read=_read_artifact,
    digest=lambda artifact: digest_json(artifact.manifest),
    describe=lambda artifact: f"{artifact.size / 1e6:.1f} MB",
)
