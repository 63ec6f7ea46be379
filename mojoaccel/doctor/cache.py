"""Checks of folders: home, our cache, the compiler's cache, temporary files."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

from mojoaccel.cache import open_cache
from mojoaccel.doctor.check import Check, Facts, Outcome, Repair, failed, passed, said, warned
from mojoaccel.environment import environment
from mojoaccel.paths import cache_root, set_user_cache, user_cache_file
from mojoaccel.toolchain.mojo import replacement_folders, run

ASK_SECONDS = 4.0
LEAST = 64 << 20
"""Bytes of free space without which even a small model cannot be built."""

WALKED, SHOWN = 2000, 3
"""Folders of the compiler's cache that are looked at, and bad ones that are shown."""

ROOM = 1 << 30
"""Bytes of free space below which a large model may not fit."""


def home(facts: Facts) -> Outcome:
    """Look for a home folder that would make the compiler hang or rebuild everything."""
    replaced = replacement_folders(os.environ)
    name = environment("HOME")
    if "MODULAR_HOME" not in replaced:  # a shut ~/.modular is for mojo.home to tell
        return passed("the home folder is usable", environment("MODULAR_HOME") or name)
    return warned(
        "the compiler cannot use the home folder, so mojoaccel gives it another one",
        f"HOME={name or '(unset)'}",
        *(f"{variable}={value}" for variable, value in replaced.items()),
        expected="HOME is set, and everything below it may be looked up",
        hint="by itself Mojo 1.2.0 hangs or fails here; set HOME to a folder that you can search",
        fix="export HOME=$(getent passwd $(id -u) | cut -d: -f6)",
        reference="HomericIntelligence/Odyssey#5217",
    )


def cache(facts: Facts) -> Outcome:
    """Write into mojoaccel's cache."""
    root = cache_root()
    problem = _write_problem(root)
    if problem:
        place = Path(tempfile.gettempdir()) / f"mojoaccel-{os.getuid()}"
        return warned(
            "the cache cannot be written; every compile starts anew",
            problem,
            expected="a folder that this user may write",
            hint="set MOJOACCEL_CACHE_DIR to a writable folder",
            fix=f"export MOJOACCEL_CACHE_DIR={place}",
            reference="MA902",
            repair=Repair(
                f"write cache folder {place} into {user_cache_file()}",
                lambda: set_user_cache(place),
                asks=outside_home(user_cache_file()),
            ),
        )
    return _judged(root, "the cache is writable")


def compiler_cache(facts: Facts) -> Outcome:
    """Write into the folder where the compiler keeps what it compiled."""
    compiler = facts.compiler
    command = [str(compiler.path), "--print-cache-location"]
    done = run(command, compiler.environment(), timeout=ASK_SECONDS)
    place = done.stdout.strip()
    if done.returncode != 0 or not place:
        return warned("the compiler has no cache", said(done), **_unwritable("MODULAR_CACHE_DIR"))
    problem = _write_problem(Path(place))
    if problem:
        return warned(
            "the compiler's cache cannot be written; builds are slower",
            problem,
            **_unwritable("MODULAR_CACHE_DIR"),
        )
    shut = shut_folders(Path(place))
    if shut:
        return warned(
            "parts of the compiler's cache cannot be written; builds are slower",
            *map(str, shut),
            expected="every folder in it writable by this user",
            hint="somebody else, often root, once compiled with this home",
            fix=f"sudo chown -R $(id -u) {place}",
        )
    return passed("the compiler's cache is writable", place)


def shut_folders(root: Path) -> list[Path]:
    """Return a few folders below one that this user may not write, among the first ones."""
    shut: list[Path] = []
    pending, seen = [root], 0
    while pending and seen < WALKED and len(shut) < SHOWN:
        folder = pending.pop(0)
        seen += 1
        if not os.access(folder, os.W_OK | os.X_OK):
            shut.append(folder)
            continue
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            pending += [Path(e) for e in entries if e.is_dir(follow_symlinks=False)]
    return shut


def temporary(facts: Facts) -> Outcome:
    """Write temporary files, and see whether libraries may be loaded from there."""
    chosen = environment("TMPDIR")
    if chosen and (problem := _passed_over(Path(chosen))):
        return warned(
            "TMPDIR cannot be used",
            problem,
            f"Python's files go to {tempfile.gettempdir()} instead",
            expected="a writable folder with room, or unset",
            hint="`mojo build` says: unable to write temporary files for linking",
            fix=f"mkdir -p {chosen}" if can_be_made(Path(chosen)) else "unset TMPDIR",
            repair=_make_folder(Path(chosen)) if can_be_made(Path(chosen)) else None,
        )
    root = Path(tempfile.gettempdir())
    problem = _write_problem(root)
    if problem:
        return failed("temporary files cannot be written", problem, **_unwritable("TMPDIR"))
    outcome = _judged(root, "temporary files can be written and loaded")
    if outcome.status == "pass":
        return outcome
    # Models are built and verified here: without code from here, or without room, nothing works.
    noexec = os.statvfs(root).f_flag & os.ST_NOEXEC
    status = "fail" if noexec or shutil.disk_usage(root).free < LEAST else "warn"
    more = _unwritable("TMPDIR")
    return replace(
        outcome,
        status=status,
        repair=None,
        expected=more["expected"],
        hint=more["hint"],
        fix=more["fix"],
    )


def _unwritable(variable: str) -> dict[str, str]:
    return {
        "expected": "a writable folder with a gigabyte of room, not mounted noexec",
        "hint": f"set {variable} to one",
        "fix": f"mkdir -p $HOME/tmp; export {variable}=$HOME/tmp",
    }


def _judged(folder: Path, summary: str) -> Outcome:
    """Look at a writable folder's file system: may code be loaded from it, is there room."""
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return warned(
            f"libraries cannot be loaded from {folder} (mounted noexec)",
            expected="a file system without noexec",
            hint="set TMPDIR and MOJOACCEL_CACHE_DIR to folders on another one",
            fix="export TMPDIR=$HOME/tmp MOJOACCEL_CACHE_DIR=$HOME/.cache/mojoaccel",
        )
    free = shutil.disk_usage(folder).free
    evidence = (str(folder), f"{free / 1e9:.1f} GB free")
    if free < ROOM:
        return warned(
            "little space is left",
            *evidence,
            expected="1 GB",
            fix="mojoaccel cache clear",
            repair=Repair(
                f"empty mojoaccel's own cache in {cache_root()}",
                clear_cache,
                asks=outside_home(cache_root()),
            ),
        )
    return passed(summary, *evidence)


def _passed_over(chosen: Path) -> str:
    """Return why Python does not use the folder of TMPDIR; programs it starts still do."""
    try:
        if not stat.S_ISDIR(chosen.stat().st_mode):
            return f"{chosen}: not a folder"
    except OSError as e:
        return f"{chosen}: {e.strerror}"
    return _write_problem(chosen)


def can_be_made(folder: Path) -> bool:
    """Say whether this user may make a folder that is not there."""
    if os.path.lexists(folder):
        return False
    above = next(p for p in folder.absolute().parents if os.path.lexists(p))
    return os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)


def _make_folder(place: Path) -> Repair:
    return Repair(
        f"make the folder {place}", lambda: place.mkdir(parents=True), asks=outside_home(place)
    )


def outside_home(place: Path) -> bool:
    """Say whether a place is not below the user's home: `--fix` asks before it touches that."""
    home = environment("HOME")
    return not (home and place.absolute().is_relative_to(home))


def clear_cache() -> None:
    """Remove every product of earlier compiles."""
    open_cache(0, lambda found: None).clear()


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
    Check("cache.home", "home folder", home),
    Check("cache.own", "mojoaccel's cache", cache),
    Check("cache.compiler", "compiler's cache", compiler_cache, ("mojo.found",)),
    Check("cache.temporary", "temporary files", temporary),
)
