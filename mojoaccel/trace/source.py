"""Finds the user's source line behind an FX node or a traceback."""

from __future__ import annotations

import linecache
import os
import re
import traceback
from types import TracebackType
from typing import Any

from mojoaccel.errors import SourceLoc

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_FOREIGN = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}", "<")


def is_user_file(path: str) -> bool:
    """Whether a file belongs to the user rather than to an installed package."""
    return not any(part in path for part in _FOREIGN) and f"{os.sep}lib{os.sep}python" not in path


def source_of(fx: Any) -> SourceLoc | None:
    """Return the line a node came from.

    It is the innermost line of the user's own files, else the innermost line outside torch.
    """
    frames = _FRAME.findall(fx.meta.get("stack_trace") or "")
    own = [f for f in frames if is_user_file(f[0])]
    outside = [f for f in frames if f"{os.sep}torch{os.sep}" not in f[0]]
    chosen = (own or outside or frames)[-1:] or None
    if chosen is None:
        return None
    file, line, function = chosen[0]
    return SourceLoc(
        short_path(file), int(line), function, linecache.getline(file, int(line)).strip()
    )


def short_path(path: str) -> str:
    """Return a path that does not depend on the machine: from the package or the folder's name.

    Sources and artifacts made from the same model in another folder must be equal.
    """
    for part in _FOREIGN[:2]:
        if part in path:
            return path.rsplit(part, maxsplit=1)[-1]
    return os.path.basename(path)


def error_location(error: BaseException) -> SourceLoc | None:
    """Return the innermost line of the user's own files in an exception's traceback."""
    if isinstance(error, SyntaxError) and error.filename and is_user_file(error.filename):
        text = (error.text or "").strip()
        return SourceLoc(error.filename, error.lineno or 0, "<module>", text)
    found = None
    trace: TracebackType | None = error.__traceback__
    for frame in traceback.extract_tb(trace):
        if is_user_file(frame.filename) and f"{os.sep}mojoaccel{os.sep}" not in frame.filename:
            found = frame
    if found is None:
        match = [f for f in _FRAME.findall(str(error)) if is_user_file(f[0])]
        if not match:
            return None
        file, line, function = match[-1]
        return SourceLoc(file, int(line), function, linecache.getline(file, int(line)).strip())
    return SourceLoc(found.filename, found.lineno or 0, found.name, (found.line or "").strip())
