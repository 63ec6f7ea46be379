"""`mojo format` without the detour: its formatter, mblack, comes with the development extra.

The compiler's own wheel has no formatter, so formatting is never part of a compile; emitted code
is printed in the formatter's style, and tests compare.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mojoaccel.environment import environment
from mojoaccel.errors import error
from mojoaccel.toolchain.mojo import run

SECONDS = 60.0


def find_formatter() -> Path | None:
    """Return mblack: of this environment, else of PATH, else None."""
    own = Path(sys.prefix) / "bin" / "mblack"
    if own.is_file():
        return own
    found = shutil.which("mblack", path=environment("PATH"))
    return Path(found) if found else None


def unformatted(files: list[Path], formatter: Path) -> list[str]:
    """Return the names, as the formatter prints them, of files it would change.

    Raises:
        MojoaccelError: MA208, a file is not Mojo that can be formatted.
    """
    command = [str(formatter), "--check", "-t", "mojo", *(str(f) for f in files)]
    done = run(command, dict(os.environ), timeout=SECONDS)
    if done.returncode not in (0, 1):
        raise error("MA208", "mojo format failed", notes=done.stderr.splitlines()[-5:])
    start = "would reformat "
    return [line.removeprefix(start) for line in done.stderr.splitlines() if line.startswith(start)]
