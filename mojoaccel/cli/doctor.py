"""``mojoaccel doctor``: checks of the environment, and explanations of error codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mojoaccel.cli.console import Console
from mojoaccel.errors import CODES, ExitCode, error

if TYPE_CHECKING:
    from mojoaccel.doctor.check import Check, Finding

OPERATOR_WIDTH = 33
"""Columns of the operator table before the overloads."""

MARKS = ("pass", "warn", "fail", "skip")


def doctor_command(
    check: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Run this check or group (and what it needs)."),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Repair what can be repaired safely; says each step first."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --fix: agree to steps that would be asked about.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if there are warnings.")] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Explain an error code, or a message of Modular's tools."
        ),
    ] = None,
    ops: Annotated[
        bool, typer.Option("--ops", help="List the supported PyTorch operators.")
    ] = False,
    mojo: Annotated[str | None, typer.Option(metavar="PATH", help="The compiler to use.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a report for an issue, without names.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show commands.")] = False,
) -> None:
    """Say what is wrong with the installation, and what to do about it."""
    console = Console(json=json, verbose=verbose)
    if explain is not None:
        _explain(console, explain)
        return
    if ops:
        _operators(console)
        return
    from mojoaccel.doctor.check import Facts, exit_code, run_checks, seconds_for_checks
    from mojoaccel.doctor.report import finding_lines, markdown_report, summary_line
    from mojoaccel.doctor.table import CHECKS

    findings: list[Finding] = []
    wanted = _wanted(CHECKS, check or [])
    with console.working() as show:
        for found in run_checks(wanted, Facts(mojo), seconds_for_checks()):
            show(found.title)
            findings.append(found)
            if not json and not markdown:
                console.data("\n".join(finding_lines(found)))
    code = exit_code(findings, strict=strict)
    if json:
        counts = {s: sum(f.outcome.status == s for f in findings) for s in MARKS}
        rows = [f.to_json() for f in findings]
        console.document("doctor", {"ok": code == ExitCode.OK, "counts": counts, "checks": rows})
    elif markdown:
        console.data(markdown_report(findings))
    else:
        console.data(summary_line(findings))
    if fix:
        _repair(console, findings, yes)
    raise typer.Exit(int(code))


def _wanted(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """Return the named checks (or groups) and what they need, in order; all without names."""
    known = {c.id: c for c in checks}
    groups = {c.id.split(".")[0] for c in checks}
    wanted: set[str] = set()
    pending = list(names or known)
    while pending:
        name = pending.pop()
        if name in groups:
            pending.extend(i for i in known if i.startswith(f"{name}."))
            continue
        if name not in known:
            raise error(
                "MA903", f"no check is called {name}", notes=[f"checks: {', '.join(known)}"]
            )
        wanted.add(name)
        pending.extend(n for n in known[name].needs if n not in wanted)
    return [c for c in checks if c.id in wanted]


def _repair(console: Console, findings: Sequence[Finding], yes: bool) -> None:
    """Do what the findings offer, each step said first; on stderr, for stdout is the report."""
    repairs = [(f.id, f.outcome.repair) for f in findings if f.outcome.repair is not None]
    if not repairs:
        console.say("nothing here can be repaired safely; see the commands above")
    for name, repair in repairs:
        console.say(f"{name}: {repair.step}")
        if repair.asks and not yes and not _agreed():
            console.say("  left alone")
            continue
        try:
            repair.act()
        except OSError as e:
            console.say(f"  failed: {e.strerror or e}")
        else:
            console.say("  done; run mojoaccel doctor again")


def _agreed() -> bool:
    """Ask on a terminal; without one nobody agrees."""
    return sys.stdin.isatty() and typer.confirm("  go on?", err=True)


def _operators(console: Console) -> None:
    from mojoaccel.ops.registry import load_registry

    records = sorted(load_registry().values(), key=lambda op: op.name)
    kinds = {op.name: type(op.lowering).__name__.lower() for op in records}
    if console.json:
        rows = [{"name": o.name, "lowering": kinds[o.name], "aten": list(o.aten)} for o in records]
        console.document("doctor", {"ok": True, "operators": rows})
        return
    from mojoaccel.doctor.report import wrap

    # Some records lower dozens of overloads: those go on below, within 80 columns.
    for operator, lowering, overloads in (
        ("operator", "lowering", "ATen overloads"),
        *((o.name, kinds[o.name], " ".join(o.aten).replace("aten.", "")) for o in records),
    ):
        head = f"{operator:<20}  {lowering:<9}  "
        if len(head) > OPERATOR_WIDTH:
            console.data(head.rstrip())
            head = " " * OPERATOR_WIDTH
        console.data("\n".join(wrap(overloads, head, " " * OPERATOR_WIDTH)))


def _explain(console: Console, text: str) -> None:
    code = text.strip().upper()
    if code not in CODES:
        _explain_message(console, text)
        return
    info = CODES[code]
    content = {
        "code": code,
        "name": info.name,
        "explanation": info.explanation,
        "fix": info.hint or info.fix,
        "exit_code": int(info.exit_code),
    }
    if console.json:
        console.document("doctor", content)
        return
    console.data(f"{code} {info.name} (exit code {int(info.exit_code)})")
    _paragraphs(console, ("cause", info.explanation), ("fix", info.hint or info.fix))


def _explain_message(console: Console, text: str) -> None:
    """Explain a message of another program that people meet on the way."""
    from mojoaccel.doctor.symptoms import find_symptom

    known = find_symptom(text)
    if known is None:
        raise error(
            "MA903",
            "that is neither the code of an error nor a message known here",
            notes=["codes are MA101 to MA999; quote messages: --explain 'text'"],
        )
    if console.json:
        content = {"cause": known.cause, "fix": known.fix, "reference": known.reference}
        console.document("doctor", {"message": text, **content})
        return
    parts = (("cause", known.cause), ("fix", known.fix), ("see", known.reference))
    _paragraphs(console, *parts)


def _paragraphs(console: Console, *parts: tuple[str, str]) -> None:
    from mojoaccel.doctor.report import wrap

    for name, text in parts:
        if text:
            console.data("\n".join(wrap(text, f"{name + ':':<7}", " " * 7)))
