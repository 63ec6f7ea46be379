"""What leaves a compile: the artifact or another product, a make rule, and the account of it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mojoaccel.artifact.copying import copy_folder
from mojoaccel.config import BuildOptions
from mojoaccel.engines.max.stages import check_graph
from mojoaccel.errors import error
from mojoaccel.job import Job
from mojoaccel.placing import depfile_rule, place, place_folder, write_text
from mojoaccel.products import Artifact, Plan

if TYPE_CHECKING:
    from mojoaccel.driver import Report

_TEXT_STAGE = {"graph": "trace", "plan": "optimize", "mojo": "emit"}


class Delivery:
    """Takes what one compile made to where the user wants it.

    Attributes:
        path: What was written, if anything.
        text: What belongs on stdout instead.
        commands: What would be run, for ``--plan``.
        operators: Calls of every operator, for ``--check``.
        compared: Number of values compared inside the model, for ``--bisect``.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Keep the settings of ``compile``."""
        self.values = values
        self.path: Path | None = None
        self.text: str | None = None
        self.commands: tuple[tuple[str, ...], ...] = ()
        self.operators: dict[str, int] | None = None
        self.compared: int | None = None

    def receive(self, job: Job, report: Report) -> None:
        """Copy what is wanted out of the compile's temporary files.

        Raises:
            MojoaccelError: MA603, something cannot be written.
        """
        emit = self.values["emit"]
        if self.values["bisect"]:
            self._bisect(job)
        if self.values["check"]:
            self._count_operators(job)
        elif self.values["plan"]:
            self.commands = _commands(job)
            self.text = plan_text(job.products["optimize"], self.commands)
        elif emit in _TEXT_STAGE:
            self._give_text(_product_text(job, _TEXT_STAGE[emit]))
        elif emit in ("llvm", "asm"):
            self._give_text(_compiler_text(job, emit))
        elif emit == "so" and "build" in job.products:
            self.path = self._output(f"{job.name}.so")
            place_folder(job.products["build"].path, self.path)
        elif "package" in job.products:
            self.path = self._output(f"{job.name}.maccel")
            self._place_artifact(job, job.products["package"].path)
        elif job.products["detect"].name == "reference":
            self._place_reference(job)
        if self.values["depfile"]:
            made = self.path or self._output(f"{job.name}.maccel")
            write_text(Path(self.values["depfile"]), depfile_rule(made, report.sources))

    def document(self, report: Report) -> dict[str, Any]:
        """Return the content of ``--json``."""
        content: dict[str, Any] = {
            "ok": True,
            "model": report.name,
            "target": str(report.products["detect"]),
            "engine": self.values["engine"],
            "simulated": report.products["detect"].name == "reference",
            "output": None if self.path is None else str(self.path),
            "stages": [asdict(s) for s in report.stages],
            "setup_seconds": report.setup_seconds,
            "warnings": [w.to_json() for w in report.warnings],
        }
        plan: Plan | None = report.products.get("optimize")
        if plan is not None:
            content["groups"] = len(plan.groups)
            content["passes"] = [list(p) for p in plan.passes]
        elif "build" in report.products:
            content["passes"] = [list(p) for p in report.products["build"].passes]
        if "emit" in report.products:
            content["kernels"] = len(report.products["emit"].kernels)
        if "build" in report.products:
            content["library_bytes"] = report.products["build"].size
        if "package" in report.products:
            artifact: Artifact = report.products["package"]
            content["artifact_bytes"] = artifact.size
            content["verification"] = artifact.manifest["verification"]
        if self.compared is not None:
            content["compared"] = self.compared
        if self.operators is not None:
            content["operators"] = self.operators
        if self.values["plan"]:
            content["commands"] = [list(c) for c in self.commands]
        if self.text is not None and not self.values["plan"]:
            content["text"] = self.text
        return content

    def summary(self, report: Report) -> list[str]:
        """Return the closing lines for people."""
        lines: list[str] = []
        products = report.products
        if self.operators is not None:
            calls = sum(self.operators.values())
            lines.append(f"all of its {calls} calls of {len(self.operators)} operators compile")
        if products["detect"].name == "reference":
            lines.append("simulated: PyTorch interprets the graph; nothing was compiled")
        if "package" in products and self.path is not None:
            artifact: Artifact = products["package"]
            library = products["build"].size
            made = (
                f"{len(products['emit'].kernels)} kernels "
                f"in {len(products['optimize'].groups)} groups"
                if "emit" in products
                else f"for {products['build'].compiler}"
            )
            lines.append(
                f"{self.path.name}: {artifact.size / 1e6:.1f} MB "
                f"(library {library / 1e6:.2f} MB), {made}"
            )
            lines.append(verification_line(artifact.manifest["verification"]))
        if self.compared is not None:
            lines.append(f"all {self.compared} values inside agree with PyTorch's")
        setup = ", ".join(f"{name} {s:.2f} s" for name, s in report.setup_seconds.items())
        total = sum(s.seconds for s in report.stages)
        lines.append(f"{total:.2f} s" + (f" beside {setup}" if setup else ""))
        return lines

    def _count_operators(self, job: Job) -> None:
        """Count the calls of each operator, all of which can be compiled.

        Raises:
            MojoaccelError: MA203 and MA302, MAX takes some of them not.
        """
        if job.request.engine == "max":
            check_graph(job)
        graph = job.products["trace"].graph
        self.operators = dict(Counter(node.op for node in graph.nodes).most_common())

    def _bisect(self, job: Job) -> None:
        """Compare every value inside the model with PyTorch's.

        Raises:
            MojoaccelError: MA602, one is wrong.
        """
        from mojoaccel.bisect import first_departure

        found = first_departure(job)
        if found is not None:
            message = f"{found.value} differs from PyTorch's by more than the referee allows"
            raise error("MA602", message, loc=found.loc, notes=found.lines())
        self.compared = sum(len(n.outputs) for n in job.products["trace"].graph.nodes)

    def _place_artifact(self, job: Job, folder: Path) -> None:
        assert self.path is not None
        if self.values["sign"]:
            folder = _signed_copy(folder, job.work / "signed", Path(self.values["sign"]))
        if not self.values["archive"]:
            place_folder(folder, self.path)
            return
        from mojoaccel.artifact.archive import write_archive

        place(self.path, lambda new: write_archive(folder, new))

    def _place_reference(self, job: Job) -> None:
        """Write what the interpreter needs: the traced graph and its weights."""
        from mojoaccel.stages import TRACE

        self.path = self._output(f"{job.name}.maccel")
        folder = job.work / "reference"
        folder.mkdir()
        TRACE.write(job, job.products["trace"], folder)
        note = {"format_version": 1, "target": "reference", "simulated": True, "name": job.name}
        (folder / "manifest.json").write_text(json.dumps(note, indent=1) + "\n")
        place_folder(folder, self.path)

    def _output(self, default: str) -> Path:
        return Path(self.values["output"] or default)

    def _give_text(self, text: str) -> None:
        if self.values["output"]:
            self.path = Path(self.values["output"])
            write_text(self.path, text)
        else:
            self.text = text


def _product_text(job: Job, stage: str) -> str:
    """Return a product's text form."""
    from mojoaccel.driver import STAGES

    found = next(s for s in STAGES if s.name == stage)
    folder = job.work / f"text-{stage}"
    folder.mkdir()
    found.write(job, job.products[stage], folder)
    return (folder / found.file).read_text(encoding="utf-8")


def _compiler_text(job: Job, kind: str) -> str:
    """Return LLVM IR or assembly of the emitted module."""
    from mojoaccel.toolchain.build import emit_text

    options: BuildOptions = job.request.options.build
    return emit_text(job.products["emit"], job.target, options, compiler=job.compiler, kind=kind)


def _commands(job: Job) -> tuple[tuple[str, ...], ...]:
    """Return the command lines that building would run."""
    from mojoaccel.toolchain.build import compile_command, link_command

    options: BuildOptions = job.request.options.build
    compile_line = compile_command(job.compiler, job.target, options, "object", "model.o")
    return (tuple(compile_line), tuple(link_command(job.compiler, job.target)))


def verification_line(found: Mapping[str, Any]) -> str:
    """Say in one line how the verification went."""
    if found["status"] == "skipped":
        return f"not verified: {found['reason']}"
    rows = [o for run in found["runs"] for o in run["outputs"]]
    worst = max(rows, key=lambda o: o["error"] / o["allowed"] if o["allowed"] else 0.0)
    text = f"verified in {len(found['runs'])} runs: {len(rows)} outputs, "
    if not worst["allowed"]:
        return text + "all exact"
    return text + (
        f"largest error {worst['error']:.2g} against float64 "
        f"(PyTorch's own {worst['torch_error']:.2g}, allowed {worst['allowed']:.2g})"
    )


def plan_text(plan: Plan, commands: tuple[tuple[str, ...], ...]) -> str:
    """Return groups and commands for ``--plan``."""
    lines = [f"{len(plan.groups)} groups"]
    for number, group in enumerate(plan.groups, 1):
        kernels = " + ".join(c.function for c in group.calls)
        where = f"  {group.locs[0]}" if group.locs else ""
        lines.append(f"{number:4}  {group.name}: {', '.join(group.ops)} by {kernels}{where}")
    lines.append("commands")
    lines += [f"      {shlex.join(c)}" for c in commands]
    return "\n".join(lines)


def _signed_copy(folder: Path, target: Path, key: Path) -> Path:
    """Copy an artifact and sign the copy: the compile's own product may be the cache's."""
    from mojoaccel.artifact.signing import sign

    copy_folder(folder, target)
    sign(target, key)
    return target
