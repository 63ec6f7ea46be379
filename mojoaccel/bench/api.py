"""Benchmark an artifact, or a model that is compiled first, against its rivals."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mojoaccel.artifact.archive import open_folder
from mojoaccel.artifact.check_arrays import read_arrays
from mojoaccel.artifact.manifest import Manifest, read_manifest
from mojoaccel.bench.accuracy import Reference, judge, own_error
from mojoaccel.bench.baselines import BASELINES
from mojoaccel.bench.energy import open_meter
from mojoaccel.bench.machine import describe_machine, load_average, usable_cores
from mojoaccel.bench.process import WorkerFailed
from mojoaccel.bench.report import OURS, BenchReport, RunnerReport
from mojoaccel.bench.statistics import speed_ratio, summarize
from mojoaccel.bench.timing import Contender, Track, cold_start
from mojoaccel.bench.workloads import (
    Input,
    Inputs,
    ModelSource,
    example_inputs,
    load_arrays,
)
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.ir.types import BY_TORCH
from mojoaccel.loading import is_reference
from mojoaccel.paths import cache_root
from mojoaccel.runtime.check import shapes_of
from mojoaccel.runtime.sizes import evaluate, solve

if TYPE_CHECKING:
    from mojoaccel.example import Example


@dataclass(frozen=True)
class BenchRequest:
    """What to measure.

    Attributes:
        artifact: The compiled model, folder or archive.
        model: The PyTorch model; None leaves only the artifact.
        rivals: Names of baselines.
        sizes: Sizes of named dims; those of the example inputs otherwise.
        threads: Threads of every runner; 0 is one per usable core.
        seconds: Counted time per runner.
        rounds: Number of rounds; 0 chooses it.
        timeout: Seconds before a runner that does not answer is stopped.
        stages: Seconds of each compile stage, if the artifact was compiled for this benchmark.
        cached: Those of them that came from the cache.
        example: The model's example, where it is loaded already.
    """

    artifact: Path
    model: ModelSource | None = None
    rivals: Sequence[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    threads: int = 0
    seconds: float = 5.0
    rounds: int = 0
    timeout: float = 600.0
    stages: Mapping[str, float] = field(default_factory=dict)
    cached: Sequence[str] = ()
    example: Example | None = None


def bench(request: BenchRequest, show: Callable[[str], None] = lambda text: None) -> BenchReport:
    """Measure an artifact and its rivals.

    Args:
        request: What to measure.
        show: Told what is going on.

    Raises:
        MojoaccelError: MA903 a rival or dim is unknown, or a rival lacks its model; MA6xx the
            artifact cannot be read; MA2xx the model cannot be loaded or run.
    """
    check_rivals(request.rivals, request.model is not None)
    with tempfile.TemporaryDirectory(prefix="mojoaccel-bench-") as name:
        return _Bench(request, Path(name), show).run()


def check_rivals(rivals: Sequence[str], has_model: bool) -> None:
    """Refuse rivals that are unknown, or that have no PyTorch model to run.

    Raises:
        MojoaccelError: MA903.
    """
    from mojoaccel.settings import nearest

    for name in rivals:
        if name not in BASELINES:
            raise error("MA903", f"no rival is called {name}", hint=nearest(name, BASELINES))
    if rivals and not has_model:
        raise error(
            "MA903",
            f"{rivals[0]} needs the PyTorch model, which an artifact does not hold",
            hint="bench the model itself, or add --model FILE.py",
        )


class _Bench:
    """One benchmark in its temporary folder."""

    def __init__(self, request: BenchRequest, folder: Path, show: Callable[[str], None]) -> None:
        self.request = request
        self.folder = folder
        self.show = show
        self.threads = request.threads or usable_cores()
        self.artifact = open_folder(request.artifact, cache_root() / "unpacked")
        if is_reference(self.artifact):
            raise error(
                "MA903",
                "this is a reference model: PyTorch interprets it, so there is nothing to measure",
                hint="compile it for a processor: --target cpu",
            )
        self.manifest: Manifest = read_manifest(self.artifact)

    def run(self) -> BenchReport:
        before = load_average()[0]
        inputs = self._choose_inputs()
        inputs.save(self.folder)
        meter = open_meter(self.manifest.target)
        track = Track(self.folder, self.threads, self.request.timeout, meter, self.show)
        contenders, reports = self._enter()
        reference = self._reference(track)
        try:
            self._measure(track, contenders)
        finally:
            for contender in contenders:
                contender.kill()
        reports += self._read(contenders, reference)
        order = [OURS, *self.request.rivals]
        own = own_error(reference)
        return BenchReport(
            model=self._name(),
            target=self.manifest.target,
            dtype=self._dtype(),
            inputs=tuple(inputs.describe()),
            sizes=inputs.sizes,
            threads=self.threads,
            items=inputs.items(),
            tokens=inputs.tokens(),
            reference=reference.source,
            torch_error=None if own is None else own.error,
            runners=tuple(sorted(reports, key=lambda r: order.index(r.name))),
            machine=describe_machine(),
            load_before=before,
            load_after=load_average()[0],
            other_cores=track.others,
            meter=None if meter is None else meter.name,
            artifact_bytes=self._artifact_bytes(),
            stages=dict(self.request.stages),
            cached=tuple(self.request.cached),
        )

    def _measure(self, track: Track, contenders: Sequence[Contender]) -> None:
        for contender in contenders:
            if contender.name != OURS and BASELINES[contender.name].build is not None:
                track.build(contender)
        for contender in contenders:
            if not contender.failure:
                track.open(contender, self.folder / f"{contender.name}.npz")
        opened = [c for c in contenders if not c.failure]
        track.race(opened, self.request.seconds, self.request.rounds)
        self.show("starting anew")
        for contender in opened:
            track.restart(contender)

    def _name(self) -> str:
        if self.request.model is not None:
            return self.request.model.name
        return self.manifest.name

    def _dtype(self) -> str:
        if self.request.model is not None:
            return self.request.model.dtype
        return str(self.manifest.options.get("dtype", "f32"))

    def _artifact_bytes(self) -> int:
        return sum(f.stat().st_size for f in self.artifact.rglob("*") if f.is_file())

    def _choose_inputs(self) -> Inputs:
        """Take the example's inputs, else those the artifact carries; at the sizes asked for."""
        model = self.request.model
        if model is not None:
            example = self.request.example or model.load()
            found = example_inputs(example, model.dynamic)
        else:
            found = artifact_inputs(self.artifact, self.manifest)
        return found.at(self.request.sizes) if self.request.sizes else found

    def _enter(self) -> tuple[list[Contender], list[RunnerReport]]:
        """Return who takes part, and the rows of those who cannot."""
        task = {
            "runner": OURS,
            "artifact": str(self.artifact),
            "threads": self.threads,
            "engine": self.manifest.engine,
        }
        contenders, absent = [Contender(OURS, task)], []
        for name in dict.fromkeys(self.request.rivals):
            missing = BASELINES[name].missing(self._dtype())
            if missing:
                absent.append(RunnerReport(name, "unavailable", missing))
                continue
            place = self.folder / name
            place.mkdir()
            contenders.append(Contender(name, {**self._task(name), "place": str(place)}))
        return contenders, absent

    def _task(self, name: str) -> dict[str, Any]:
        assert self.request.model is not None
        model = {**asdict(self.request.model), "path": _absolute(self.request.model.path)}
        return {
            "runner": name,
            "model": model,
            "threads": self.threads,
            "place": str(self.folder),
        }

    def _reference(self, track: Track) -> Reference:
        """Return what the answers should be: from PyTorch, else from the artifact."""
        if self.request.model is None:
            return self._kept_reference()
        self.show("computing in float64")
        try:
            found = track.once("referee", "referee", self._task("eager"))
        except WorkerFailed as e:
            raise error("MA207", f"the model fails on the benchmark's inputs: {e}") from e
        exact = load_arrays(self.folder / "exact.npz")
        return Reference(
            found["dtypes"], exact, load_arrays(self.folder / "own.npz"), found["source"]
        )

    def _kept_reference(self) -> Reference:
        dtypes = [BY_TORCH[t.dtype].name for t in self.manifest.outputs]
        if not self.manifest.check or self.request.sizes:
            return Reference(dtypes, [], None, "none")
        case = self.manifest.check[-1]
        shapes = shapes_of(self.manifest.outputs, case)
        answers = read_arrays(self.artifact / case["folder"], "output", shapes)
        return Reference(dtypes, answers, None, "check")

    def _read(self, contenders: Sequence[Contender], reference: Reference) -> list[RunnerReport]:
        eager = next((c for c in contenders if c.name == "eager" and c.rounds), None)
        return [self._row(c, eager, reference) for c in contenders]

    def _row(
        self, contender: Contender, eager: Contender | None, reference: Reference
    ) -> RunnerReport:
        if contender.failure:
            code = f"{contender.code} " if contender.code else ""
            return RunnerReport(
                contender.name,
                "failed",
                code + contender.failure,
                version=contender.version,
                compile_seconds=contender.build_seconds,
            )
        accuracy = None
        if reference.source != "none":
            accuracy = judge(load_arrays(self.folder / f"{contender.name}.npz"), reference)
        row = RunnerReport(
            name=contender.name,
            status="ok",
            version=contender.version,
            summary=summarize(contender.rounds),
            rounds=tuple(float(np.median(times)) / 1e6 for times in contender.rounds),
            speedup=None if eager is None else speed_ratio(contender.rounds, eager.rounds),
            accuracy=accuracy,
            peak_memory=contender.memory,
            compile_seconds=contender.build_seconds,
            cold_start=cold_start(contender.starts),
            joules=None if contender.joules is None else contender.joules / contender.metered_runs,
            warmup={k: v for k, v in contender.warmup.items() if k != "median_ns"},
            quiet=contender.quiet,
        )
        if contender.name == OURS and self.request.stages:
            row = replace(row, compile_seconds=sum(self.request.stages.values()))
        if accuracy is not None and not accuracy.ok:
            row = replace(row, status="wrong output", detail=accuracy.reason)
        return row


def artifact_inputs(folder: Path, manifest: Manifest) -> Inputs:
    """Return the largest inputs that the artifact carries, or drawn ones where it has none."""
    if manifest.check:
        case = manifest.check[-1]
        shapes = shapes_of(manifest.inputs, case)
        arrays = read_arrays(folder / case["folder"], "input", shapes)
    else:
        arrays = [_drawn(t.dtype, t.shape, manifest) for t in manifest.inputs]
    return Inputs(
        tuple(
            Input(
                spec.name,
                BY_TORCH[spec.dtype].name,
                array,
                {a: s for a, s in enumerate(spec.shape) if isinstance(s, str) and solve(s, {}, 1)},
            )
            for spec, array in zip(manifest.inputs, arrays, strict=True)
        )
    )


def _drawn(dtype: str, shape: Sequence[int | str], manifest: Manifest) -> Any:
    from mojoaccel.bench.workloads import draw

    sizes = {n: max(low, min(8, high or 8)) for n, (low, high) in manifest.dims.items()}
    concrete = tuple(evaluate(s, sizes) for s in shape)
    return draw(BY_TORCH[dtype], concrete, (0, 1), np.random.default_rng(0))


def _absolute(path: str) -> str:
    """Make a model path absolute, whatever follows it."""
    head, mark, factory = path.partition(".py:")
    place = Path(head + ".py") if mark else Path(head)
    return str(place.absolute()) + (f":{factory}" if mark else "")


def accuracy_failure(report: BenchReport) -> MojoaccelError | None:
    """Return MA602 if our own answer was wrong, MA703 if it could not run, else None."""
    ours = report.ours
    if ours.status == "ok":
        return None
    code = "MA602" if ours.status == "wrong output" else "MA703"
    return error(code, f"{OURS}: {ours.detail}")


def is_artifact(path: Path) -> bool:
    """Return whether `path` is a compiled artifact, folder or archive (a .pt2 is a zip too)."""
    import zipfile

    if path.is_dir():
        return (path / "manifest.json").is_file()
    return path.suffix == ".maccel" or (path.suffix == ".zip" and zipfile.is_zipfile(path))
