"""The parent's side of a worker process: start it, ask it, pause it, end it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mojoaccel.bench.machine import process_seconds
from mojoaccel.log import log_command

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerFailed(Exception):
    """A worker could not do what it was asked.

    Attributes:
        code: Error code of ours, if it was one.
    """

    def __init__(self, message: str, code: str = "") -> None:
        """Keep the message's first line."""
        super().__init__(message)
        self.code = code


class WorkerProcess:
    """One worker.

    Attributes:
        started: When it was started, on the monotonic clock.
    """

    def __init__(self, folder: Path, threads: int, log: Path) -> None:
        """Start the process; what it prints goes to `log`."""
        their_end, self._requests = os.pipe()
        self._replies, their_out = os.pipe()
        self._log = log
        self._pending = b""
        self._paused = False
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
        command = [sys.executable, "-m", "mojoaccel.bench.worker"]
        command += [str(their_end), str(their_out), str(folder)]
        log_command(command)
        with log.open("ab") as output:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(their_end, their_out),
                env=environment,
                start_new_session=True,
            )
        os.close(their_end)
        os.close(their_out)

    def ask(self, do: str, timeout: float, **request: Any) -> Mapping[str, Any]:
        """Send a request and wait for its reply.

        Raises:
            WorkerFailed: It failed, died, or did not answer within `timeout` seconds.
        """
        self._resume()
        line = json.dumps({"do": do, **request}) + "\n"
        try:
            os.write(self._requests, line.encode())
        except OSError:
            raise WorkerFailed(self._epitaph()) from None
        reply: dict[str, Any] = json.loads(self._read_line(timeout))
        if "failed" in reply:
            raise WorkerFailed(reply["failed"], reply["code"])
        if reply.get("quiet") is False:
            # Its threads go on spinning: they would take the others' turns.
            self._pause()
        return reply

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        return process_seconds(self._process.pid)

    def close(self) -> None:
        """End the process in good order."""
        with suppress(WorkerFailed):
            self.ask("close", 5.0)
        self.kill()

    def kill(self) -> None:
        """End the process and what it started; a second call does nothing."""
        self._kill()
        for end in (self._requests, self._replies):
            with suppress(OSError):
                os.close(end)
        self._requests = self._replies = -1

    def _read_line(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._kill()
                    raise WorkerFailed(f"stopped after {timeout:.0f} s")
                part = os.read(self._replies, 1 << 16)
                if not part:
                    raise WorkerFailed(self._epitaph())
                self._pending += part
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _kill(self) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _pause(self) -> None:
        self._paused = True
        os.killpg(self._process.pid, signal.SIGSTOP)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGCONT)

    def _epitaph(self) -> str:
        """Say how the process ended, with the last line it printed."""
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"process ended with {how}" + (f": {lines[-1].strip()}" if lines else "")
