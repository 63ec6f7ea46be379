"""Checks of Python and its packages, from their metadata: torch is never imported."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, said, warned
from mojoaccel.paths import kernel_library
from mojoaccel.targets.gpu import read_gpus
from mojoaccel.toolchain.mojo import run

PYTHON = (3, 10)
TORCH = ((2, 13), (2, 14))
NUMPY = (1, 26)
IMPORT_SECONDS = 8.0
NUMPY_PROBE = "import numpy; print('1 + 1 =', int(numpy.ones(2).sum()), 'by', numpy.__file__)"
OPTIONAL = ("transformers", "safetensors", "tokenizers", "onnxruntime", "openvino")


def python(facts: Facts) -> Outcome:
    """Compare Python's version."""
    text = f"{platform.python_implementation()} {platform.python_version()}"
    wanted = f"{PYTHON[0]}.{PYTHON[1]}"
    if sys.version_info[:2] < PYTHON:
        return failed(
            f"{text} is too old",
            sys.executable,
            expected=f"Python {wanted} or newer",
            hint=f"use Python {wanted} or newer",
            fix="python3.12 -m venv .venv",
        )
    return passed(text, sys.executable)


def numpy(facts: Facts) -> Outcome:
    """Compare numpy's version, and import it where a crash does no harm."""
    outcome = _compared("numpy", NUMPY, None, failed)
    if outcome.status != "pass":
        return outcome
    answer = run([sys.executable, "-c", NUMPY_PROBE], dict(os.environ), timeout=IMPORT_SECONDS)
    if answer.returncode == 0:
        return passed(outcome.summary, said(answer))
    return failed(
        f"{outcome.summary} cannot be used",
        said(answer),
        expected="numpy imports and adds two numbers",
        hint="a mixture of two installations, or built for another Python (its binary interface)",
        fix="pip install --force-reinstall numpy",
    )


def torch(facts: Facts) -> Outcome:
    """Compare PyTorch's version; its graph format follows minor releases."""
    outcome = _compared("torch", TORCH[0], TORCH[1], warned)
    if outcome.status != "pass":
        return outcome
    cuda = _torch_cuda()
    if cuda and read_gpus().status in ("no-library", "no-device"):
        return warned(
            f"{outcome.summary} for CUDA {cuda}, and no NVIDIA GPU here",
            expected="a CPU build, which is gigabytes smaller",
            hint="PyTorch is only needed to compile; artifacts run without it",
            fix="pip install torch==2.13.0 from PyTorch's index of CPU wheels",
            reference="pytorch.org/get-started (Compute Platform: CPU)",
        )
    if cuda:
        return passed(f"{outcome.summary} for CUDA {cuda}")
    return passed(f"{outcome.summary}, CPU build")


def optional(facts: Facts) -> Outcome:
    """List packages that some inputs and comparisons use."""
    found = [f"{name} {version}" for name in OPTIONAL if (version := installed(name))]
    missing = [name for name in OPTIONAL if not installed(name)]
    summary = f"{len(found)} of {len(OPTIONAL)} optional packages"
    return passed(summary, *found, *(f"{name} is not installed" for name in missing))


def kernels(facts: Facts) -> Outcome:
    """Look for the Mojo sources that belong to the package."""
    sources = sorted((kernel_library() / "maccel").glob("*.mojo"))
    if not any(s.name == "__init__.mojo" for s in sources):
        return failed(
            "the kernel library is missing",
            str(kernel_library()),
            expected="the Mojo sources that belong to the package",
            hint="install mojoaccel again",
            fix="pip install --force-reinstall mojoaccel",
        )
    return passed(f"kernel library with {len(sources)} modules", str(kernel_library()))


def _compared(
    name: str, low: tuple[int, int], high: tuple[int, int] | None, bad: Callable[..., Outcome]
) -> Outcome:
    wanted = f"{name}>={low[0]}.{low[1]}" + (f",<{high[0]}.{high[1]}" if high else "")
    text = installed(name)
    if text is None:
        return bad(f"{name} is not installed", expected=wanted, fix=f'pip install "{wanted}"')
    match = re.match(r"(\d+)\.(\d+)", text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < low or (high is not None and version >= high):
        return bad(f"{name} {text} does not fit", expected=wanted, fix=f'pip install "{wanted}"')
    return passed(f"{name} {text}")


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, None if it is not there."""
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
    Check("python.python", "Python", python),
    Check("python.numpy", "numpy", numpy),
    Check("python.torch", "PyTorch", torch),
    Check("python.optional", "optional packages", optional),
    Check("python.kernels", "kernel library", kernels),
)
