"""Checks of MAX, which only the MAX engine uses."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, passed, skipped, warned
from mojoaccel.doctor.python import installed
from mojoaccel.toolchain.inventory import PAIRS, max_programs, required

CACHE = "__mojocache__"
"""Where Python modules written in Mojo are compiled to when first imported, beside their source."""

SERVE_NEEDS = ("pydantic", "uvicorn", "fastapi")


def package(facts: Facts) -> Outcome:
    """Compare the release of MAX with the compiler beside it."""
    version, compiler = installed("max"), installed("mojo-compiler")
    if version is None:
        return skipped("max is not installed; only the MAX engine needs it")
    wanted = required("max-core") if installed("max-core") else None
    evidence = [f"max {version}", f"mojo-compiler {compiler}"]
    if wanted is not None and compiler is not None and wanted != compiler:
        fitting = PAIRS.get(compiler, "of the same release")
        return warned(
            f"max {version} belongs to Mojo {wanted}, installed is {compiler}",
            *evidence,
            expected=f"max {fitting}",
            fix=f'pip install "max=={fitting}"' if compiler in PAIRS else "pip install max",
            reference="docs.modular.com/releases",
        )
    return passed(f"max {version}", *evidence, *(p["path"] for p in max_programs()))


def serve(facts: Facts) -> Outcome:
    """Look for what ``max serve`` and its like need beside the bare package."""
    if installed("max") is None:
        return skipped("max is not installed")
    missing = [name for name in SERVE_NEEDS if installed(name) is None]
    if missing:
        return warned(
            "max is installed without its serve extra",
            *(f"{name} is not installed" for name in missing),
            expected="nothing, if `max serve|generate|encode|warm-cache|benchmark` are not used",
            hint="those commands end in ModuleNotFoundError: No module named 'pydantic'",
            fix='pip install "max[serve]"',
        )
    return passed("max has its serve extra")


def cache(facts: Facts) -> Outcome:
    """Look for modules of MAX that are compiled into a package that this user may not write."""
    if installed("max") is None:
        return skipped("max is not installed")
    sources = _mojo_folders()
    if not sources:
        return skipped("this max brings no modules that are compiled when imported")
    shut = [folder for folder in sources if not _compiled(folder) and not _may_compile(folder)]
    if not shut:
        return passed("what max compiles when imported is there, or can be", *map(str, sources))
    return warned(
        "max compiles into its own package, which this user may not write",
        *(str(folder / CACHE) for folder in shut),
        expected=f"a {CACHE} that is filled, or that this user may write",
        hint="importing max ends in PermissionError; import it once as the user who installed it",
        fix="sudo chown -R $(id -u) " + " ".join(str(folder) for folder in shut),
        reference="modular/modular#5153",
    )


def _mojo_folders() -> list[Path]:
    """Return the folders just below the package that hold Mojo sources for Python."""
    package = importlib.util.find_spec("max")
    roots = [Path(p) for p in package.submodule_search_locations or ()] if package else []
    below = [folder for root in roots for folder in sorted(root.glob("*/"))]
    return [f for f in below if os.path.isdir(f / CACHE) or next(f.glob("*.mojo"), None)]


def _compiled(folder: Path) -> bool:
    try:
        return next((folder / CACHE).glob("*.so"), None) is not None
    except OSError:
        return False


def _may_compile(folder: Path) -> bool:
    place = folder / CACHE
    return os.access(place if os.path.isdir(place) else folder, os.W_OK | os.X_OK)


CHECKS = (
    Check("max.package", "MAX", package),
    Check("max.cache", "MAX's compiled modules", cache, ("max.package",)),
    Check("max.serve", "MAX's serve extra", serve, ("max.package",)),
)
