"""Findings as text: lines of at most 80 columns, and Markdown for a bug report."""

from __future__ import annotations

import getpass
import os
import platform
import re
import textwrap
from collections.abc import Sequence

from mojoaccel.config import environment
from mojoaccel.doctor.check import Finding

MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL", "skip": "skip"}
WIDTH = 80
ID_WIDTH = 19
SECRETS = re.compile(
    r"(?i)\b(mut_\w+|hf_\w{8,}|gh[pousr]_\w{8,}|sk-[\w-]{8,}"
    r"|(?:token|password|secret|key|auth)\w*\s*[=:]\s*\S+|://[^/\s:@]+:[^@/\s]+@)"
)
"""Tokens by their usual forms, values of variables that sound secret, passwords in addresses."""


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
    summary = f"{counts['pass']} ok, {counts['warn']} warnings, {counts['fail']} failures"
    return f"{summary}, {counts['skip']} skipped"


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
        cell = [outcome.summary]
        if outcome.status in ("warn", "fail"):
            cell += [f"`{line}`" for line in outcome.evidence]
            cell += [f"expected: {outcome.expected}"] if outcome.expected else []
            cell += [f"fix: `{outcome.fix}`"] if outcome.fix else []
        text = "<br>".join(c.replace("|", "\\|").replace("\n", " ") for c in cell)
        lines.append(f"| {MARKS[outcome.status].strip()} | `{found.id}` | {text} |")
    return hide("\n".join(lines))


def hide(text: str) -> str:
    """Replace the home folder, names of the user and the machine, and secrets."""
    home = environment("HOME")
    if home and home != "/":
        text = text.replace(home, "~")
    text = SECRETS.sub("(hidden)", text)
    text = re.sub(r"/(home|Users)/[^/\s`|]+", r"/\1/(user)", text)
    for name, mark in ((_user(), "(user)"), (platform.node(), "(host)")):
        if len(name) > 2 and name != "root":
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", mark, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user id
        return str(os.getuid())
