"""The table of contents: the six stages in order, and the one loop that runs them.

For every stage: compute its key, take the product from the cache or make it, publish it, note the
time. A compile may start at a saved product (``graph.ir``, ``plan.ir``, ``model.mojo``) and stop
after any stage. What each stage's key, run, write and read are stands in `stages`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mojoaccel import stages
from mojoaccel.cache import Cache
from mojoaccel.engines.max import stages as max_stages
from mojoaccel.errors import Diagnostic, error
from mojoaccel.job import Job, Request
from mojoaccel.log import log
from mojoaccel.placing import writing
from mojoaccel.stages import Stage

STAGES: tuple[Stage, ...] = (
    stages.DETECT,
    stages.TRACE,
    stages.OPTIMIZE,
    stages.EMIT,
    stages.BUILD,
    stages.PACKAGE,
)
ENGINES = {"mojo": STAGES, "max": max_stages.STAGES}
"""The stages of each engine."""

RESUME = {"graph.ir": "optimize", "plan.ir": "emit", "model.mojo": "build"}
"""Files that `compile` takes in place of a model, and the stage it then starts at."""

LAST_STAGE = {"null": "emit", "reference": "trace"}
"""Where compiling ends for targets that build no native code."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """What happened in one stage.

    Attributes:
        name: Name of the stage.
        seconds: Wall-clock time, key and cache included.
        status: ``run`` | ``cached`` | ``read`` (taken from a saved file).
        detail: One phrase about the product.
        misses: Why the cache had no product, if that was asked for.
    """

    name: str
    seconds: float
    status: str
    detail: str
    misses: tuple[str, ...] = ()


@dataclass
class Report:
    """What a compile did and made.

    Attributes:
        name: Name of the model.
        stages: One report per stage, in order.
        products: Product of each stage by the stage's name.
        setup_seconds: Importing torch and constructing the model, not part of any stage.
        sources: Files of the user that the result depends on.
        warnings: Diagnostics that did not stop the compile.
    """

    name: str = ""
    stages: list[StageReport] = field(default_factory=list)
    products: dict[str, Any] = field(default_factory=dict)
    setup_seconds: dict[str, float] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)


@dataclass
class Compiler:
    """Runs requests against one cache.

    Attributes:
        cache: Where products are kept.
        starting: Called with a stage's name before it runs.
        finished: Called with its report after.
    """

    cache: Cache
    starting: Callable[[str], None] = lambda name: None
    finished: Callable[[StageReport], None] = lambda report: None

    def compile(self, request: Request, deliver: Callable[[Job, Report], None]) -> Report:
        """Run every stage that the request asks for, then hand over what was made.

        Args:
            request: What to compile and how.
            deliver: Called while the products' files still exist; copies what it wants to keep.

        Raises:
            MojoaccelError: A stage failed; nothing of it is cached.
        """
        work = Path(tempfile.mkdtemp(prefix="mojoaccel-"))
        try:
            job = Job(request, work)
            report = Report()
            try:
                chosen = self._choose(job, report)
                builds = stages.BUILD in chosen
                for stage in chosen:
                    self.starting(stage.name)
                    row = self._run(stage, job, request)
                    if stage.name == "detect" and builds:
                        row = _find_compiler(job, row)
                    report.stages.append(row)
                    if stage.name == "detect":
                        log.info("target %s", job.target)
                    self.finished(row)
            finally:
                report.warnings += job.warnings
            report.name = job.name
            report.products = job.products
            report.setup_seconds = job.setup_seconds
            report.sources = list(job.model.sources) if "model" in vars(job) else []
            report.sources += job.custom_sources
            deliver(job, report)
            return report
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _choose(self, job: Job, report: Report) -> list[Stage]:
        """Choose the stages to run, and read what an earlier compile saved of those before."""
        request = job.request
        if request.engine != "mojo":
            return _engine_stages(request)
        names = [s.name for s in STAGES]
        first = names.index(start_stage(request.model))
        target = request.options.detect.target.split(":")[0]
        last = names.index(LAST_STAGE.get(target, names[-1]))
        if request.stop_after is not None:
            last = min(last, names.index(request.stop_after))
        saved = STAGES[1:first]
        for stage in saved:
            _read_saved(stage, job, report)
        missing = [s.file for s in saved if s.name not in job.products]
        if last == names.index("package") and missing:
            raise error(
                "MA208",
                f"{' and '.join(missing)} not found beside {Path(request.model).name}, so there "
                "is nothing to take the signature and the weights from",
                hint="add --emit so for the library alone, or start from a --save-temps folder",
            )
        if saved and last < first - 1:
            raise error(
                "MA903", f"{Path(request.model).name} is a later product than {names[last]}"
            )
        return [STAGES[0], *STAGES[max(first, 1) : last + 1]]

    def _run(self, stage: Stage, job: Job, request: Request) -> StageReport:
        before = sum(job.setup_seconds.values())
        began = time.perf_counter()
        key = {"format": stage.version, **stage.key(job)}
        label = job.name
        product: Any = None
        misses: tuple[str, ...] = ()
        folder = self.cache.find(stage.name, stage.version, key)
        if folder is not None:
            try:
                product = stage.read(job, folder)
            except Exception as e:  # whatever the damage: the stage can always run again
                self.cache.report_damaged(stage.name, folder, e)
        status = "run" if product is None else "cached"
        if product is None:
            if request.explain_cache:
                misses = tuple(self.cache.explain(stage.name, stage.version, key, label))
            product = stage.run(job)
            self.cache.publish(
                stage.name, stage.version, key, partial(stage.write, job, product), label
            )
        job.products[stage.name] = product
        job.digests[stage.name] = stage.digest(product)
        if request.save_temps is not None:
            with writing(request.save_temps):
                request.save_temps.mkdir(parents=True, exist_ok=True)
                stage.write(job, product, request.save_temps)
        setup = sum(job.setup_seconds.values()) - before
        seconds = time.perf_counter() - began - setup
        return StageReport(stage.name, seconds, status, stage.describe(product), misses)


def _find_compiler(job: Job, row: StageReport) -> StageReport:
    """Find the compiler while detecting: a missing one is said before a large model is traced."""
    began = time.perf_counter()
    job.compiler  # noqa: B018
    return replace(row, seconds=row.seconds + time.perf_counter() - began)


def _engine_stages(request: Request) -> list[Stage]:
    """Return the stages of another engine up to the last one asked for.

    Raises:
        MojoaccelError: MA903, the request is about what only our own engine has.
    """
    stages = ENGINES[request.engine]
    names = [s.name for s in stages]
    only = f"--engine {request.engine} takes a model"
    if start_stage(request.model) != "trace":
        raise error("MA903", f"{only}, not {Path(request.model).name}")
    target = request.options.detect.target
    if target.split(":")[0] in LAST_STAGE:
        raise error("MA903", f"{only} for a processor, not for {target}")
    last = request.stop_after or names[-1]
    if last not in names:
        raise error("MA903", f"--engine {request.engine} has no {last} stage: {', '.join(names)}")
    return list(stages[: names.index(last) + 1])


def start_stage(model: Any) -> str:
    """Return the stage at which compiling `model` starts."""
    return RESUME.get(Path(model).name, "trace") if isinstance(model, (str, Path)) else "trace"


def _read_saved(stage: Stage, job: Job, report: Report) -> None:
    """Take a stage's product from the folder of the file that `compile` was given."""
    given = Path(job.request.model)
    if not (given.parent / stage.file).exists():
        if stage.file == given.name:
            raise error("MA201", f"{given} does not exist")
        return
    began = time.perf_counter()
    product = stage.read(job, given.parent)
    job.products[stage.name], job.digests[stage.name] = product, stage.digest(product)
    seconds = time.perf_counter() - began
    report.stages.append(StageReport(stage.name, seconds, "read", stage.describe(product)))
