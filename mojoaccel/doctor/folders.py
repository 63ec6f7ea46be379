"""Checks of folders: home, our cache, the compiler's cache, temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mojoaccel.config import environment
from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, warned
from mojoaccel.paths import cache_root
from mojoaccel.toolchain.mojo import VERSION_SECONDS, replacement_folders, run

ROOM = 1 << 30
"""Bytes of free space below which a large model may not fit."""


def home(facts: Facts) -> Outcome:
    """Look for a home folder that would make the compiler hang or rebuild everything."""
    replaced = replacement_folders(os.environ)
    name = environment("HOME")
    if not replaced:
        return passed("the home folder is usable", environment("MODULAR_HOME") or name)
    return warned(
        "the compiler cannot use the home folder, so mojoaccel gives it another one",
        f"HOME={name or '(unset)'}",
        *(f"{variable}={value}" for variable, value in replaced.items()),
        hint="set HOME to a folder that you can search, or ~/.modular to your own",
    )


def cache(facts: Facts) -> Outcome:
    """Write into mojoaccel's cache."""
    root = cache_root()
    problem = _write_problem(root)
    if problem:
        hint = "set MOJOACCEL_CACHE_DIR to a writable folder"
        return warned("the cache cannot be written; every compile starts anew", problem, hint=hint)
    return _with_room(root, "the cache is writable")


def compiler_cache(facts: Facts) -> Outcome:
    """Write into the folder where the compiler keeps what it compiled."""
    compiler = facts.compiler
    command = [str(compiler.path), "--print-cache-location"]
    done = run(command, compiler.environment(), timeout=VERSION_SECONDS)
    place = done.stdout.strip()
    if done.returncode != 0 or not place:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        hint = "set MODULAR_CACHE_DIR to a writable folder"
        return warned("the compiler has no cache", *said, hint=hint)
    problem = _write_problem(Path(place))
    if problem:
        hint = "set MODULAR_CACHE_DIR to a writable folder"
        return warned(
            "the compiler's cache cannot be written; builds are slower", problem, hint=hint
        )
    return passed("the compiler's cache is writable", place)


def temporary(facts: Facts) -> Outcome:
    """Write temporary files, and see whether libraries may be loaded from there."""
    root = Path(tempfile.gettempdir())
    problem = _write_problem(root)
    if problem:
        return failed("temporary files cannot be written", problem, hint="set TMPDIR")
    if os.statvfs(root).f_flag & os.ST_NOEXEC:
        return warned(
            "libraries cannot be loaded from the folder for temporary files (mounted noexec)",
            str(root),
            hint="set TMPDIR to a folder on another file system",
        )
    return _with_room(root, "temporary files can be written and loaded")


def _with_room(folder: Path, summary: str) -> Outcome:
    free = shutil.disk_usage(folder).free
    evidence = (str(folder), f"{free / 1e9:.1f} GB free")
    if free < ROOM:
        return warned("little space is left", *evidence, hint="mojoaccel cache clear")
    return passed(summary, *evidence)


def _write_problem(folder: Path) -> str:
    """Return why no file can be made in a folder, empty if one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="doctor-") as file:
            file.write(b"0" * 4096)
            file.flush()
    except OSError as e:
        return f"{folder}: {e.strerror}"
    return ""


CHECKS = (
    Check("folders.home", "home folder", home),
    Check("folders.cache", "mojoaccel's cache", cache),
    Check("folders.compiler-cache", "compiler's cache", compiler_cache, ("compiler.found",)),
    Check("folders.temporary", "temporary files", temporary),
)
