"""Findings as text: lines of at most 80 columns, and Markdown for a bug report."""

from __future__ import annotations

import getpass
import os
import platform
import re
import textwrap
from collections.abc import Sequence

from mojoaccel.doctor.check import Finding
from mojoaccel.environment import environment

MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL", "skip": "skip"}
WIDTH = 80
ID_WIDTH = 19
SECRETS = re.compile(
    r"(?i)\b(mut_\w+|hf_\w{8,}|gh[pousr]_\w{8,}|github_pat_\w+|glpat-[\w-]+|sk-[\w-]{8,}"
    r"|xox[abpr]-[\w-]+|pypi-[\w-]{16,}|AKIA[0-9A-Z]{16}|eyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|bearer\s+\S+|(?:token|password|passwd|secret|key|auth)\w*\s*[=:]\s*\S+"
    r"|://[^/\s:@]+:[^@/\s]+@)"
)
"""Tokens by their usual forms, values of variables that sound secret, passwords in addresses."""

SAID_OF_MANY = frozenset({
    "root", "user", "admin", "nobody", "ubuntu", "debian", "runner", "docker", "python", "vscode",
    "dev", "mojo", "max", "modular", "mojoaccel", "localhost",
})  # fmt: skip
"""Names of users and machines that name nobody; hiding them would only garble the report."""


def finding_lines(found: Finding) -> list[str]:
    """Return a finding as lines; details only where something is wrong. Commands are not cut."""
    outcome = found.outcome
    head = f"{MARKS[outcome.status]}  {found.id:<{ID_WIDTH}}  "
    lines = wrap(outcome.summary, head, " " * len(head))
    if outcome.status not in ("warn", "fail"):
        return lines
    for line in outcome.evidence:
        lines += wrap(line, "      found:    ", " " * 16)
    for name, text in (("expected", outcome.expected), ("hint", outcome.hint)):
        if text:
            lines += wrap(text, f"      {name + ':':<10}", " " * 16)
    if outcome.fix:
        lines.append(f"      {'fix:':<10}{outcome.fix}")
    if outcome.reference:
        lines += wrap(outcome.reference, "      see:      ", " " * 16)
    return lines


def wrap(text: str, first: str, rest: str) -> list[str]:
    """Break text at 80 columns; paths and commands stay whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def summary_line(findings: Sequence[Finding]) -> str:
    """Return the counts in one line."""
    counts = {s: sum(f.outcome.status == s for f in findings) for s in MARKS}
    parts = [f"{counts['pass']} ok"]
    for status, word in (("warn", "warning"), ("fail", "failure")):
        parts.append(f"{counts[status]} {word}{'' if counts[status] == 1 else 's'}")
    return f"{', '.join(parts)}, {counts['skip']} skipped"


def markdown_report(findings: Sequence[Finding]) -> str:
    """Return a report for an issue; names of users, machines and secrets are hidden."""
    from mojoaccel import __version__

    lines = [
        f"### mojoaccel {__version__} doctor: {summary_line(findings)}",
        "",
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "",
        "| | check | found |",
        "|---|---|---|",
    ]
    for found in findings:
        outcome = found.outcome
        cell = [_escaped(outcome.summary)]
        if outcome.status in ("warn", "fail"):
            cell += [_code(line) for line in outcome.evidence]
            for name, text in (("expected", outcome.expected), ("hint", outcome.hint)):
                cell += [f"{name}: {_escaped(text)}"] if text else []
            cell += [f"fix: {_code(outcome.fix)}"] if outcome.fix else []
            cell += [f"see: {_escaped(outcome.reference)}"] if outcome.reference else []
        lines.append(f"| {MARKS[outcome.status].strip()} | `{found.id}` | {'<br>'.join(cell)} |")
    return hide("\n".join(lines))


def _escaped(text: str) -> str:
    """Return text that a cell of a Markdown table shows as it is."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    """Return text as code in a cell; what holds a backtick itself is put between two."""
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def hide(text: str) -> str:
    """Replace the home folder, names of the user and the machine, and secrets."""
    home = environment("HOME").rstrip("/")
    for folder in {home, os.path.realpath(home)} if home else ():
        text = re.sub(rf"{re.escape(folder)}(?![\w.-])", "~", text)
    text = SECRETS.sub("(hidden)", text)
    # Names may hold spaces (/mnt/c/Users/Ada Lovelace/bin): up to the next slash if there is one.
    text = re.sub(r"/(home|Users)/([^/\n`|]+(?=/)|[^/\s`|]+)", r"/\1/(user)", text)
    users = (_user(), environment("SUDO_USER"))
    hosts = (platform.node(), platform.node().split(".")[0])
    for names, mark in ((users, "(user)"), (hosts, "(host)")):
        for name in names:
            if len(name) > 2 and name not in SAID_OF_MANY:
                text = re.sub(rf"(?<![a-zA-Z0-9]){re.escape(name)}(?![a-zA-Z0-9])", mark, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user id
        return str(os.getuid())
