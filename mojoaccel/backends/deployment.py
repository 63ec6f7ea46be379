"""Deploying from Python: a live server for each model."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mojoaccel.backends import client
from mojoaccel.backends.commands import failure_text, start, stop
from mojoaccel.backends.environment import ModularEnvironment
from mojoaccel.backends.models import is_artifact, is_reference, model_source
from mojoaccel.backends.mojo import MojoBackend, option_words, refuse_device
from mojoaccel.backends.results import CompilationResult, DeploymentResult


@dataclass
class Deployment:
    """A model that answers.

    Attributes:
        result: What was told about it.
        process: Its server; None where a session of this process answers.
        session: That session.
    """

    result: DeploymentResult
    process: asyncio.subprocess.Process | None = None
    session: Any = None


class MaxBackend:
    """Serves models at endpoints of their own.

    Attributes:
        env: The environment.
        engine: What compiles and runs models: ``max``, or ``mojo``.
    """

    def __init__(self, env: ModularEnvironment | None = None, engine: str | None = None) -> None:
        """Deploy in an environment, by default this one.

        Args:
            env: The environment.
            engine: ``max`` | ``mojo``; MAX where its package is installed if None, else Mojo.
        """
        self.env = env or ModularEnvironment()
        self.engine = engine
        self.deployments: dict[str, Deployment] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def initialize(self) -> bool:
        """Look at the machine, choose the engine; return whether models can be compiled."""
        return await asyncio.to_thread(self._choose_engine)

    def _choose_engine(self) -> bool:
        found = self.env.max_available
        if self.engine is None:
            self.engine = "max" if found and self.env.mojo_available else "mojo"
        return found if self.engine == "max" else self.env.mojo_available

    async def deploy_model(
        self,
        model_path: str | Path,
        model_id: str,
        target_hardware: str = "cpu",
        **options: object,
    ) -> DeploymentResult:
        """Compile a model if need be, and start a server for it on a free port of this machine.

        Args:
            model_path: An artifact, or anything `MojoBackend.compile_model` takes.
            model_id: Name to serve it by.
            target_hardware: ``cpu`` or ``auto``.
            options: Further options of ``mojoaccel deploy`` by name, such as ``threads=2``.
        """
        if model_id in self.deployments:
            message = f"{model_id} is deployed already"
            return DeploymentResult(False, model_id=model_id, error_message=message)
        refused = refuse_device(target_hardware)
        if refused:
            return DeploymentResult(False, model_id=model_id, error_message=refused)
        made = await self._artifact(model_path, target_hardware)
        if not made.success:
            return DeploymentResult(False, model_id=model_id, error_message=made.error_message)
        place = str(made.compiled_path)
        if made.simulated:
            return await self._simulate(place, model_id)
        words = [w for n, v in options.items() for w in option_words(n, v)]
        return await self._serve(place, model_id, words)

    async def _artifact(self, model_path: str | Path, target: str) -> CompilationResult:
        source = model_source(str(model_path))
        if is_artifact(source):
            return CompilationResult(True, source, simulated=is_reference(source))
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mojoaccel-deployed-")
        place = Path(tempfile.mkdtemp(dir=self._folder.name)) / "model.maccel"
        await self.initialize()
        chosen = {"engine": "max"} if self.engine == "max" else {}
        compiler = MojoBackend(self.env)
        return await compiler.compile_model(source, place, target_device=target, **chosen)

    async def _simulate(self, place: str, model_id: str) -> DeploymentResult:
        from mojoaccel.loading import load

        session = await asyncio.to_thread(load, place)
        result = DeploymentResult(True, None, model_id, "cpu", {"pid": None}, simulated=True)
        self.deployments[model_id] = Deployment(result, session=session)
        return result

    async def _serve(self, place: str, model_id: str, words: list[str]) -> DeploymentResult:
        ports = ("--port", 0, "--grpc-port", -1)
        line = ("deploy", place, "--name", model_id, *ports, "--json", *words)
        process, log_end = await start(*line)
        assert process.stdout is not None
        try:
            told = await process.stdout.readline()
            document = await _document(told, process)
        except asyncio.CancelledError:
            await stop(process)
            log_end.cancel()
            raise
        if not document.get("ok"):
            await stop(process)
            message = failure_text(document)
            return DeploymentResult(False, model_id=model_id, error_message=message)
        resources = {**resources_of(process.pid), "engine": engine_of(place)}
        result = DeploymentResult(True, document["url"], model_id, "cpu", resources)
        self.deployments[model_id] = Deployment(result, process)
        return result

    async def infer(self, model_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a deployed model.

        Args:
            model_id: Its name.
            inputs: Arrays by input name.

        Returns:
            Arrays by output name.

        Raises:
            KeyError: No such model is deployed.
            ServerRefused: The inputs do not fit.
        """
        found = self.deployments[model_id]
        if found.session is not None:
            session = found.session
            values = [inputs[t.name] for t in session.manifest.inputs]
            results = await asyncio.to_thread(session.run_flat, values)
            return {t.name: r for t, r in zip(session.manifest.outputs, results, strict=True)}
        url = found.result.endpoint_url
        assert url is not None
        return await asyncio.to_thread(client.infer, url, model_id, inputs)

    async def undeploy(self, model_id: str) -> bool:
        """Stop a model's server; False if there is none."""
        found = self.deployments.pop(model_id, None)
        if found is None:
            return False
        if found.session is not None:
            found.session.close()
        if found.process is not None:
            found.process.terminate()
            try:
                await asyncio.wait_for(found.process.wait(), 35)
            except asyncio.TimeoutError:
                await stop(found.process)
        return True

    async def list_models(self) -> list[dict[str, Any]]:
        """Return id, endpoint and present resources of every deployed model."""
        return [
            {
                "model_id": name,
                "endpoint_url": d.result.endpoint_url,
                "simulated": d.result.simulated,
                "alive": d.process is None or d.process.returncode is None,
                "allocated_resources": resources_of(d.process.pid) if d.process else {"pid": None},
            }
            for name, d in self.deployments.items()
        ]

    async def close(self) -> None:
        """Undeploy everything, and remove what was compiled for it."""
        for name in list(self.deployments):
            await self.undeploy(name)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


async def _document(told: bytes, process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Read the server's first line, or the whole of a failure."""
    assert process.stdout is not None
    text = told
    while True:
        try:
            return dict(json.loads(text))
        except json.JSONDecodeError:
            more = await process.stdout.readline()
            if not more:
                return {"diagnostics": [{"code": "MA999", "message": "the server ended"}]}
            text += more


def engine_of(place: str) -> str | None:
    """Return the engine that runs an artifact; None for an archive, which is not opened here."""
    try:
        manifest = json.loads((Path(place) / "manifest.json").read_text(encoding="utf-8"))
    except OSError:
        return None
    return str(manifest.get("engine", "mojo"))


def resources_of(pid: int) -> dict[str, Any]:
    """Return threads and memory (MB) of a process and its children; None if unknown."""
    found: dict[str, Any] = {"pid": pid, "threads": None, "memory_mb": None}
    for one in family_of(pid):
        try:
            text = Path(f"/proc/{one}/status").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            continue
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key == "Threads":
                found["threads"] = (found["threads"] or 0) + int(value)
            elif key == "VmRSS":
                found["memory_mb"] = (found["memory_mb"] or 0) + int(value.split()[0]) / 1024
    return found


def family_of(pid: int) -> list[int]:
    """Return a process and all that it started: MAX's sessions are processes of their own."""
    try:
        lists = [p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return [pid]
    return [pid, *(f for text in lists for child in text.split() for f in family_of(int(child)))]
