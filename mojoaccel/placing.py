"""Puts results at their final place: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mojoaccel.errors import error


def place_folder(source: Path, final: Path) -> None:
    """Copy an artifact (folder or zip) to `final`: whole or not at all.

    What stood there before is replaced in the same moment.

    Raises:
        MojoaccelError: MA603, the place cannot be written, or holds something that is not an
            artifact.
    """
    if final.is_dir() and not (final / "manifest.json").is_file() and any(final.iterdir()):
        raise error("MA603", f"{final} exists and is not an artifact; it is left alone")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            fresh = draft / "new"
            if source.is_dir():
                shutil.copytree(source, fresh)
            else:
                shutil.copyfile(source, fresh)
            if final.is_dir():
                os.replace(final, draft / "old")
            os.replace(fresh, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as e:
        raise error("MA603", f"{final} cannot be written: {e.strerror or e}") from e


def write_text(path: Path, text: str) -> None:
    """Write a text file: whole or not at all.

    Raises:
        MojoaccelError: MA603, the file cannot be written.
    """
    draft = path.parent / f".{path.name}-{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as e:
        raise error("MA603", f"{path} cannot be written: {e.strerror or e}") from e


def depfile_rule(target: Path, sources: Sequence[Path]) -> str:
    """Return a make rule ``target: sources``, with a phony rule for each source.

    The phony rules keep make going when a source is deleted (as ``gcc -MP`` does).
    """
    names = [_escape(s) for s in sources]
    rule = f"{_escape(target)}:" + "".join(f" \\\n  {n}" for n in names) + "\n"
    return rule + "".join(f"\n{n}:\n" for n in names)


def _escape(path: Path) -> str:
    """Quote what make would take apart."""
    text = str(path).replace("$", "$$")
    for char in " #":
        text = text.replace(char, "\\" + char)
    return text
