"""Asks an outside program: without standard input, never longer than a few seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mojoaccel.errors import MojoaccelError
from mojoaccel.toolchain.mojo import Finished, run

SECONDS = 5.0


def ask_program(command: Sequence[str], seconds: float = SECONDS) -> str | None:
    """Return what a program prints; None if it cannot be started, fails or does not end."""
    done = started(command, seconds)
    return done.stdout if done is not None and done.returncode == 0 else None


def started(command: Sequence[str], seconds: float = SECONDS) -> Finished | None:
    """Return a program as it ended, whatever its status; None if it cannot be started."""
    try:
        return run(command, os.environ, timeout=seconds)
    except MojoaccelError:
        return None
