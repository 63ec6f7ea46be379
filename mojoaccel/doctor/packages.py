"""Checks of Python and its packages, from their metadata: torch is never imported."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, warned
from mojoaccel.paths import kernel_library

PYTHON = (3, 10)
TORCH = ((2, 13), (2, 14))
NUMPY = (1, 26)
OPTIONAL = ("transformers", "safetensors", "tokenizers", "onnxruntime", "openvino")


def python(facts: Facts) -> Outcome:
    """Compare Python's version."""
    text = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] < PYTHON:
        return failed(f"{text} is too old", hint=f"use Python {PYTHON[0]}.{PYTHON[1]} or newer")
    return passed(text, sys.executable)


def numpy(facts: Facts) -> Outcome:
    """Compare numpy's version."""
    return _compared("numpy", NUMPY, None, failed)


def torch(facts: Facts) -> Outcome:
    """Compare PyTorch's version; its graph format follows minor releases."""
    outcome = _compared("torch", TORCH[0], TORCH[1], warned)
    if outcome.status != "pass":
        return outcome
    cuda = _torch_cuda()
    if cuda:
        return passed(f"{outcome.summary} for CUDA {cuda}; a CPU build is enough and smaller")
    return passed(f"{outcome.summary}, CPU build")


def optional(facts: Facts) -> Outcome:
    """List packages that some inputs and comparisons use."""
    found = [f"{name} {version}" for name in OPTIONAL if (version := _version(name))]
    missing = [name for name in OPTIONAL if not _version(name)]
    summary = f"{len(found)} of {len(OPTIONAL)} optional packages"
    return passed(summary, *found, *(f"{name} is not installed" for name in missing))


def kernels(facts: Facts) -> Outcome:
    """Look for the Mojo sources that belong to the package."""
    sources = sorted((kernel_library() / "maccel").glob("*.mojo"))
    if not any(s.name == "__init__.mojo" for s in sources):
        hint = "install mojoaccel again"
        return failed("the kernel library is missing", str(kernel_library()), hint=hint)
    return passed(f"kernel library with {len(sources)} modules", str(kernel_library()))


def _compared(
    name: str, low: tuple[int, int], high: tuple[int, int] | None, bad: Callable[..., Outcome]
) -> Outcome:
    wanted = f"{name}>={low[0]}.{low[1]}" + (f",<{high[0]}.{high[1]}" if high else "")
    text = _version(name)
    if text is None:
        return bad(f"{name} is not installed", hint=f'pip install "{wanted}"')
    match = re.match(r"(\d+)\.(\d+)", text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < low or (high is not None and version >= high):
        return bad(f"{name} {text} does not fit", hint=f'pip install "{wanted}"')
    return passed(f"{name} {text}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_cuda() -> str | None:
    """Return the CUDA version torch was built for, read from its version.py."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^cuda\b[^=]*=\s*'([^']+)'", text, re.MULTILINE)
    return match[1] if match else None


CHECKS = (
    Check("packages.python", "Python", python),
    Check("packages.numpy", "numpy", numpy),
    Check("packages.torch", "PyTorch", torch),
    Check("packages.optional", "optional packages", optional),
    Check("packages.kernels", "kernel library", kernels),
)
