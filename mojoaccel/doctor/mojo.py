"""Checks of the Mojo compiler: which one, of which release, do the packages fit each other."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from mojoaccel.doctor import lookalikes, variables
from mojoaccel.doctor.check import Check, Facts, Outcome, passed, skipped, warned
from mojoaccel.toolchain.identify import identify
from mojoaccel.toolchain.inventory import ORIGINS, PACKAGES, install_method, pairing
from mojoaccel.toolchain.mojo import SUPPORTED, probe_version, programs_on_path

ASK_SECONDS = 3.0
ASKED_AT_ONCE = 16
VENDOR = "modular"
"""In the author or the licence of every package of Modular's."""

INSTALL = f"pip install mojo-compiler=={SUPPORTED}"
CHANGES = (
    ((1, 0), "before 1.0 functions were `fn` and constants `alias`: the kernels do not parse"),
    ((1, 1), "before 1.1 imports needed no `std.` and `alias` was a keyword"),
    ((1, 2), "before 1.2 C functions were exported in another form"),
    ((1, 3), "releases after 1.2 may have removed what the emitted code uses"),
)
"""(first release after the change, what it means for the emitted code)."""


def found(facts: Facts) -> Outcome:
    """Find the compiler and ask for its version."""
    compiler = facts.compiler
    where = ORIGINS[compiler.origin]
    how = install_method(compiler.path)
    evidence = [str(compiler.path), *([f"installed by {how}"] if how else [])]
    return passed(f"Mojo {compiler.version} ({compiler.commit}), {where}", *evidence)


def version(facts: Facts) -> Outcome:
    """Compare the versions of every Modular compiler in reach with the supported one."""
    chosen = [Path(facts.mojo)] if facts.mojo else []
    paths = [p for p in (*chosen, *programs_on_path("mojo")) if identify(p).kind == "modular"]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        numbers = pool.map(lambda path: probe_version(path, ASK_SECONDS)[0], paths)
        answers = list(zip(paths, numbers, strict=True))
    seen = [(path, number) for path, number in answers if number]
    other = [(path, number) for path, number in seen if number != SUPPORTED]
    silent = [path for path, number in answers if not number]
    if not answers:
        return skipped("no Modular compiler is on PATH")
    if silent and not other:
        return warned(
            f"{silent[0]} should be Modular's compiler, but does not tell its version",
            *(f"{path} --version -> no version within {ASK_SECONDS:g} s" for path in silent),
            *(f"{path}: {number}" for path, number in seen),
            expected=f"Mojo {SUPPORTED}",
            hint="a broken installation; mojoaccel uses the one of its own environment",
            fix=f"pip install --force-reinstall mojo-compiler=={SUPPORTED}",
            reference="MA101",
        )
    if not other:
        return passed(f"Mojo {SUPPORTED}, as supported")
    path, number = other[0]
    return warned(
        f"{path} is Mojo {number}",
        *(f"{p}: {n}" for p, n in seen),
        changes_since(number),
        expected=f"Mojo {SUPPORTED}",
        hint="mojoaccel uses the one of its own environment if there is one",
        fix=INSTALL,
        reference="MA103",
    )


def changes_since(number: str) -> str:
    """Return what makes a version unfit, in one sentence."""
    parts = [int(n) for n in re.findall(r"\d+", number)[:2]]
    release = (parts[0], parts[1] if len(parts) > 1 else 0) if parts else (0, 0)
    return next((text for since, text in CHANGES if release < since), CHANGES[-1][1])


def packages(facts: Facts) -> Outcome:
    """Compare the installed Modular packages with what each of them requires."""
    from mojoaccel.doctor.python import installed

    versions = {name: number for name in PACKAGES if (number := installed(name))}
    if not versions:
        return skipped("mojo-compiler is not installed as a Python package here")
    report = pairing()
    evidence = [f"{name} {number}" for name, number in versions.items()]
    foreign = [name for name in versions if not _of_modular(name)]
    if foreign:
        return warned(
            f"the Python package {foreign[0]} here is not Modular's",
            *evidence,
            expected="packages by Modular Inc",
            hint="before September 2025 the names mojo and max belonged to others on PyPI; an old "
            "lock file may still ask for those versions",
            fix=f"pip uninstall {' '.join(foreign)}; {INSTALL}",
        )
    wrong = list(report["wrong"])
    compiler = versions.get("mojo-compiler")
    if compiler is not None and compiler != SUPPORTED:
        wrong.append(f"mojoaccel requires mojo-compiler {SUPPORTED}")
        wrong.append(changes_since(compiler))
    if wrong:
        return warned(
            "Modular packages of different releases are installed together",
            *wrong,
            *evidence,
            expected=f"mojo-compiler {SUPPORTED} and max 26.7.0 (or no max)",
            hint="Mojo 1.0 belongs to MAX 26.5, 1.1 to 26.6, 1.2 to 26.7",
            fix=INSTALL,
            reference="MA103",
        )
    return passed("the installed Modular packages belong together", *evidence)


def _of_modular(name: str) -> bool:
    """Say whether a distribution calls itself Modular's, in its author or licence."""
    about = metadata.metadata(name)
    fields = ("Author", "Author-email", "Maintainer", "License", "License-Expression", "Home-page")
    text = " ".join(str(about[f]) for f in fields if about[f])
    urls = " ".join(about.get_all("Project-URL") or ())
    return VENDOR in f"{text} {urls}".lower() or "MAX-Platform" in text


def linker(facts: Facts) -> Outcome:
    """Look for the linker that the build stage uses, and for a C compiler for `mojo build`."""
    compilers = [p for n in ("cc", "gcc", "clang") if (p := shutil.which(n))]
    evidence = [str(facts.compiler.lld), *compilers]
    if compilers:
        return passed("a linker comes with the compiler", *evidence)
    return passed(
        "a linker comes with the compiler; `mojo build` by hand would also want a C compiler",
        *evidence,
    )


def formatter(facts: Facts) -> Outcome:
    """Look for the formatter that development uses."""
    from mojoaccel.toolchain.format import find_formatter

    place = find_formatter()
    if place is None:
        return skipped("mojo format is not installed; only work on mojoaccel itself needs it")
    return passed("mojo format is installed", str(place))


CHECKS = (
    Check("mojo.found", "Mojo compiler", found),
    Check("mojo.version", "Mojo versions", version),
    *lookalikes.CHECKS,
    Check("mojo.packages", "Modular packages", packages),
    *variables.CHECKS,
    Check("mojo.linker", "linker", linker, ("mojo.found",)),
    Check("mojo.formatter", "formatter", formatter),
)
