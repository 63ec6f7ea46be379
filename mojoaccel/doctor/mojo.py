"""Checks of the Mojo compiler: which one, what else is called mojo, does it find its folders."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mojoaccel.config import environment
from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, said, skipped, warned
from mojoaccel.toolchain.identify import Identity, identify
from mojoaccel.toolchain.inventory import ORIGINS, PACKAGES, install_method, pairing
from mojoaccel.toolchain.mojo import SUPPORTED, Finished, probe_version, programs_on_path, run

ASK_SECONDS = 3.0
INSTALL = f"pip install mojo-compiler=={SUPPORTED}"
REFERENCES = {
    "snap": "modular/modular#666, #513; snapcraft.io/mojo",
    "mojolicious": "mojolicious/mojo#2118",
    "npm": "npm view mojo-cli",
}
FIXES = {
    "snap": "sudo snap remove mojo",
    "mojolicious": "sudo apt remove libmojolicious-perl",
    "npm": "npm uninstall -g mojo-cli",
}
SHELL_FILES = (
    ".bashrc", ".bash_aliases", ".bash_profile", ".profile", ".zshrc", ".zprofile", ".kshrc",
    ".config/fish/config.fish",
)  # fmt: skip
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
    seen = [
        (path, number)
        for path in [*([Path(facts.mojo)] if facts.mojo else []), *programs_on_path("mojo")]
        if identify(path).kind == "modular" and (number := probe_version(path, ASK_SECONDS)[0])
    ]
    other = [(path, number) for path, number in seen if number != SUPPORTED]
    if not seen:
        return skipped("no Modular compiler is on PATH")
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


def lookalikes(facts: Facts) -> Outcome:
    """Tell what else on PATH is called mojo, and whether a shell starts it first."""
    programs = [(path, recognize(path)) for path in programs_on_path("mojo")]
    others = [(p, i) for p, i in programs if i.kind != "modular"]
    listed = _snap_list()
    if not others and listed is None:
        return passed("no other program called mojo is on PATH")
    kind = others[0][1].kind if others else "snap"
    evidence = [i.explanation for _, i in others] + ([listed] if listed else [])
    first = bool(programs) and programs[0][1].kind != "modular"
    shadowed = first and any(i.kind == "modular" for _, i in programs)
    summary = "another program called mojo is on PATH; mojoaccel does not use it"
    if shadowed:
        summary = f"a shell's `mojo` is {programs[0][0]}, which is not Modular's and comes first"
    elif not others:
        summary = "the snap called mojo is installed; it has nothing to do with Modular"
    return warned(
        summary,
        *evidence,
        expected="only Modular's compiler is called mojo",
        hint="put this environment's bin folder first on PATH, or remove the other program",
        fix=FIXES.get(kind, f"rm {others[0][0]}" if others else ""),
        reference=REFERENCES.get(kind, "MA102"),
    )


def recognize(path: Path) -> Identity:
    """Identify a program from its file, and only if that does not tell from its answer."""
    identity = identify(path)
    if identity.kind != "unknown" or not os.access(path, os.X_OK):
        return identity
    answer = run([str(path), "--version"], dict(os.environ), timeout=ASK_SECONDS)
    return by_answer(path, answer) or identity


def by_answer(path: Path, answer: Finished) -> Identity | None:
    """Identify a program from what it said to ``--version``."""
    text = f"{answer.stdout}\n{answer.stderr}"
    ran = said(answer)
    if "juju" in text.lower() or re.search(r"\b1\.0\.0\+\d", text):
        return Identity("snap", f"{path} is the snap `mojo` (Juju delivery): {ran}")
    if "Mojolicious" in text or 'Invalid command "--version"' in text:
        return Identity("mojolicious", f"{path} is Perl's Mojolicious: {ran}")
    if answer.returncode is None:
        return Identity("unknown", f"{path} is not Modular's and does not answer: {ran}")
    return None


def _snap_list() -> str | None:
    program = shutil.which("snap")
    if program is None:
        return None
    answer = run([program, "list", "mojo"], dict(os.environ), timeout=ASK_SECONDS)
    return said(answer) if answer.returncode == 0 and "mojo" in answer.stdout else None


def aliases(facts: Facts) -> Outcome:
    """Look for aliases and functions called mojo in the shell's start files."""
    home = Path(environment("HOME") or "/")
    pattern = re.compile(r"^\s*(alias\s+(-\w+\s+)*mojo[\s=]|function\s+mojo\b|mojo\s*\(\))")
    lines = []
    for name in SHELL_FILES:
        try:
            text = (home / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.match(line):
                lines.append(f"{home / name}:{number}: {line.strip()}")
    if not lines:
        return passed("no alias or function called mojo in the shell's start files")
    return warned(
        "a shell's `mojo` is an alias or a function",
        *lines,
        expected="`mojo` in a shell is the program on PATH",
        hint="mojoaccel does not use it; delete the line if it hides Modular's compiler",
        fix="unalias mojo",
    )


def links(facts: Facts) -> Outcome:
    """Look for dangling links called mojo."""
    broken = [
        i.explanation for p in programs_on_path("mojo") if (i := identify(p)).kind == "broken"
    ]
    if not broken:
        return passed("no broken link called mojo is on PATH")
    path = broken[0].split(" ", 1)[0]
    return warned(
        "a program called mojo on PATH cannot be read",
        *broken,
        expected="a program",
        fix=f"rm {path}",
    )


def packages(facts: Facts) -> Outcome:
    """Compare the installed Modular packages with what each of them requires."""
    from mojoaccel.doctor.python import installed

    versions = {name: number for name in PACKAGES if (number := installed(name))}
    if "mojo-compiler" not in versions:
        return skipped("mojo-compiler is not installed as a Python package here")
    report = pairing()
    evidence = [f"{name} {number}" for name, number in versions.items()]
    wrong = list(report["wrong"])
    if versions["mojo-compiler"] != SUPPORTED:
        wrong.append(f"mojoaccel requires mojo-compiler {SUPPORTED}")
        wrong.append(changes_since(versions["mojo-compiler"]))
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


def missing_variables(facts: Facts) -> Outcome:
    """Look for MODULAR_HOME and MODULAR_CACHE_DIR that point nowhere."""
    wrong = []
    for name in ("MODULAR_HOME", "MODULAR_CACHE_DIR"):
        value = environment(name)
        if value and not _can_be_made(Path(value)):
            wrong.append(f"{name}={value}")
    if not wrong:
        return passed("MODULAR_HOME and MODULAR_CACHE_DIR are unset or usable")
    return failed(
        f"{' and '.join(w.split('=')[0] for w in wrong)}: no such folder can be made there",
        *wrong,
        expected="writable folders, or unset",
        hint="the compiler then says that a folder could not be created",
        fix=f"unset {' '.join(w.split('=')[0] for w in wrong)}",
        reference="docs.modular.com/max/environment-variables",
    )


def _can_be_made(folder: Path) -> bool:
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


CHECKS = (
    Check("mojo.found", "Mojo compiler", found),
    Check("mojo.version", "Mojo versions", version),
    Check("mojo.lookalikes", "other programs called mojo", lookalikes),
    Check("mojo.alias", "shell aliases", aliases),
    Check("mojo.links", "broken links", links),
    Check("mojo.packages", "Modular packages", packages),
    Check("mojo.variables", "MODULAR_* variables", missing_variables),
    Check("mojo.linker", "linker", linker, ("mojo.found",)),
    Check("mojo.formatter", "formatter", formatter),
)
