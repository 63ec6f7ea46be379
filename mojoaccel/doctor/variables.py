"""Checks of the MODULAR_* variables that the compiler and MAX read."""

from __future__ import annotations

import os
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, warned
from mojoaccel.environment import environment

MADE = ("MODULAR_HOME", "MODULAR_CACHE_DIR", "MODULAR_MAX_CACHE_DIR")
"""Folders that the toolchain makes when they are missing."""

NEEDED = (
    *(f"MODULAR_MOJO_MAX_{n}_PATH" for n in ("DRIVER", "IMPORT", "LLD", "LLDB_PLUGIN", "MBLACK")),
    *("MODULAR_MOJO_MAX_PACKAGE_ROOT", "MODULAR_MAX_PACKAGE_ROOT", "MODULAR_PYTHON_EXECUTABLE"),
    *("MODULAR_NVPTX_COMPILER_PATH", "MODULAR_NVPTX_LIBRARY_PATH"),
)
"""Files and folders (lists of them, for the import path) that must be there."""

RETIRED = ("MODULAR_AUTH", "MODULAR_DERIVED_PATH")
COSTLY = ("MODULAR_DEBUG", "MODULAR_ENABLE_PROFILING", "MODULAR_ENABLE_CACHE_LOGGING")
REFERENCE = "docs.modular.com/max/environment-variables"


def variables(facts: Facts) -> Outcome:
    """Look for MODULAR_* variables that point nowhere or change what is built."""
    wrong = [n for n in MADE if (value := environment(n)) and not _can_be_made(Path(value))]
    if wrong:
        return failed(
            f"{' and '.join(wrong)}: no such folder can be made there",
            *_settings(wrong),
            expected="writable folders, or unset",
            hint="the compiler then says that a folder could not be created",
            fix=f"unset {' '.join(wrong)}",
            reference=REFERENCE,
        )
    wrong = [n for n in NEEDED if not _all_there(environment(n))]
    if wrong:
        return warned(
            f"{' and '.join(wrong)}: nothing is there",
            *_settings(wrong),
            expected="files of one installation, or unset",
            hint="left over from another installation; `mojo` by hand then fails, mojoaccel sets "
            "its own",
            fix=f"unset {' '.join(wrong)}",
            reference=REFERENCE,
        )
    wrong = [n for n in COSTLY if environment(n).lower() not in ("", "0", "off", "false")]
    if wrong:
        return warned(
            f"{' and '.join(wrong)}: builds are slower, and code may be checked at run time",
            *_settings(wrong),
            expected="unset, except while looking for a fault",
            fix=f"unset {' '.join(wrong)}",
            reference=REFERENCE,
        )
    names = sorted(n for n in os.environ if n.startswith("MODULAR_") and n not in RETIRED)
    if names:
        return passed(f"{', '.join(names)}: usable", *_settings(names))
    return passed("no MODULAR_* variable is set")


def _settings(names: list[str]) -> list[str]:
    return [f"{name}={environment(name)}" for name in names]


def _can_be_made(folder: Path) -> bool:
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _all_there(value: str) -> bool:
    return all(os.path.exists(part) for part in value.replace(",", ":").split(":") if part)


CHECKS = (Check("mojo.variables", "MODULAR_* variables", variables),)
