"""What ``mojoaccel detect`` reports: processor, memory, GPUs, toolchain, target, warnings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mojoaccel.errors import MojoaccelError
from mojoaccel.log import log
from mojoaccel.products import Target
from mojoaccel.targets.cpu import describe_cpu, describe_memory
from mojoaccel.targets.features import feature_table
from mojoaccel.targets.gpu import LEAST_DRIVER, GpuReport, read_gpus
from mojoaccel.targets.gpu_other import describe_others
from mojoaccel.targets.probe import detect, probe
from mojoaccel.toolchain.inventory import ANSWER_SECONDS, describe_toolchain
from mojoaccel.toolchain.mojo import effective_target, find_compiler


def take_inventory(target: str = "cpu", mojo: str | None = None) -> dict[str, Any]:
    """Return the document of `detect` (its schema is ``schemas/detect.json``).

    Args:
        target: Target string to describe.
        mojo: A compiler given by the user.

    Raises:
        MojoaccelError: MA104, `target` names no target. That this machine cannot be one is
            reported, not raised.
    """
    machine = probe()
    found, problem = None, None
    try:
        found = detect(target)
    except MojoaccelError as e:
        if target != "cpu":
            raise
        problem = e.diagnostics[0].message
    log.info("target %s", found or problem)
    theirs = _compiler_target(mojo)
    cpu = describe_cpu(machine)
    nvidia = read_gpus()
    return {
        "target": None if found is None else asdict(found),
        "string": None if found is None else str(found),
        "problem": problem,
        "compiler_target": theirs,
        "cpu": cpu,
        "memory": describe_memory(machine),
        "gpus": {"nvidia": _nvidia(nvidia), **describe_others()},
        "toolchain": describe_toolchain(mojo),
        "warnings": [
            *(_misjudged(found, theirs) if found is not None and target == "cpu" else ()),
            *cpu["disagreements"],
        ],
    }


def _compiler_target(mojo: str | None) -> dict[str, str | None] | None:
    try:
        return effective_target(find_compiler(mojo, ANSWER_SECONDS))
    except MojoaccelError:
        return None


def _misjudged(found: Target, theirs: dict[str, str | None] | None) -> list[str]:
    """Say where the compiler's own idea of this machine would cost speed or crash."""
    if theirs is None or not theirs["features"]:
        return []
    said = {f[1:] for f in theirs["features"].split(",") if f.startswith("+")}
    table = feature_table(found.arch)
    ours = {table[flag] for flag in found.required_features}
    assumed = sorted((said & set(table.values())) - ours)
    missed = sorted(ours - said)
    cpu = theirs["cpu"]
    warnings = []
    if assumed:
        warnings.append(f"the compiler would use {', '.join(assumed)}, which may not be used here")
    if missed:
        warnings.append(f"the compiler would not use {', '.join(missed)}, which are here")
    known = f"it takes this processor for {cpu}; mojoaccel passes its own target"
    return [f"{warning} ({known})" for warning in warnings]


def _nvidia(report: GpuReport) -> dict[str, Any]:
    release = (report.driver or "").split(".")[0]
    return {
        "status": report.status,
        "explanation": report.explanation,
        "driver": report.driver,
        "driver_sufficient": int(release) >= LEAST_DRIVER if release.isdecimal() else None,
        "cuda": report.cuda,
        "on_bus": list(report.on_bus),
        "unreadable": list(report.unreadable),
        "devices": [{**asdict(g), "supported": g.supported} for g in report.gpus],
    }
