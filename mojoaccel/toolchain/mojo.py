"""Finds Modular's compiler and runs it: never unidentified, never without a time limit."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mojoaccel.config import environment
from mojoaccel.errors import error
from mojoaccel.toolchain.identify import identify

SUPPORTED = "1.2.0"
"""The Mojo version that the emitted code and the kernels are written for."""

NOISE = ("Failed to initialize Crashpad",)
"""Lines that the compiler prints on every run of the wheel and that mean nothing."""


@dataclass(frozen=True, slots=True)
class MojoCompiler:
    """A usable compiler.

    Attributes:
        path: The ``mojo`` program.
        lld: The linker that comes with it.
        root: The SDK's root (the wheel's ``modular`` folder), or None for other installs.
        version: ``1.2.0``.
        commit: Short commit hash.
        origin: Where it was found: ``option``, ``environment`` or ``PATH``.
    """

    path: Path
    lld: Path
    root: Path | None
    version: str
    commit: str
    origin: str

    @property
    def identity(self) -> str:
        """Text that changes when the compiler does, for cache keys."""
        return f"mojo {self.version} ({self.commit})"

    def environment(self) -> dict[str, str]:
        """Return the environment the compiler runs in."""
        env = dict(os.environ)
        if self.root is not None:  # what the wheel's own entry point sets
            env.setdefault("MODULAR_MAX_PACKAGE_ROOT", str(self.root))
            env.setdefault("MODULAR_MOJO_MAX_PACKAGE_ROOT", str(self.root))
            env.setdefault("MODULAR_MOJO_MAX_DRIVER_PATH", str(self.path))
            env.setdefault("MODULAR_MOJO_MAX_IMPORT_PATH", str(self.root / "lib" / "mojo"))
        if not _home_usable(env):
            # The compiler hangs without a word when $HOME cannot be searched.
            from mojoaccel.paths import cache_root

            env["MODULAR_HOME"] = str(cache_root() / "modular")
        return env


def _home_usable(env: Mapping[str, str]) -> bool:
    home = env.get("HOME")
    if "MODULAR_HOME" in env:
        return True
    if not home:
        return False
    try:
        os.stat(os.path.join(home, ".modular"))
    except FileNotFoundError:
        return os.access(home, os.W_OK | os.X_OK)
    except OSError:
        return False
    return True


def candidates(chosen: str | None = None) -> Iterator[tuple[Path, str]]:
    """Yield every program that may be the compiler, the preferred one first."""
    wanted = chosen or environment("MOJOACCEL_MOJO")
    if wanted:
        yield Path(wanted), "option"
        return
    package = importlib.util.find_spec("modular")
    roots = list(package.submodule_search_locations or ()) if package else []
    for root in roots:
        program = Path(root) / "bin" / "mojo"
        if program.exists():
            yield program, "environment"
    for folder in (environment("PATH") or "").split(os.pathsep):
        program = Path(folder or ".") / "mojo"
        if os.path.lexists(program):
            yield program, "PATH"


def find_compiler(chosen: str | None = None) -> MojoCompiler:
    """Find the compiler.

    Args:
        chosen: A path given by the user; nothing else is tried then.

    Raises:
        MojoaccelError: MA101 none found, MA102 only other programs called mojo, MA103 a version
            that the emitted code does not fit.
    """
    others: list[str] = []
    for path, origin in candidates(chosen):
        found = identify(path)
        if found.kind != "modular":
            others.append(found.explanation)
            continue
        return probe(path, origin)
    if others:
        raise error("MA102", others[0], notes=others[1:])
    raise error("MA101", "no Mojo compiler was found")


def probe(path: Path, origin: str) -> MojoCompiler:
    """Ask an identified compiler for its version.

    Raises:
        MojoaccelError: MA101 it does not answer, MA103 its version does not fit.
    """
    program, root = _resolve(path)
    draft = MojoCompiler(program, _lld(program), root, "", "", origin)
    result = run([str(program), "--version"], draft.environment(), timeout=30.0)
    match = re.search(r"[Mm]ojo (\d[\w.]*) \(([0-9a-f]+)\)", result.stdout)
    if result.returncode != 0 or match is None:
        said = (result.stdout + result.stderr).strip().splitlines()[-1:] or ["nothing"]
        raise error("MA101", f"{program} --version failed and said: {said[0]}")
    if match[1] != SUPPORTED:
        raise error("MA103", f"{program} is Mojo {match[1]}; {SUPPORTED} is needed")
    return MojoCompiler(program, draft.lld, root, match[1], match[2], origin)


def _resolve(path: Path) -> tuple[Path, Path | None]:
    """Return the real compiler behind a Python entry point, and the SDK's root."""
    real = Path(os.path.realpath(path))
    if real.parent.name == "bin" and real.parent.parent.name == "modular":
        return real, real.parent.parent
    for site in real.parent.parent.glob("lib/python3*/site-packages/modular"):
        if (site / "bin" / "mojo").exists():
            return site / "bin" / "mojo", site
    return real, None


def _lld(program: Path) -> Path:
    return program.with_name("lld")


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished program.

    Attributes:
        command: As run.
        returncode: Exit status; None when the time limit stopped it.
        stdout: Standard output.
        stderr: Standard error without the compiler's noise.
    """

    command: tuple[str, ...]
    returncode: int | None
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    timeout: float,
    cwd: Path | None = None,
) -> Finished:
    """Run a program without standard input; stop its whole process group when time is up.

    Raises:
        KeyboardInterrupt: Passed on after the program was stopped.
    """
    process = subprocess.Popen(
        list(command),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _stop(process)
        out, err = process.communicate()
        return Finished(tuple(command), None, out, quiet(err))
    except BaseException:
        _stop(process)
        process.wait()
        raise
    return Finished(tuple(command), process.returncode, out, quiet(err))


def _stop(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def quiet(text: str) -> str:
    """Drop lines that mean nothing."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(NOISE))
