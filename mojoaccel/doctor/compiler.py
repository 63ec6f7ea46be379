"""Checks of the compiler: which one, what else is called mojo, do its packages fit together."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from mojoaccel.config import environment
from mojoaccel.doctor.check import Check, Facts, Outcome, passed, skipped, warned
from mojoaccel.toolchain.identify import identify
from mojoaccel.toolchain.mojo import SUPPORTED, programs_on_path

ORIGINS = {
    "option": "chosen by option or setting",
    "variable": "chosen by MOJOACCEL_MOJO",
    "environment": "of this Python environment",
    "PATH": "found on PATH",
}


def found(facts: Facts) -> Outcome:
    """Find the compiler and ask for its version."""
    compiler = facts.compiler
    where = ORIGINS[compiler.origin]
    return passed(f"Mojo {compiler.version} ({compiler.commit}), {where}", str(compiler.path))


def lookalikes(facts: Facts) -> Outcome:
    """Tell what else on PATH is called mojo."""
    others = [
        identity.explanation
        for path in programs_on_path("mojo")
        if (identity := identify(path)).kind != "modular"
    ]
    if not others:
        return passed("no other program called mojo is on PATH")
    return warned(
        "another program called mojo is on PATH; mojoaccel does not use it",
        *others,
        hint="in a shell, `mojo` may start that one: put this environment's bin folder first",
    )


def pairing(facts: Facts) -> Outcome:
    """Compare the installed Modular packages with what each of them requires."""
    versions = _installed("mojo-compiler", "mojo-compiler-mojo-libs", "mojo", "max", "max-core")
    if "mojo-compiler" not in versions:
        return skipped("mojo-compiler is not installed as a Python package here")
    evidence = [f"{name} {version}" for name, version in versions.items()]
    wrong = [
        f"{name} {version} requires mojo-compiler {wanted}"
        for name, version in versions.items()
        if (wanted := _required(name, "mojo-compiler")) not in (None, versions["mojo-compiler"])
    ]
    if versions["mojo-compiler"] != SUPPORTED:
        wrong.append(f"mojoaccel requires mojo-compiler {SUPPORTED}")
    if wrong:
        return warned(
            "Modular packages of different releases are installed together",
            *wrong,
            *evidence,
            hint=f"pip install mojo-compiler=={SUPPORTED}, and max or mojo of the same release",
        )
    return passed("the installed Modular packages belong together", *evidence)


def retired(facts: Facts) -> Outcome:
    """Look for Modular's former installers, whose remains capture caches and configuration."""
    remains = [
        f"{p} (a former installer)" for n in ("modular", "magic") for p in programs_on_path(n)
    ]
    home = environment("HOME")
    folder = Path(home) / ".modular" / "pkg" if home else None
    if folder is not None and _is_dir(folder):
        remains.append(f"{folder} (packages of the former installer)")
    if environment("MODULAR_AUTH"):
        remains.append("MODULAR_AUTH is set (the former installer's key)")
    if remains:
        return warned(
            "remains of Modular's former installers",
            *remains,
            hint="they are not used any more; remove them (~/.modular also captures the cache)",
        )
    return passed("no remains of former installers")


def _installed(*names: str) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _required(name: str, package: str) -> str | None:
    """Return the exact version of `package` that a distribution requires, if it names one."""
    for line in metadata.requires(name) or ():
        match = re.match(rf"{re.escape(package)}\s*\(?==\s*([\w.]+)", line)
        if match and "extra ==" not in line:
            return match[1]
    return None


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


CHECKS = (
    Check("compiler.found", "Mojo compiler", found),
    Check("compiler.lookalikes", "other programs called mojo", lookalikes),
    Check("compiler.pairing", "Modular packages", pairing),
    Check("compiler.retired", "former installers", retired),
)
