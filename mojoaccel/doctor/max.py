"""Checks of MAX, which only the MAX engine uses."""

from __future__ import annotations

from mojoaccel.doctor.check import Check, Facts, Outcome, passed, skipped, warned
from mojoaccel.doctor.python import installed
from mojoaccel.toolchain.inventory import PAIRS, max_programs, required

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


CHECKS = (
    Check("max.package", "MAX", package),
    Check("max.serve", "MAX's serve extra", serve, ("max.package",)),
)
