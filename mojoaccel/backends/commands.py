"""Runs mojoaccel's commands in processes of their own, from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from mojoaccel.log import log, log_command

LONGEST_LINE = 1 << 24
"""Bytes of a line that a command may print."""


async def start(*args: object) -> tuple[asyncio.subprocess.Process, asyncio.Task[str]]:
    """Start one of our commands in a process group of its own.

    Returns:
        The process, and what reads its stderr: the end of it is the result. What the command
        detects and runs is noted in this process's log, if that is shown.
    """
    line = [sys.executable, "-m", "mojoaccel", *(str(a) for a in args)]
    log_command(line)
    shown = log.isEnabledFor(logging.INFO)
    process = await asyncio.create_subprocess_exec(
        *line,
        *(["--verbose"] if shown else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=LONGEST_LINE,
    )
    assert process.stderr is not None
    return process, asyncio.create_task(_read_log(process.stderr))


async def _read_log(stream: asyncio.StreamReader) -> str:
    """Note each line; return the last ones."""
    last = b""
    async for line in stream:
        last = (last + line)[-2000:]
        log.info("%s", line.decode(errors="replace").rstrip().removeprefix(f"{log.name}: "))
    return last.decode(errors="replace").strip()


async def run_json(*args: object) -> dict[str, Any]:
    """Run a command with ``--json`` and return its document, of success or of failure.

    Cancelling this stops the command and whatever it started: the compiler, too.
    """
    process, log_end = await start(*args, "--json")
    assert process.stdout is not None
    try:
        out = await process.stdout.read()
        text = await log_end
        await process.wait()
    except asyncio.CancelledError:
        await stop(process)
        log_end.cancel()
        raise
    try:
        document: dict[str, Any] = json.loads(out)
    except json.JSONDecodeError:
        message = text or f"exit {process.returncode}"
        document = {"ok": False, "diagnostics": [{"code": "MA999", "message": message}]}
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
