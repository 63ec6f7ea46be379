"""What a check is, what it finds, and how checks are run.

Ids are stable (``group.name``): scripts and issues refer to them. Nothing here prints.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mojoaccel.doctor.symptoms import find_symptom
from mojoaccel.errors import CODES, ExitCode, MojoaccelError
from mojoaccel.products import Target
from mojoaccel.targets.probe import Machine, detect, probe
from mojoaccel.toolchain.mojo import Finished, MojoCompiler, find_compiler, stop_running

STATUSES = ("pass", "warn", "fail", "skip")

SECONDS = 18.0
"""Time for the whole program; people who look for help do not wait longer than 20 s."""

LEAST_SECONDS = 8.0
"""Time for all checks together, however long a busy machine took to start the program."""

CHECK_SECONDS = 6.0
"""Time for one check, so that one folder on a dead share leaves time for the others."""

COMPILER_SECONDS = 5.5
"""Time for the compiler to tell its version."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that ``doctor --fix`` may do: safe, and undone by hand in one step.

    Attributes:
        step: What will be done, said before it is.
        act: Does it.
        asks: Whether the user must agree first (it touches what mojoaccel did not make).
    """

    step: str
    act: Callable[[], object]
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found.

    Attributes:
        status: ``pass`` | ``warn`` (works, but not as well as it could) | ``fail`` (compiling or
            running will not work) | ``skip`` (nothing to check here).
        summary: What was found, one sentence.
        evidence: What was seen: paths, commands with exit code and output, versions, messages.
        hint: What to do, in words.
        expected: What should have been found.
        fix: What to do, as a command to copy.
        reference: Where more is written: a document, an issue, an error code.
        repair: What ``--fix`` may do about it.
    """

    status: str
    summary: str
    evidence: tuple[str, ...] = ()
    hint: str = ""
    expected: str = ""
    fix: str = ""
    reference: str = ""
    repair: Repair | None = None


def passed(summary: str, *evidence: str) -> Outcome:
    """Return a good outcome."""
    return Outcome("pass", summary, evidence)


def warned(summary: str, *evidence: str, **more: Any) -> Outcome:
    """Return an outcome that costs something but stops nothing."""
    return Outcome("warn", summary, evidence, **more)


def failed(summary: str, *evidence: str, **more: Any) -> Outcome:
    """Return an outcome that stops compiling or running."""
    return Outcome("fail", summary, evidence, **more)


def skipped(summary: str, *evidence: str) -> Outcome:
    """Return the outcome of a check that does not apply."""
    return Outcome("skip", summary, evidence)


def seconds_for_checks() -> float:
    """Return what is left of `SECONDS` after this process has started; all where it is unknown."""
    try:
        ticks = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        began = int(ticks) / os.sysconf("SC_CLK_TCK")
        gone = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, AttributeError, ValueError, IndexError):
        return SECONDS
    return min(SECONDS, max(LEAST_SECONDS, SECONDS - gone))


class Facts:
    """What several checks look at, found out when first needed."""

    def __init__(self, mojo: str | None = None) -> None:
        """Keep the path of a compiler chosen by hand."""
        self.mojo = mojo
        self.deadline = time.monotonic() + SECONDS

    def seconds_left(self) -> float:
        """Return how long the checks may go on."""
        return self.deadline - time.monotonic()

    @cached_property
    def compiler(self) -> MojoCompiler:
        """The compiler.

        Raises:
            MojoaccelError: MA101..MA103, there is none that fits.
        """
        return find_compiler(self.mojo, COMPILER_SECONDS)

    @cached_property
    def machine(self) -> Machine:
        """This machine."""
        return probe()

    @cached_property
    def target(self) -> Target:
        """What would be compiled for.

        Raises:
            MojoaccelError: MA104, nothing can be.
        """
        return detect()


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        id: ``group.name``, never changed.
        title: What is checked, as a short phrase.
        run: Looks and tells; an error of ours it raises is a failure with that error's text.
        needs: Checks that must not have failed or been skipped.
        seconds: How long it may take.
    """

    id: str
    title: str
    run: Callable[[Facts], Outcome]
    needs: tuple[str, ...] = ()
    seconds: float = CHECK_SECONDS


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    id: str
    title: str
    outcome: Outcome
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return a flat JSON object."""
        outcome = self.outcome
        return {
            "id": self.id,
            "title": self.title,
            "status": outcome.status,
            "summary": outcome.summary,
            "expected": outcome.expected,
            "evidence": list(outcome.evidence),
            "hint": outcome.hint,
            "fix": outcome.fix,
            "reference": outcome.reference,
            "seconds": round(self.seconds, 3),
        }


def run_checks(
    checks: Iterable[Check], facts: Facts, seconds: float = SECONDS
) -> Iterator[Finding]:
    """Run checks in order, each finding as soon as it is there, in at most `seconds` in all.

    A check that hangs (on a dead network folder, say) is left behind in its thread; programs it
    started are stopped at the end.
    """
    status: dict[str, str] = {}
    facts.deadline = time.monotonic() + seconds
    try:
        for check in checks:
            began = time.perf_counter()
            lame = [n for n in check.needs if status.get(n, "pass") in ("fail", "skip")]
            outcome = skipped(f"needs {', '.join(lame)}") if lame else _in_time(check, facts)
            status[check.id] = outcome.status
            yield Finding(check.id, check.title, outcome, time.perf_counter() - began)
    finally:
        stop_running()


def _in_time(check: Check, facts: Facts) -> Outcome:
    seconds = min(check.seconds, facts.seconds_left())
    if seconds <= 0:
        return skipped("no time was left for it", "run it alone: --check " + check.id)
    results: list[Outcome] = []
    thread = threading.Thread(target=lambda: results.append(_attempt(check, facts)), daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    return failed(
        f"it did not end within {seconds:.0f} s",
        expected="an answer within seconds",
        hint="something it looks at hangs: a folder on a dead network share, a program",
        fix=f"mojoaccel doctor --check {check.id}",
    )


def _attempt(check: Check, facts: Facts) -> Outcome:
    try:
        return check.run(facts)
    except MojoaccelError as e:
        first = e.diagnostics[0]
        known = find_symptom("\n".join((first.message, *first.notes)))
        return failed(
            f"{first.code} {first.message}",
            *first.notes,
            hint=known.cause if known else first.hint or CODES[first.code].hint,
            expected="no error",
            fix=known.fix if known else f"mojoaccel doctor --explain {first.code}",
            reference=(known and known.reference) or first.code,
        )
    except Exception as e:  # one broken check must not hide the others
        return failed(f"the check itself failed: {type(e).__name__}: {e}")


def exit_code(findings: Iterable[Finding], *, strict: bool = False) -> ExitCode:
    """Return 3 if anything failed, 1 if `strict` and anything was warned of, else 0."""
    statuses = {f.outcome.status for f in findings}
    if "fail" in statuses:
        return ExitCode.ENVIRONMENT
    return ExitCode.COMPILE_FAILED if strict and "warn" in statuses else ExitCode.OK


def said(finished: Finished) -> str:
    """Return a command that was run, its exit code and the last line of its output."""
    output = finished.stdout.strip() or finished.stderr.strip()
    how = "no answer, stopped" if finished.returncode is None else f"exit {finished.returncode}"
    line = output.splitlines()[-1] if output else "no output"
    ending = "" if finished.returncode is None and not output else f": {line}"
    return f"{shlex.join(finished.command)} -> {how}{ending}"
