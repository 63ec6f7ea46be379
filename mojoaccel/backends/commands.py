"""Runs mojoaccel's commands in processes of their own, from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any

log = logging.getLogger("mojoaccel")


def command_line(*args: object) -> list[str]:
    """Return the command line of one of our commands."""
    return [sys.executable, "-m", "mojoaccel", *(str(a) for a in args)]


async def run_json(*args: object) -> dict[str, Any]:
    """Run a command with ``--json`` and return its document, of success or of failure.

    Cancelling this stops the command and whatever it started: the compiler, too.
    """
    line = command_line(*args, "--json")
    log.info("%s", shlex.join(line))
    process = await asyncio.create_subprocess_exec(
        *line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        await stop(process)
        raise
    try:
        document: dict[str, Any] = json.loads(out)
    except json.JSONDecodeError:
        text = err.decode(errors="replace").strip() or f"exit {process.returncode}"
        document = {"ok": False, "diagnostics": [{"code": "MA999", "message": text[-2000:]}]}
    log.info("exit %s", process.returncode)
    return document


async def stop(process: asyncio.subprocess.Process, grace: float = 5.0) -> None:
    """End a command and everything it started: first kindly, so that it cleans up."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
            break
    with contextlib.suppress(ProcessLookupError):  # children that outlived it
        os.killpg(process.pid, signal.SIGKILL)


def failure_text(document: dict[str, Any]) -> str:
    """Return what a failed command says, one line a diagnostic."""
    found: Sequence[dict[str, Any]] = document.get("diagnostics") or []
    return "\n".join(f"{d['code']}: {d['message']}" for d in found) or "unknown failure"
