"""``mojoaccel doctor``: checks of the environment, and explanations of error codes."""

from __future__ import annotations

from typing import Annotated

import typer

from mojoaccel.cli.console import Console
from mojoaccel.errors import CODES, ExitCode, error

MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL", "skip": "skip"}


def doctor_command(
    check: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Run this check (and what it needs).")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="CODE", help="Explain an error code, MA203 for one.")
    ] = None,
    ops: Annotated[
        bool, typer.Option("--ops", help="List the supported PyTorch operators.")
    ] = False,
    mojo: Annotated[str | None, typer.Option(metavar="PATH", help="The compiler to use.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what is wrong with the installation, and what to do about it."""
    console = Console(json=json)
    if explain is not None:
        _explain(console, explain.upper())
        return
    if ops:
        _operators(console)
        return
    from mojoaccel.doctor.check import Facts, Finding, exit_code, run_checks
    from mojoaccel.doctor.table import CHECKS

    known = {c.id: c for c in CHECKS}
    wanted: set[str] = set()
    pending = list(check or known)
    while pending:
        name = pending.pop()
        if name not in known:
            raise error(
                "MA903", f"no check is called {name}", notes=[f"checks: {', '.join(known)}"]
            )
        wanted.add(name)
        pending.extend(n for n in known[name].needs if n not in wanted)
    findings: list[Finding] = []
    with console.working() as show:
        for found in run_checks([c for c in CHECKS if c.id in wanted], Facts(mojo)):
            show(found.title)
            findings.append(found)
            if not json:
                _print(console, found)
    counts = {s: sum(f.outcome.status == s for f in findings) for s in MARKS}
    code = exit_code(findings)
    if json:
        rows = [f.to_json() for f in findings]
        console.document("doctor", {"ok": code == ExitCode.OK, "counts": counts, "checks": rows})
    else:
        summary = f"{counts['pass']} ok, {counts['warn']} warnings, {counts['fail']} failures"
        console.data(f"{summary}, {counts['skip']} skipped")
    raise typer.Exit(int(code))


def _print(console: Console, found: object) -> None:
    from mojoaccel.doctor.check import Finding

    assert isinstance(found, Finding)
    outcome = found.outcome
    console.data(f"{MARKS[outcome.status]}  {found.id:<22}  {outcome.summary}")
    if outcome.status in ("warn", "fail"):
        for line in outcome.evidence:
            console.data(f"      {line}")
        if outcome.hint:
            console.data(f"      hint: {outcome.hint}")


def _operators(console: Console) -> None:
    from mojoaccel.ops.registry import load_registry

    records = sorted(load_registry().values(), key=lambda op: op.name)
    kinds = {op.name: type(op.lowering).__name__.lower() for op in records}
    if console.json:
        rows = [{"name": o.name, "lowering": kinds[o.name], "aten": list(o.aten)} for o in records]
        console.document("doctor", {"ok": True, "operators": rows})
        return
    console.table(
        ["operator", "lowering", "ATen overloads"],
        [
            [o.name, kinds[o.name], " ".join(a.removeprefix("aten.") for a in o.aten)]
            for o in records
        ],
    )


def _explain(console: Console, code: str) -> None:
    if code not in CODES:
        raise error("MA903", f"no error has the code {code}")
    info = CODES[code]
    content = {
        "code": code,
        "name": info.name,
        "explanation": info.explanation,
        "hint": info.hint,
        "exit_code": int(info.exit_code),
    }
    if console.json:
        console.document("doctor", content)
        return
    console.data(f"{code} {info.name} (exit code {int(info.exit_code)})\n{info.explanation}")
    if info.hint:
        console.data(f"hint: {info.hint}")
