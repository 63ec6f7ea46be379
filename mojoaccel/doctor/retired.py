"""Checks for what Modular's former installers left behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, Repair, passed, skipped, warned
from mojoaccel.environment import environment
from mojoaccel.toolchain.mojo import programs_on_path

REFERENCE = "modular/modular#4990: pixi, uv, pip and conda replaced them"
APT_SOURCES = Path("/etc/apt/sources.list.d")


def installers(facts: Facts) -> Outcome:
    """Look for the `modular` and `magic` command lines and their packages."""
    remains = [
        f"{p} (a former installer)" for n in ("modular", "magic") for p in programs_on_path(n)
    ]
    home = environment("HOME")
    if home and _is_dir(Path(home) / ".modular" / "pkg"):
        remains.append(f"{home}/.modular/pkg (packages of the former installer)")
    if environment("MODULAR_AUTH"):
        remains.append("MODULAR_AUTH is set (the former installer's key)")
    with contextlib.suppress(OSError):  # the folder may be closed
        remains += [f"{p} (its package source)" for p in sorted(APT_SOURCES.glob("modular*"))]
    if not remains:
        return passed("no remains of former installers")
    return warned(
        "remains of Modular's former installers",
        *remains,
        expected="none: Mojo now comes from pip, uv, pixi or conda",
        hint="they are not used any more and may capture caches and configuration",
        fix="rm -r ~/.modular/pkg; unset MODULAR_AUTH; sudo apt remove modular",
        reference=REFERENCE,
    )


def home_folder(facts: Facts) -> Outcome:
    """Look at ~/.modular, which captures the compiler's cache wherever it exists."""
    home = environment("HOME")
    folder = Path(home) / ".modular" if home else None
    if folder is None or not _is_dir(folder):
        return skipped("there is no ~/.modular")
    try:
        owner = folder.stat().st_uid
    except OSError as e:
        return warned(f"{folder} cannot be looked at: {e.strerror}", fix=f"sudo ls -ld {folder}")
    mine = owner == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    if mine:
        return passed("~/.modular is yours; the compiler keeps its cache there", str(folder))
    moved = folder.with_name(".modular.old")
    while moved.exists():
        moved = moved.with_name(moved.name + ".old")
    return warned(
        f"{folder} belongs to another user and captures the compiler's cache",
        f"owner uid {owner}, this process uid {os.getuid()}",
        expected="~/.modular absent, or your own",
        hint="every build starts anew; mojoaccel gives the compiler another folder meanwhile",
        fix=f"sudo mv {folder} {moved}",
        reference="docs.modular.com/max/environment-variables (cache search order)",
        repair=Repair(f"move {folder} to {moved}", lambda: folder.rename(moved), asks=True),
    )


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


CHECKS = (
    Check("mojo.retired", "former installers", installers),
    Check("mojo.home", "~/.modular", home_folder),
)
