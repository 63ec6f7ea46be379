"""The root error, and the diagnostic that every command renders. Codes are in `codes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mojoaccel.codes import CODES, ErrorInfo, ExitCode

__all__ = [
    "CODES", "Diagnostic", "ErrorInfo", "ExitCode", "MojoaccelError", "SourceLoc", "error",
    "gather",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceLoc:
    """A place in the user's PyTorch source.

    Attributes:
        file: Path as Python reported it.
        line: 1-based line number.
        function: Enclosing function, qualified where known (``Net.forward``).
        text: The source line, stripped; empty if unknown.
    """

    file: str
    line: int
    function: str = ""
    text: str = ""

    def __str__(self) -> str:
        """Return ``file:line in function``."""
        where = f"{self.file}:{self.line}"
        return f"{where} in {self.function}" if self.function else where

    def to_json(self) -> list[Any]:
        """Return the location as a JSON list."""
        return [self.file, self.line, self.function, self.text]

    @staticmethod
    def from_json(data: Sequence[Any] | None) -> SourceLoc | None:
        """Read what `to_json` wrote."""
        return None if data is None else SourceLoc(*data)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: the only thing the console renders and ``--json`` prints.

    Attributes:
        code: ``MAnnn``.
        message: One sentence without the code.
        severity: ``error`` | ``warning`` | ``note``.
        loc: Where in the user's source, if known.
        notes: Further facts, one line each.
        hint: What to do; empty falls back to the code's own hint.
    """

    code: str
    message: str
    severity: str = "error"
    loc: SourceLoc | None = None
    notes: tuple[str, ...] = ()
    hint: str = ""

    @property
    def name(self) -> str:
        """The code's short name, as in ``operator-not-supported``."""
        return CODES[self.code].name

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with every field."""
        return {
            "code": self.code,
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "location": None
            if self.loc is None
            else {
                "file": self.loc.file,
                "line": self.loc.line,
                "function": self.loc.function,
                "text": self.loc.text,
            },
            "notes": list(self.notes),
            "hint": self.hint or CODES[self.code].hint,
        }


def gather(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Say the same thing once, at its first place, with the number of calls."""
    counts = Counter((d.code, d.message) for d in diagnostics)
    found: dict[tuple[str, str], Diagnostic] = {}
    for one in diagnostics:
        found.setdefault((one.code, one.message), one)
    return [
        replace(d, message=f"{d.message} ({counts[key]} calls)") if counts[key] > 1 else d
        for key, d in found.items()
    ]


@dataclass
class MojoaccelError(Exception):
    """The root of every error mojoaccel raises on purpose.

    Attributes:
        diagnostics: What went wrong, all of it at once; the first one decides the exit code.
        details: Further facts for ``--json``.
        partial: The model as far as it could be traced; later stages may find more in it.
    """

    diagnostics: tuple[Diagnostic, ...]
    details: dict[str, Any] = field(default_factory=dict)
    partial: Any = None

    def __str__(self) -> str:
        """Return ``MAnnn name: message`` lines."""
        return "\n".join(f"{d.code} {d.name}: {d.message}" for d in self.diagnostics)

    @property
    def code(self) -> str:
        """Code of the first diagnostic."""
        return self.diagnostics[0].code

    @property
    def exit_code(self) -> ExitCode:
        """Exit code that belongs to the first diagnostic."""
        return CODES[self.code].exit_code


def error(
    code: str,
    message: str,
    *,
    loc: SourceLoc | None = None,
    notes: Sequence[str] = (),
    hint: str = "",
) -> MojoaccelError:
    """Build the exception for a single diagnostic (the caller raises it)."""
    return MojoaccelError((Diagnostic(code, message, "error", loc, tuple(notes), hint),))
