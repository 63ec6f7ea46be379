"""One object for a model's whole way: compile, deploy, measure, and the health of the machine."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from mojoaccel.backends.commands import failure_text, run_json
from mojoaccel.backends.deployment import MaxBackend
from mojoaccel.backends.environment import ModularEnvironment
from mojoaccel.backends.models import is_artifact, is_reference, model_source, name_of
from mojoaccel.backends.mojo import MojoBackend, option_words, warn_once
from mojoaccel.backends.results import CompilationResult, DeploymentResult

MEGABYTE = 1 << 20


class ModularBackend:
    """Compiles, deploys and measures models by their ids.

    Attributes:
        env: The environment.
        mojo: Compiles.
        max: Deploys.
    """

    def __init__(self, env: ModularEnvironment | None = None) -> None:
        """Work in an environment, by default this one."""
        self.env = env or ModularEnvironment()
        self.mojo = MojoBackend(self.env)
        self.max = MaxBackend(self.env)

    async def initialize(self) -> bool:
        """Look at the machine; return whether models can be compiled natively."""
        return await self.max.initialize()

    async def compile_mojo(self, model_id: str, **kwargs: Any) -> CompilationResult:
        """Compile a model (see `MojoBackend.compile_model`).

        Args:
            model_id: A registered factory, a file or a Hugging Face folder.
            kwargs: ``output_path`` (``NAME.maccel`` in the working folder by default),
                ``optimization``, ``target_device``, options of the command.
        """
        output = kwargs.pop("output_path", f"{name_of(model_id)}.maccel")
        return await self.mojo.compile_model(model_id, output, **kwargs)

    async def deploy_max(self, model_id: str, **kwargs: Any) -> DeploymentResult:
        """Deploy a model (see `MaxBackend.deploy_model`).

        Args:
            model_id: A registered factory, a file, a Hugging Face folder or an artifact.
            kwargs: ``name`` (to serve it by), ``target_hardware``, options of the command.
        """
        name = kwargs.pop("name", name_of(model_id))
        return await self.max.deploy_model(model_id, name, **kwargs)

    async def benchmark_modular(
        self, model_id: str, workload_type: str = "inference", **kwargs: Any
    ) -> dict[str, Any]:
        """Measure a model against PyTorch, in turns, on the spot.

        Args:
            model_id: A registered factory, a file, a Hugging Face folder; or an artifact, with
                ``model`` the file it was compiled from.
            workload_type: ``inference``.
            kwargs: ``seconds``, ``threads``, ``model``, ``at`` (sizes, as ``"batch=8"``).

        Returns:
            ``throughput_tokens_per_sec`` (None where inputs are no tokens),
            ``throughput_items_per_sec``, ``latency_ms`` (p50, p95, p99; None where the runs are
            too few), ``memory_usage_mb``, ``energy_consumption_watts`` (None where no counter can
            be read), ``comparison_vs_baseline`` (speedup, memory_reduction), ``simulated`` and the
            whole ``report``.

        Raises:
            ValueError: An unknown workload.
            RuntimeError: The measurement failed.
        """
        if workload_type != "inference":
            raise ValueError(f"workload_type is {workload_type!r}; only 'inference' is measured")
        source = model_source(model_id)
        if is_reference(source) or not (is_artifact(source) or await self.env.look()):
            warn_once("no Mojo compiler: the benchmark measures PyTorch as PyTorch (simulated)")
            return await self._baseline_only(source, kwargs)
        words: list[object] = [source, "--vs", "eager"]
        if is_artifact(source) and "model" not in kwargs:
            words[-1] = "none"
        if self.env.mojo is not None:
            words += ["--mojo", self.env.mojo]
        for name, value in kwargs.items():
            words += option_words(name, value)
        report = await run_json("bench", *words)
        if not report.get("ok"):
            raise RuntimeError(failure_text(report))
        return figures(report)

    async def _baseline_only(self, source: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Measure PyTorch by itself, through the reference target."""
        from mojoaccel.backends.simulated import time_reference

        seconds = float(kwargs.get("seconds", 2.0))
        if is_reference(source):
            return await asyncio.to_thread(time_reference, source, seconds)
        with tempfile.TemporaryDirectory(prefix="mojoaccel-") as folder:
            place = Path(folder) / "model"
            made = await self.mojo.compile_model(source, place)
            if not made.success:
                raise RuntimeError(str(made.error_message))
            return await asyncio.to_thread(time_reference, str(made.compiled_path), seconds)

    async def get_hardware_info(self) -> dict[str, Any]:
        """Return what ``mojoaccel detect --json`` prints, and the devices."""
        found = await asyncio.to_thread(lambda: dict(self.env.inventory))
        return {**found, "devices": self.env.devices}

    async def health_check(self) -> dict[str, Any]:
        """Return the doctor's findings: overall status, and status and summary by component."""
        chosen = ["--mojo", self.env.mojo] if self.env.mojo is not None else []
        report = await run_json("doctor", *chosen)
        checks = {c["id"]: c for c in report.get("checks", [])}
        groups: dict[str, str] = {}
        worst = ("skip", "pass", "warn", "fail")
        for name, found in checks.items():
            group, status = name.split(".")[0], found["status"]
            groups[group] = max(groups.get(group, "skip"), status, key=worst.index)
        overall = max(groups.values(), default="skip", key=worst.index)
        return {"status": overall, "components": groups, "checks": checks}

    async def close(self) -> None:
        """Undeploy everything."""
        await self.max.close()


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Pick the figures out of a benchmark's report."""
    rows = {r["name"]: r for r in report["runners"]}
    mine, baseline = rows["mojoaccel"], rows.get("eager")
    summary, rate = mine["summary"], mine["throughput"] or {}
    seconds = summary["median_ms"] / 1e3
    joules = mine["joules"]
    comparison = None
    if baseline is not None and baseline["status"] == "ok":
        comparison = {
            "speedup": baseline["summary"]["median_ms"] / summary["median_ms"],
            "memory_reduction": 1 - mine["peak_memory"] / baseline["peak_memory"],
            "baseline": f"PyTorch {baseline['version']} eager",
        }
    return {
        "throughput_tokens_per_sec": rate.get("tokens_per_second"),
        "throughput_items_per_sec": rate.get("items_per_second"),
        "latency_ms": {p: summary[f"{p}_ms"] for p in ("p50", "p95", "p99")},
        "memory_usage_mb": mine["peak_memory"] / MEGABYTE,
        "energy_consumption_watts": None if joules is None else joules / seconds,
        "comparison_vs_baseline": comparison,
        "simulated": False,
        "report": report,
    }
