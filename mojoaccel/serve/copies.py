"""Private copies of artifacts, which nobody can change while they run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from mojoaccel.artifact.copying import copy_folder
from mojoaccel.errors import error

PREFIX = "mojoaccel-serve-"
LOCK = "lock"
"""File in the folder of the copies that is locked as long as its server lives."""
YOUNG = 60.0
"""Seconds in which a folder may not have been locked yet."""


class Copies:
    """The copies of one server, in a folder that is made for the first of them."""

    def __init__(self) -> None:
        """Start with none."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = -1

    def add(self, path: Path) -> Path:
        """Copy what is mapped of an artifact; return where.

        Raises:
            MojoaccelError: MA601, it cannot be read.
        """
        target = Path(tempfile.mkdtemp(dir=self._place()))
        skipped = shutil.ignore_patterns("check", "mojo", "include")
        try:
            copy_folder(path, target, skipped)
        except (OSError, shutil.Error) as e:
            shutil.rmtree(target, ignore_errors=True)
            raise error("MA601", f"{path.name} cannot be read: {e}") from e
        return target

    def drop(self, path: Path) -> None:
        """Remove a copy; what is none stays."""
        if self._folder is not None and path.parent == Path(self._folder.name):
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        if self._folder is not None:
            self._folder.cleanup()
            os.close(self._lock)
            self._folder = None

    def _place(self) -> str:
        if self._folder is None:
            remove_abandoned()
            self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
            lock = Path(self._folder.name) / LOCK
            self._lock = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._folder.name


def remove_abandoned() -> None:
    """Remove the copies of servers that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or its server lives
            if time.time() - folder.stat().st_mtime < YOUNG:
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
