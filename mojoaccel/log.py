"""The package's log, ``mojoaccel``: what was detected, and every command that is run."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable

log = logging.getLogger("mojoaccel")


def log_command(command: Iterable[object]) -> None:
    """Note a command that is about to be run."""
    if log.isEnabledFor(logging.INFO):
        log.info("runs %s", shlex.join(str(word) for word in command))


def log_to_stderr() -> None:
    """Show everything that is noted, as ``--verbose`` asks; a second call does nothing."""
    if log.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
