"""Compiling from Python, without blocking."""

from __future__ import annotations

import warnings
from pathlib import Path

from mojoaccel.backends.commands import failure_text, run_json
from mojoaccel.backends.environment import ModularEnvironment
from mojoaccel.backends.models import model_source
from mojoaccel.backends.results import CompilationResult

_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Warn of something the first time only."""
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, stacklevel=3)


class MojoBackend:
    """Compiles models into native artifacts."""

    def __init__(self, env: ModularEnvironment | None = None) -> None:
        """Compile in an environment, by default this one."""
        self.env = env or ModularEnvironment()

    async def compile_model(
        self,
        model_path: str | Path,
        output_path: str | Path,
        optimization: str = "O2",
        target_device: str = "cpu",
        **options: object,
    ) -> CompilationResult:
        """Compile a model in a process of its own; cancelling stops the compiler.

        Without a Mojo compiler the model is traced for the reference target instead, which
        PyTorch interprets: the result says ``simulated``, and a warning is given once.

        Args:
            model_path: A registered id, ``file.py:factory``, a ``.pt2`` or ``.onnx`` file, or a
                Hugging Face folder.
            output_path: Where the artifact goes.
            optimization: ``O0`` to ``O3``.
            target_device: ``cpu``, ``gpu`` (nothing is compiled for GPUs yet) or ``auto``.
            options: Further options of ``mojoaccel compile`` by name, such as ``dtype="bf16"``.
        """
        refused = refuse_device(target_device)
        if refused:
            return CompilationResult(False, error_message=refused)
        simulated = not await self.env.look()
        args = [model_source(str(model_path)), "-o", str(output_path), f"-{optimization}"]
        if simulated:
            problem = self.env.inventory["toolchain"]["mojo"]["problem"]
            warn_once(f"no Mojo compiler ({problem}): PyTorch computes the answers (simulated)")
            args += ["--target", "reference"]
        elif self.env.mojo is not None:
            args += ["--mojo", self.env.mojo]
        for name, value in options.items():
            args += option_words(name, value)
        document = await run_json("compile", *args)
        if not document.get("ok"):
            message = failure_text(document)
            return CompilationResult(False, error_message=message, metadata=document)
        return CompilationResult(
            success=True,
            compiled_path=document["output"],
            compilation_time=sum(s["seconds"] for s in document["stages"]),
            optimizations_applied=dict(document.get("passes", [])),
            metadata=document,
            simulated=bool(document["simulated"]),
        )


def refuse_device(device: str) -> str:
    """Return why nothing can be compiled or served for a device; empty if it can."""
    if device not in ("cpu", "gpu", "auto"):
        return f"unknown device {device!r}"
    if device == "gpu":
        return "nothing is compiled for GPUs yet; use 'cpu' or 'auto'"
    return ""


def option_words(name: str, value: object) -> list[str]:
    """Return a keyword argument as words of the command line."""
    option = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [word for v in values for word in (option, str(v))]
