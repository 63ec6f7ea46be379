"""The build and package stages of the MAX engine, as the driver sees them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mojoaccel.artifact.assemble import write_manifest
from mojoaccel.artifact.hashing import file_digest
from mojoaccel.artifact.manifest import FileSpec
from mojoaccel.artifact.parameters import write_parameters
from mojoaccel.config import options_key
from mojoaccel.engines.max.compiler import compile_graph, identity
from mojoaccel.engines.max.lowering import Parameter
from mojoaccel.engines.max.prepare import Prepared, prepare
from mojoaccel.job import Job, source_digest
from mojoaccel.packaging import describe_model, fold_weights, prove, served_task
from mojoaccel.placing import writing
from mojoaccel.products import Artifact, TracedModel, digest_json
from mojoaccel.stages import DETECT, PACKAGE, TRACE, Stage

MODEL = "model.mef"
LICENSE_NOTE = """The compiled model (model.mef) was made by Modular's MAX, whose licence applies to
it; it runs with the max package, of which it contains nothing else.
The weights are the property of the model's authors and keep the model's licence.
"""


@dataclass(frozen=True)
class CompiledGraph:
    """What MAX's compiler made.

    Attributes:
        path: The compiled model.
        parameters: The weights it takes.
        digest: Of the file.
        size: Its bytes.
        passes: Passes that ran before, and how often each changed something.
        compiler: Version of MAX.
    """

    path: Path
    parameters: tuple[Parameter, ...]
    digest: str
    size: int
    passes: tuple[tuple[str, int], ...]
    compiler: str


def _build_key(job: Job) -> dict[str, Any]:
    return {
        "engine": "max",
        "traced": job.digests["trace"],
        "target": job.target.code_key(),
        "compiler": identity(),
        "source": source_digest("engines", "passes", "ops", "ir"),
    }


def _build(job: Job) -> CompiledGraph:
    ready: Prepared = prepare(job.products["trace"])
    folder = job.work / "max"
    timeout = job.request.options.build.timeout
    parameters = compile_graph(ready.traced, folder, timeout)
    made = folder / MODEL
    size = made.stat().st_size
    return CompiledGraph(made, parameters, file_digest(made), size, ready.passes, identity())


def _write_build(job: Job, made: CompiledGraph, folder: Path) -> None:
    if made.path != folder / MODEL:
        shutil.copyfile(made.path, folder / MODEL)
    record = {
        "parameters": [[p.weight, p.axes] for p in made.parameters],
        "digest": made.digest,
        "passes": made.passes,
        "compiler": made.compiler,
    }
    (folder / "library.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def _read_build(job: Job, folder: Path) -> CompiledGraph:
    record = json.loads((folder / "library.json").read_text(encoding="utf-8"))
    parameters = tuple(
        Parameter(w, None if a is None else tuple(a)) for w, a in record["parameters"]
    )
    passes = tuple((n, c) for n, c in record["passes"])
    size = (folder / MODEL).stat().st_size
    return CompiledGraph(
        folder / MODEL, parameters, record["digest"], size, passes, record["compiler"]
    )


BUILD = Stage(
    name="build",
    version=1,
    file=MODEL,
    key=_build_key,
    run=_build,
    write=_write_build,
    read=_read_build,
    digest=lambda made: made.digest,
    describe=lambda made: f"{made.compiler}, {made.size / 1000:.0f} kB",
)


def _package_key(job: Job) -> dict[str, Any]:
    options = options_key(job.request.options.package)
    del options["archive"]
    return {
        "engine": "max",
        "library": job.digests["build"],
        "traced": job.digests["trace"],
        "options": options,
        "task": served_task(job),
        "compiler": identity(),
        "source": source_digest("artifact", "runtime", "verify", "packaging", "engines", "ir"),
    }


def _package(job: Job) -> Artifact:
    """Assemble the artifact in the compile's temporary folder, and verify it there.

    Raises:
        MojoaccelError: MA602 its answers are not PyTorch's, MA603 the folder cannot be written.
    """
    folder = job.work / "package"
    folder.mkdir()
    traced: TracedModel = job.products["trace"]
    made: CompiledGraph = job.products["build"]
    ready = prepare(traced)
    with writing(folder):
        shutil.copyfile(made.path, folder / MODEL)
        library = FileSpec(MODEL, made.size, made.digest)
        sources = fold_weights(job, traced, ready.weight_graph)
        types = {w.name: w.type.dtype.torch for w in ready.traced.graph.weights}
        given = [
            (p.name, p.weight, types[p.weight], p.axes)
            for p in sorted(made.parameters, key=lambda p: p.name)
        ]
        weights, parameters = write_parameters(folder, given, sources)
        manifest = replace(
            describe_model(job, traced, library, weights, made.compiler),
            options={"dtype": job.request.options.trace.dtype},
            passes=made.passes,
            engine="max",
            parameters=parameters,
        )
        (folder / "LICENSES").write_text(LICENSE_NOTE, encoding="utf-8")
        write_manifest(folder, manifest)
    return prove(job, folder, manifest)


STAGES: tuple[Stage, ...] = (
    DETECT,
    TRACE,
    BUILD,
    replace(PACKAGE, key=_package_key, run=_package, digest=lambda a: digest_json(a.manifest)),
)
"""A compile by MAX: it has no plan and no Mojo source of ours."""


def check_graph(job: Job) -> None:
    """Lower a traced model and compile nothing.

    Raises:
        MojoaccelError: MA203 and MA302: everything that MAX cannot express.
    """
    ready = prepare(job.products["trace"])
    compile_graph(ready.traced, job.work / "check", job.request.options.build.timeout, check=True)
