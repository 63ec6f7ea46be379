"""Notices that the files of a loaded artifact are written to, before that can do harm.

The files are mapped, so who writes into them changes the model while it runs, and who truncates
them ends the process. A read lease (`fcntl(2)`) makes the kernel hold such a writer up until the
model is unloaded, at most for ``/proc/sys/fs/lease-break-time`` (45 s); replacing files by renaming
others over them harms nobody and is not held up. Where a lease is not to be had, on network file
systems or for files of another user, a change is noticed once it has happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

State = tuple[int, int]


class Hold:
    """Files that are held as they are."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Open the files; one that cannot be opened is left to whoever loads it."""
        self._states: dict[int, State] = {}
        self._leases: set[int] = set()
        for file in files:
            with contextlib.suppress(OSError):
                descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
                self._states[descriptor] = _state(descriptor)
                if _lease(descriptor):
                    self._leases.add(descriptor)

    @property
    def leased(self) -> bool:
        """Whether writers wait, whichever file it is."""
        return self._leases == self._states.keys()

    @property
    def broken(self) -> bool:
        """Whether somebody writes to the files, or did."""
        try:
            return any(
                (d in self._leases and _is_asked_back(d)) or _state(d) != state
                for d, state in self._states.items()
            )
        except OSError:  # a network file system has lost them
            return True

    def release(self) -> None:
        """Let writers go on; a second call does nothing."""
        self._leases.clear()
        while self._states:
            os.close(self._states.popitem()[0])


def _state(descriptor: int) -> State:
    stat = os.fstat(descriptor)
    return stat.st_size, stat.st_mtime_ns


if sys.platform == "linux":
    import fcntl

    def _lease(descriptor: int) -> bool:
        """Take a read lease; return whether there is one."""
        try:
            # What the kernel sends when a writer comes would end the process; this is ignored.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:
            return False
        return True

    def _is_asked_back(descriptor: int) -> bool:
        return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK

else:

    def _lease(descriptor: int) -> bool:
        return False

    def _is_asked_back(descriptor: int) -> bool:
        return False
