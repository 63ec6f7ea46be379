"""What a check is, what it finds, and how checks are run.

Ids are stable (``group.name``): scripts and issues refer to them. Nothing here prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from mojoaccel.errors import CODES, ExitCode, MojoaccelError
from mojoaccel.products import Target
from mojoaccel.targets.probe import Machine, detect, probe
from mojoaccel.toolchain.mojo import MojoCompiler, find_compiler

STATUSES = ("pass", "warn", "fail", "skip")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found.

    Attributes:
        status: ``pass`` | ``warn`` (works, but not as well as it could) | ``fail`` (compiling or
            running will not work) | ``skip`` (nothing to check here).
        summary: One sentence.
        evidence: What was seen: paths, versions, messages.
        hint: What to do.
    """

    status: str
    summary: str
    evidence: tuple[str, ...] = ()
    hint: str = ""


def passed(summary: str, *evidence: str) -> Outcome:
    """Return a good outcome."""
    return Outcome("pass", summary, evidence)


def warned(summary: str, *evidence: str, hint: str = "") -> Outcome:
    """Return an outcome that costs something but stops nothing."""
    return Outcome("warn", summary, evidence, hint)


def failed(summary: str, *evidence: str, hint: str = "") -> Outcome:
    """Return an outcome that stops compiling or running."""
    return Outcome("fail", summary, evidence, hint)


def skipped(summary: str, *evidence: str) -> Outcome:
    """Return the outcome of a check that does not apply."""
    return Outcome("skip", summary, evidence)


class Facts:
    """What several checks look at, found out when first needed."""

    def __init__(self, mojo: str | None = None) -> None:
        """Keep the path of a compiler chosen by hand."""
        self.mojo = mojo

    @cached_property
    def compiler(self) -> MojoCompiler:
        """The compiler.

        Raises:
            MojoaccelError: MA101..MA103, there is none that fits.
        """
        return find_compiler(self.mojo)

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
    """

    id: str
    title: str
    run: Callable[[Facts], Outcome]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    id: str
    title: str
    outcome: Outcome
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return a flat JSON object."""
        rest = asdict(self.outcome)
        return {"id": self.id, "title": self.title, **rest, "seconds": round(self.seconds, 3)}


def run_checks(checks: Iterable[Check], facts: Facts) -> Iterator[Finding]:
    """Run checks in order, each finding as soon as it is there."""
    status: dict[str, str] = {}
    for check in checks:
        began = time.perf_counter()
        lame = [n for n in check.needs if status.get(n, "pass") in ("fail", "skip")]
        outcome = skipped(f"needs {', '.join(lame)}") if lame else _attempt(check, facts)
        status[check.id] = outcome.status
        yield Finding(check.id, check.title, outcome, time.perf_counter() - began)


def _attempt(check: Check, facts: Facts) -> Outcome:
    try:
        return check.run(facts)
    except MojoaccelError as e:
        first = e.diagnostics[0]
        hint = first.hint or CODES[first.code].hint
        return failed(f"{first.code} {first.message}", *first.notes, hint=hint)
    except Exception as e:  # one broken check must not hide the others
        return failed(f"the check itself failed: {type(e).__name__}: {e}")


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """Return 3 if anything failed, else 0: warnings are for people."""
    if any(f.outcome.status == "fail" for f in findings):
        return ExitCode.ENVIRONMENT
    return ExitCode.OK
