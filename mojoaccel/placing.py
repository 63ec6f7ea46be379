"""Puts results at their final place: whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mojoaccel.artifact.copying import copy_file, copy_folder
from mojoaccel.errors import error


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn a failure to write into an error that names the place.

    Raises:
        MojoaccelError: MA603, a file could not be written.
    """
    try:
        yield
    except shutil.Error as e:  # copytree lists every file; they share a reason
        reason = str(e.args[0][0][2]).partition(":")[0] if e.args and e.args[0] else str(e)
        raise error("MA603", f"{place} cannot be written: {reason}") from e
    except OSError as e:
        raise error("MA603", f"{place} cannot be written: {e.strerror or e}") from e


def place(final: Path, make: Callable[[Path], object]) -> None:
    """Make an artifact (folder or zip) beside `final` and move it there: whole or not at all.

    What stood there before is replaced in the same moment.

    Args:
        final: Where it shall stand.
        make: Writes it at the path it is given.

    Raises:
        MojoaccelError: MA603, the place cannot be written, or holds something that is not an
            artifact.
    """
    if final.is_dir() and not (final / "manifest.json").is_file() and any(final.iterdir()):
        raise error("MA603", f"{final} exists and is not an artifact; it is left alone")
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            make(draft / "new")
            _replace(draft / "new", final, draft / "old")
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def place_folder(source: Path, final: Path) -> None:
    """Copy an artifact (folder or zip) to `final`: whole or not at all.

    Raises:
        MojoaccelError: As `place`.
    """
    place(final, lambda new: _copy(source, new))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        copy_folder(source, target)
    else:
        copy_file(source, target)


def _replace(new: Path, final: Path, old: Path) -> None:
    """Move `new` to `final`, and what stood there to `old`."""
    if not final.exists() or not (final.is_dir() or new.is_dir()):
        os.replace(new, final)
        return
    if _exchange(new, final):
        return
    os.replace(final, old)
    try:
        os.replace(new, final)
    except BaseException:
        os.replace(old, final)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def check_file(path: Path) -> None:
    """Try whether a file could be written at `path`, before work that takes a while.

    Raises:
        MojoaccelError: MA603, it is a folder, or its folder cannot be written.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()


def write_text(path: Path, text: str) -> None:
    """Write a text file: whole or not at all.

    Raises:
        MojoaccelError: MA603, the file cannot be written.
    """
    draft = path.parent / f".{path.name}-{os.getpid()}"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


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
