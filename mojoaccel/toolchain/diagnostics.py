"""Reads the compiler's JSON diagnostics and maps them to the user's PyTorch lines."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mojoaccel.errors import MojoaccelError, SourceLoc, error
from mojoaccel.products import MojoSource

MODULE = "model.mojo"
SHOWN = 5
"""Errors that a report lists; the log has all of them."""

_STEPS = ("function instantiation failed", "call expansion failed")
"""How the compiler introduces the steps to a failed constraint; none of them is the reason."""


_PLAIN = re.compile(r"([^\s:{]+):(\d+):\d+: (error|warning|note): (.+)")


@dataclass(frozen=True, slots=True)
class MojoMessage:
    """One message of the compiler.

    Attributes:
        kind: ``error`` | ``warning`` | ``note``; notes explain the error before them.
        text: The message.
        file: Name of the source file without folders; empty for the closing summary.
        line: 1-based line; 0 if unknown.
        code: The source line.
    """

    kind: str
    text: str
    file: str = ""
    line: int = 0
    code: str = ""

    def __str__(self) -> str:
        """Return ``file:line: text``."""
        return f"{self.file}:{self.line}: {self.text}" if self.file else self.text


def parse(stream: str) -> list[MojoMessage]:
    """Read ``--diagnostic-format json`` output: one object a line.

    Notes on precompiled code, the standard library's, come as ``file:line:column: note: text``
    all the same; other lines are ignored.
    """
    found = []
    for line in stream.splitlines():
        plain = _PLAIN.fullmatch(line)
        if plain:
            found.append(MojoMessage(plain[3], plain[4], Path(plain[1]).name, int(plain[2])))
            continue
        try:
            data = json.loads(line) if line.startswith("{") else None
        except ValueError:
            continue
        if isinstance(data, dict) and "message" in data:
            found.append(_message(data))
    return found


def _message(data: dict[str, Any]) -> MojoMessage:
    place = data.get("diagnostic") or {}
    return MojoMessage(
        str(data.get("kind", "error")),
        str(data["message"]),
        Path(str(place.get("file", ""))).name,
        int((place.get("location") or {}).get("line", 0)),
        str(place.get("text", "")).strip(),
    )


def failures(messages: list[MojoMessage]) -> list[tuple[MojoMessage, ...]]:
    """Return each error with the notes that follow it; the closing summary only if alone."""
    groups: list[list[MojoMessage]] = []
    open_group: list[MojoMessage] | None = None
    for message in messages:
        if message.kind == "error":
            open_group = [message]
            groups.append(open_group)
        elif message.kind == "note" and open_group is not None:
            open_group.append(message)
        else:
            open_group = None
    placed = [group for group in groups if group[0].file]
    return [tuple(group) for group in placed or groups]


def reason(group: tuple[MojoMessage, ...]) -> MojoMessage:
    """Return the message that says what is wrong.

    Failures of elaboration go from the outside in: their last note names the failed constraint.
    """
    if group[0].text.startswith(_STEPS):
        return group[-1]
    return group[0]


def origin_of(source: MojoSource, group: tuple[MojoMessage, ...]) -> SourceLoc | None:
    """Return the PyTorch line behind an error: of the innermost place in the emitted module."""
    inner = next((m for m in reversed(group) if m.file == MODULE and m.line), None)
    return None if inner is None else python_line(source, inner.line)


def python_line(source: MojoSource, line: int) -> SourceLoc | None:
    """Return the PyTorch line behind a line of model.mojo (the nearest one above it)."""
    lines = [number for number, _ in source.line_map]
    index = bisect_right(lines, line) - 1
    return source.line_map[index][1] if index >= 0 else None


def build_error(source: MojoSource, stream: str, tail: list[str]) -> MojoaccelError:
    """Turn the output of a failed build into a diagnostic with the PyTorch line.

    Args:
        source: What was built.
        stream: The compiler's output.
        tail: Notes to end with: where the log is, what the command was.
    """
    groups = failures(parse(stream))
    if not groups:
        said = stream.strip().splitlines()[-SHOWN:] or ["it printed nothing"]
        return error("MA501", "mojo build failed", notes=[*said, *tail])
    notes: list[str] = []
    for group in groups[:SHOWN]:
        why = reason(group)
        notes.append(f"{why}: {why.code}" if why.code else str(why))
        calls = [m for m in group if m.file == MODULE and m.text.startswith("call expansion")]
        notes += [f"  called from {m.file}:{m.line}: {m.code}" for m in calls[-1:]]
    if len(groups) > SHOWN:
        notes.append(f"and {len(groups) - SHOWN} more errors")
    loc = next((place for g in groups if (place := origin_of(source, g)) is not None), None)
    summary = f"mojo build failed: {reason(groups[0]).text}"
    return error("MA501", summary, loc=loc, notes=[*notes, *tail])
