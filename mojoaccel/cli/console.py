"""Everything that reaches the terminal; the only module that touches Rich.

Data goes to stdout, everything else to stderr. Without a terminal on stderr, with ``NO_COLOR`` or
``TERM=dumb`` the text is plain and nothing spins, so tests and logs see exactly the same lines;
Rich is then not even imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mojoaccel.environment import environment
from mojoaccel.errors import CODES, Diagnostic, MojoaccelError

SCHEMA_VERSION = 1
_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


class Console:
    """Prints for one command.

    Attributes:
        json: Print one JSON document at the end and no progress.
        verbose: Show tracebacks, what is detected, and every command that is run.
    """

    def __init__(self, *, json: bool = False, verbose: bool = False) -> None:
        """Decide once whether this is a terminal with colour."""
        self.json = json
        self.verbose = verbose
        dumb = environment("TERM") == "dumb"
        self.terminal = sys.stderr.isatty() and not dumb
        self.color = self.terminal and not environment("NO_COLOR")
        self._rich: Any = None
        if verbose:
            from mojoaccel.log import log_to_stderr

            log_to_stderr()

    def say(self, text: str, style: str = "") -> None:
        """Print a line for people, on stderr."""
        if self.color and style:
            from rich.text import Text

            self._get_rich().print(Text(text, style), soft_wrap=True, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def data(self, text: str) -> None:
        """Print a result, on stdout."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

    def document(self, command: str, content: Mapping[str, Any]) -> None:
        """Print the one JSON document of a command, on stdout."""
        head = {"schema_version": SCHEMA_VERSION, "command": command}
        self.data(json.dumps({**head, **content}, indent=2, default=str))

    def diagnostic(self, found: Diagnostic) -> None:
        """Print a diagnostic with its place, notes and hint."""
        head, *rest = diagnostic_lines(found)
        label, _, message = head.partition(" ")
        if self.color:
            from rich.text import Text

            line = Text.assemble((label, _STYLES[found.severity]), " ", (message, "bold"))
            self._get_rich().print(line, soft_wrap=True, highlight=False)
        else:
            self.say(head)
        for line_text in rest:
            self.say(line_text, "dim" if line_text.startswith("   |") else "")

    def failure(self, command: str, error: MojoaccelError) -> None:
        """Report an error: every diagnostic on stderr, or one JSON document on stdout."""
        if self.json:
            found = [d.to_json() for d in error.diagnostics]
            self.document(command, {"ok": False, "diagnostics": found, **error.details})
            return
        for diagnostic in error.diagnostics:
            self.diagnostic(diagnostic)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
        """Print a table of data, on stdout.

        Args:
            header: Column titles.
            rows: Cells.
            right: One letter a column: ``r`` aligns right, anything else left.
        """
        self.data("\n".join(table_lines(header, rows, right)))

    @contextmanager
    def working(self) -> Iterator[Callable[[str], None]]:
        """Show a spinner while something runs, where there is a terminal to show it on.

        Yields:
            A function that changes the text beside the spinner.
        """
        if not self.color or self.json:
            yield lambda text: None
            return
        with self._get_rich().status("", spinner="dots") as status:
            yield status.update

    def _get_rich(self) -> Any:
        if self._rich is None:
            from rich.console import Console as RichConsole

            self._rich = RichConsole(stderr=True)
        return self._rich


def diagnostic_lines(found: Diagnostic) -> list[str]:
    """Return a diagnostic as plain lines."""
    first, *more = found.message.splitlines() or [""]
    lines = [f"{found.severity}[{found.code}] {found.name}: {first}"]
    lines += [f"  {line}" for line in more]
    if found.loc is not None:
        lines.append(f"  --> {_relative(str(found.loc))}")
        if found.loc.text:
            lines.append(f"   |  {found.loc.text.strip()}")
    lines += [f"  note: {line}" for note in found.notes for line in note.splitlines()]
    hint = found.hint or CODES[found.code].hint
    if hint:
        lines.append(f"  hint: {hint}")
    return lines


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Return a table as lines, columns aligned and two spaces apart."""
    cells = [list(header), *(list(r) for r in rows)]
    widths = [max(len(row[c]) for row in cells) for c in range(len(header))]
    sides = right.ljust(len(header))
    return [
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in cells
    ]


def format_bytes(size: int) -> str:
    """Print a size in decimal units: ``90.2 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def _relative(place: str) -> str:
    """Shorten a path below this folder."""
    here = str(Path.cwd()) + "/"
    return place.removeprefix(here)
