"""Checks of what else is called mojo: other programs, aliases, broken links."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, passed, said, warned
from mojoaccel.environment import environment
from mojoaccel.toolchain.identify import Identity, identify
from mojoaccel.toolchain.mojo import Finished, programs_on_path, run

ASK_SECONDS = 3.0
ASKED_AT_MOST = 16
"""Unidentified programs that are asked for their version, all at once."""

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
    ".bashrc", ".bash_aliases", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv",
    ".zprofile", ".kshrc", ".cshrc", ".tcshrc", ".aliases", ".config/fish/config.fish",
    ".config/fish/functions/mojo.fish",
)  # fmt: skip
DEFINITION = re.compile(r"^\s*(alias\s+(-\w+\s+)*mojo[\s=]|function\s+mojo\b|mojo\s*\(\))")
EXPORTED = "BASH_FUNC_mojo%%"
"""The variable in which bash exports a function called mojo."""


def lookalikes(facts: Facts) -> Outcome:
    """Tell what else on PATH is called mojo, and whether a shell starts it first."""
    paths = programs_on_path("mojo")
    programs = [
        (path, identity)
        for path, identity in zip(paths, recognize(paths), strict=True)
        if identity.kind != "broken"  # a shell passes over it; `links` tells of it
    ]
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
        fix=FIXES.get(kind, f"ls -l {others[0][0]}" if others else ""),
        reference=REFERENCES.get(kind, "MA102"),
    )


def recognize(paths: Sequence[Path]) -> list[Identity]:
    """Identify programs from their files, and those that do not tell from their answers."""
    identities = [identify(path) for path in paths]
    unknown = [
        n
        for n, (path, identity) in enumerate(zip(paths, identities, strict=True))
        if identity.kind == "unknown" and os.access(path, os.X_OK)
    ][:ASKED_AT_MOST]
    if unknown:
        with ThreadPoolExecutor(len(unknown)) as pool:
            answers = pool.map(lambda n: by_answer(paths[n], _ask(paths[n])), unknown)
            for number, answer in zip(unknown, answers, strict=True):
                identities[number] = answer or identities[number]
    return identities


def _ask(path: Path) -> Finished:
    return run([str(path), "--version"], dict(os.environ), timeout=ASK_SECONDS)


def by_answer(path: Path, answer: Finished) -> Identity | None:
    """Identify a program from what it said to ``--version``."""
    text = f"{answer.stdout}\n{answer.stderr}"
    ran = said(answer)
    if answer.returncode == 0 and re.search(r"[Mm]ojo \d[\w.]* \([0-9a-f]{8}\)", text):
        return Identity("modular", f"{path} starts Modular's compiler: {ran}")
    if "juju" in text.lower() or re.search(r"\b1\.0\.0\+\d", text):
        return Identity("snap", f"{path} is the snap `mojo` (Juju delivery): {ran}")
    if "Mojolicious" in text or 'Invalid command "--version"' in text:
        return Identity("mojolicious", f"{path} is Perl's Mojolicious: {ran}")
    if answer.returncode is None:
        return Identity("unknown", f"not Modular's: {ran}")
    return None


def _snap_list() -> str | None:
    program = shutil.which("snap")
    if program is None:
        return None
    answer = run([program, "list", "mojo"], dict(os.environ), timeout=ASK_SECONDS)
    return said(answer) if answer.returncode == 0 and "mojo" in answer.stdout else None


def aliases(facts: Facts) -> Outcome:
    """Look for aliases and functions called mojo: exported ones, and in the shell's start files."""
    home = Path(environment("HOME") or "/")
    lines = []
    exported = environment(EXPORTED)
    if exported:
        lines.append(f"bash exports a function: mojo{exported.splitlines()[0]}")
    for name in SHELL_FILES:
        lines += _definitions(home / name)
    if not lines:
        return passed("no alias or function called mojo in the shell")
    return warned(
        "a shell's `mojo` is an alias or a function",
        *lines,
        expected="`mojo` in a shell is the program on PATH",
        hint="mojoaccel does not use it; delete the line if it hides Modular's compiler",
        fix="unset -f mojo" if exported else "unalias mojo",
    )


def _definitions(file: Path) -> list[str]:
    """Return the lines of a shell's start file that define mojo."""
    try:
        if not os.path.isfile(file):  # a pipe would be waited for
            return []
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [
        f"{file}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if DEFINITION.match(line)
    ]


def links(facts: Facts) -> Outcome:
    """Look for dangling links called mojo, and for files that cannot be read."""
    broken = [(p, i) for p in programs_on_path("mojo") if (i := identify(p)).kind == "broken"]
    if not broken:
        return passed("no broken link called mojo is on PATH")
    path = broken[0][0]
    dangling = _dangles(path)
    return warned(
        "a program called mojo on PATH cannot be read",
        *(identity.explanation for _, identity in broken),
        expected="a program",
        hint="" if dangling else "look who may read it",
        fix=f"rm {path}" if dangling else f"ls -l {path}",
    )


def _dangles(path: Path) -> bool:
    """Say whether a link leads nowhere, and not only to what this user may not see."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


CHECKS = (
    Check("mojo.lookalikes", "other programs called mojo", lookalikes),
    Check("mojo.alias", "shell aliases", aliases),
    Check("mojo.links", "broken links", links),
)
