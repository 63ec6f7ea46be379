"""Runs MAX's graph compiler in a process of its own, within the time limit of a build."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from mojoaccel.engines.max.lowering import Parameter
from mojoaccel.errors import Diagnostic, MojoaccelError, SourceLoc, error
from mojoaccel.ir.text import print_traced
from mojoaccel.log import log_command
from mojoaccel.paths import cache_root
from mojoaccel.products import TracedModel


def identity() -> str:
    """Return ``MAX 26.7.0``.

    Raises:
        MojoaccelError: MA106, the package is not installed.
    """
    if importlib.util.find_spec("max") is None:
        raise error("MA106", "the max package is not installed")
    try:
        return f"MAX {metadata.version('max')}"
    except metadata.PackageNotFoundError as e:
        message = "a package called max is installed, but it is not Modular's"
        raise error("MA106", message) from e


def compile_graph(
    traced: TracedModel, folder: Path, timeout: float, *, check: bool = False
) -> tuple[Parameter, ...]:
    """Lower a prepared model and compile it to ``model.mef`` in `folder`.

    Args:
        traced: The model; its graph is MAX's to be.
        folder: Where the product and the log go.
        timeout: Seconds before the compiler is stopped.
        check: Lower it, but compile nothing.

    Returns:
        The weights that the compiled model takes.

    Raises:
        MojoaccelError: MA203 and MA302 (what MAX cannot express, all at once), MA501, MA502 or
            MA505.
    """
    identity()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.ir").write_text(print_traced(traced), encoding="utf-8")
    command = [sys.executable, "-m", "mojoaccel.engines.max.worker", str(folder)]
    command += ["check"] if check else []
    log_command(command)
    log = folder / "max.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment_of_max(),
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as e:
            message = f"MAX's compiler was stopped after {timeout:.0f} s"
            raise error("MA502", message, hint="raise --build-timeout") from e
        finally:  # also when this compile is interrupted
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    _raise_findings(folder)
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        code = "MA505" if process.returncode < 0 else "MA501"
        message = f"MAX's compiler ended with status {process.returncode}"
        raise error(code, message, notes=lines[-5:], hint="compile it with --engine mojo")
    if check:
        return ()
    taken = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
    return tuple(Parameter(w, None if a is None else tuple(a)) for _, w, a in taken)


def environment_of_max() -> dict[str, str]:
    """Return the environment of MAX's processes: what it caches lies in our cache."""
    own = {"MODULAR_CACHE_DIR": str(cache_root() / "max")}
    return {**own, **os.environ}


def _raise_findings(folder: Path) -> None:
    place = folder / "findings.json"
    if not place.exists():
        return
    found = json.loads(place.read_text(encoding="utf-8"))
    raise MojoaccelError(
        tuple(
            Diagnostic(code, message, "error", SourceLoc.from_json(loc), tuple(notes), hint)
            for code, message, loc, notes, hint in found
        )
    )
