"""Finds Modular's compiler and runs it: never unidentified, never without a time limit."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mojoaccel.environment import environment
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.log import log, log_command
from mojoaccel.paths import cache_root
from mojoaccel.toolchain.identify import Identity, behind, has_library, identify

SUPPORTED = "1.2.0"
"""The Mojo version that the emitted code and the kernels are written for."""

VERSION_SECONDS = 30.0

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
        origin: Where it was found: ``option``, ``variable`` (MOJOACCEL_MOJO), ``environment``
            (this Python's) or ``PATH``.
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
        """Return the environment the compiler runs in.

        The wheel's entry point sets these variables too, but leaves those of the shell as they
        are; a compiler must not read another version's library, so here they are always its own.
        """
        env = dict(os.environ)
        if self.root is not None:
            env["MODULAR_MAX_PACKAGE_ROOT"] = str(self.root)
            env["MODULAR_MOJO_MAX_PACKAGE_ROOT"] = str(self.root)
            env["MODULAR_MOJO_MAX_DRIVER_PATH"] = str(self.path)
            env["MODULAR_MOJO_MAX_IMPORT_PATH"] = str(self.root / "lib" / "mojo")
        return env | replacement_folders(env)


def replacement_folders(env: Mapping[str, str]) -> dict[str, str]:
    """Return variables that replace the folders of the compiler that it cannot use.

    Mojo 1.2.0 hangs without a word when $HOME cannot be searched, fails when it is unset, and
    builds everything anew when $HOME/.modular, which it prefers, cannot be written.
    """
    if env.get("MODULAR_HOME"):
        return {}
    own = str(_own_folder())
    if not _searchable(env.get("HOME")):
        return {"MODULAR_HOME": own}
    preferred = os.path.join(env["HOME"], ".modular")
    shut = os.path.exists(preferred) and not os.access(preferred, os.W_OK | os.X_OK)
    return {"MODULAR_CACHE_DIR": own} if shut and not env.get("MODULAR_CACHE_DIR") else {}


def _own_folder() -> Path:
    """Return a folder for the compiler: in our cache, or, if that is shut too, among temporaries.

    A closed home closes the cache in it; the compiler would then hang all the same.
    """
    wanted = cache_root() / "modular"
    with contextlib.suppress(OSError):
        place = wanted
        while not os.path.lexists(place):
            place = place.parent
        if place.is_dir() and os.access(place, os.W_OK | os.X_OK) and _reachable(place):
            return wanted
    return Path(tempfile.gettempdir()) / f"mojoaccel-{os.getuid()}" / "modular"


def _reachable(place: Path) -> bool:
    """Say whether every folder above a place may be searched (lexists hides those that may not)."""
    return all(os.access(parent, os.X_OK) for parent in place.parents)


def _searchable(home: str | None) -> bool:
    """Say whether files can be looked up below a home folder."""
    if not home:
        return False
    try:
        os.stat(os.path.join(home, ".modular"))
    except FileNotFoundError:
        return os.path.isdir(home)
    except OSError:
        return False
    return True


def candidates(chosen: str | None = None) -> Iterator[tuple[Path, str]]:
    """Yield every program that may be the compiler, the preferred one first."""
    for wanted, origin in ((chosen, "option"), (environment("MOJOACCEL_MOJO"), "variable")):
        if wanted:
            yield Path(wanted).expanduser(), origin
            return
    package = importlib.util.find_spec("modular")
    roots = [Path(p) for p in package.submodule_search_locations or ()] if package else []
    for root in (*roots, Path(sys.prefix)):
        if os.path.exists(root / "bin" / "mojo"):
            yield root / "bin" / "mojo", "environment"
    for program in programs_on_path("mojo"):
        yield program, "PATH"


def programs_on_path(name: str) -> list[Path]:
    """Return the programs of a name on PATH, dangling links too, in order and each once."""
    folders = [f for f in environment("PATH").split(os.pathsep) if f]
    programs = [Path(folder) / name for folder in dict.fromkeys(folders)]
    return [p for p in programs if os.path.lexists(p) and not os.path.isdir(p)]


def find_compiler(chosen: str | None = None, seconds: float | None = None) -> MojoCompiler:
    """Find the compiler.

    Args:
        chosen: A path given by the user; nothing else is tried then.
        seconds: How long it may take to tell its version; `VERSION_SECONDS` if None.

    Raises:
        MojoaccelError: MA101 none found, MA102 only other programs called mojo, MA103 a version
            that the emitted code does not fit.
    """
    others: list[Identity] = []
    for path, origin in candidates(chosen):
        found = identify(path)
        if found.kind == "modular":
            compiler = probe(path, origin, seconds)
            log.info("found %s at %s (%s)", compiler.identity, compiler.path, origin)
            return compiler
        others.append(found)
    texts = list(dict.fromkeys(o.explanation for o in others))
    if any(o.kind != "broken" for o in others):
        raise error("MA102", texts[0], notes=texts[1:])
    raise error("MA101", texts[0] if texts else "no Mojo compiler was found", notes=texts[1:])


def probe(path: Path, origin: str, seconds: float | None = None) -> MojoCompiler:
    """Ask an identified compiler for its version.

    Raises:
        MojoaccelError: MA101 it does not answer or lacks its linker, MA103 its version does not
            fit.
    """
    program, root = _resolve(path)
    draft = MojoCompiler(program, _lld(program), root, "", "", origin)
    result, match = _ask(draft, VERSION_SECONDS if seconds is None else seconds)
    if result.returncode != 0 or match is None:
        said = (result.stdout + result.stderr).strip().splitlines()[-1:] or ["nothing"]
        how = "did not end" if result.returncode is None else "failed"
        raise error("MA101", f"{program} --version {how} and said: {said[0]}")
    if match[1] != SUPPORTED:
        raise error("MA103", f"{program} is Mojo {match[1]}; {SUPPORTED} is needed")
    if not os.path.isfile(draft.lld):
        raise error("MA101", f"{program} has no linker beside it: {draft.lld} is missing")
    return MojoCompiler(program, draft.lld, root, match[1], match[2], origin)


def effective_target(compiler: MojoCompiler, timeout: float = 5.0) -> dict[str, str | None]:
    """Return the compiler's own idea of this machine: triple, CPU and features, None if silent."""
    command = [str(compiler.path), "build", "--print-effective-target"]
    said = run(command, compiler.environment(), timeout=timeout).stdout
    found = dict(re.findall(r"--target-(triple|cpu|features) (\S+)", said))
    return {name: found.get(name) for name in ("triple", "cpu", "features")}


def probe_version(path: Path, timeout: float = 5.0) -> tuple[str | None, str | None]:
    """Return version and commit that an identified compiler tells, None where it does not."""
    program, root = _resolve(path)
    draft = MojoCompiler(program, _lld(program), root, "", "", "PATH")
    with contextlib.suppress(MojoaccelError):
        _, match = _ask(draft, timeout)
        if match is not None:
            return match[1], match[2]
    return None, None


def _ask(draft: MojoCompiler, timeout: float) -> tuple[Finished, re.Match[str] | None]:
    result = run([str(draft.path), "--version"], draft.environment(), timeout=timeout)
    return result, re.search(r"[Mm]ojo (\d[\w.]*) \(([0-9a-f]+)\)", result.stdout)


def _resolve(path: Path) -> tuple[Path, Path | None]:
    """Return the real compiler behind a Python entry point, and the SDK's root.

    A wheel's root is ``site-packages/modular``, a conda environment's the environment.
    """
    real = behind(path)
    places = [real, *real.parent.parent.glob("lib/python3*/*-packages/modular/bin/mojo")]
    for program in places:
        if has_library(program):
            return program, program.parent.parent
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
        MojoaccelError: MA101, the program cannot be started.
        KeyboardInterrupt: Passed on, as any exception, after the program was stopped.
    """
    log_command(command)
    try:
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
    except OSError as e:
        raise error("MA101", f"{command[0]} cannot be started: {e.strerror}") from e
    _running.add(process)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _stop(process)
        out, err = _rest(process)
        return Finished(tuple(command), None, out, quiet(err))
    except BaseException:
        _stop(process)
        process.wait()
        raise
    finally:
        _running.discard(process)
    return Finished(tuple(command), process.returncode, out, quiet(err))


_running: set[subprocess.Popen[str]] = set()


def stop_running() -> None:
    """Stop every program that another thread still waits for in `run`."""
    for process in list(_running):
        _stop(process)


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what a stopped program still said.

    A descendant that left the process group may hold the pipes open; it is not waited for.
    """
    try:
        return process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired as e:
        return _text(e.stdout), _text(e.stderr)


def _text(data: bytes | str | None) -> str:
    return data.decode(errors="replace") if isinstance(data, bytes) else data or ""


def _stop(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def quiet(text: str) -> str:
    """Drop lines that mean nothing."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(NOISE))
