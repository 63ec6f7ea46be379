"""Reads the compiler's JSON diagnostics and maps them to the user's PyTorch lines."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from mojoaccel.errors import Diagnostic, MojoaccelError, SourceLoc
from mojoaccel.products import MojoSource


@dataclass(frozen=True, slots=True)
class MojoMessage:
    """One message of the compiler."""

    severity: str
    text: str
    file: str
    line: int


def parse(stream: str) -> list[MojoMessage]:
    """Read ``--diagnostic-format json`` output: one object a line, other lines ignored."""
    found = []
    for line in stream.splitlines():
        if not line.startswith("{"):
            continue
        try:
            data = json.loads(line)
        except ValueError:
            continue
        place = data.get("location") or data
        found.append(
            MojoMessage(
                str(data.get("severity") or data.get("kind") or data.get("level") or "error"),
                str(data.get("message") or data.get("text") or ""),
                str(place.get("file") or place.get("filename") or ""),
                int(place.get("line") or 0),
            )
        )
    return found


def origin_of(source: MojoSource, line: int) -> SourceLoc | None:
    """Return the PyTorch line behind a line of model.mojo (the nearest one above it)."""
    lines = [number for number, _ in source.line_map]
    index = bisect_right(lines, line) - 1
    return source.line_map[index][1] if index >= 0 else None


def build_error(
    code: str, summary: str, source: MojoSource, stream: str, kept: Path, command: str
) -> MojoaccelError:
    """Turn a failed build into a diagnostic with the PyTorch line."""
    messages = [m for m in parse(stream) if m.text]
    errors = [m for m in messages if m.severity == "error"]
    # Elaboration errors go from the outside in: the last note names the failed constraint.
    last = next((m for m in reversed(messages) if m.severity == "note"), None)
    notes = [f"{Path(m.file).name}:{m.line}: {m.text}" for m in errors[:5]]
    if last is not None:
        notes.append(f"note: {last.text}")
    if not messages:
        notes.extend(stream.strip().splitlines()[-5:])
    notes.extend([f"source, command and log are in {kept}", f"command: {command}"])
    own = next((m for m in messages if m.file.endswith("model.mojo")), None)
    loc = origin_of(source, own.line) if own is not None else None
    return MojoaccelError((Diagnostic(code, summary, "error", loc, tuple(notes)),))
