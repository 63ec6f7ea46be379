"""A session whose model MAX runs, in a process of its own (see `max_model` for why)."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.manifest import Manifest
from mojoaccel.errors import error
from mojoaccel.log import log_command
from mojoaccel.paths import cache_root
from mojoaccel.runtime.max_model import require_max
from mojoaccel.runtime.max_process import arrays_at, place
from mojoaccel.runtime.session import Session, Snapshot
from mojoaccel.runtime.sizes import evaluate
from mojoaccel.runtime.tensors import as_array, as_tensor, storage_kind


class MaxSession(Session):
    """A session of an artifact that ``compile --engine max`` made.

    Attributes:
        threads: Threads that MAX computes with: at most one a processor that can be used here.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        """Start the process and load the model.

        Raises:
            MojoaccelError: MA106 MAX is missing or of another release, MA703 it cannot load.
        """
        require_max(manifest)
        self._describe(folder, manifest)
        self._memory: Any = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the session
        self._shared = os.memfd_create("mojoaccel-max", os.MFD_CLOEXEC)
        theirs_in, self._requests = os.pipe()
        self._replies, theirs_out = os.pipe()
        passed = (self._shared, theirs_in, theirs_out)
        command = [sys.executable, "-m", "mojoaccel.runtime.max_process", str(folder)]
        command += [str(n) for n in (threads, *passed)]
        log_command(command)
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=passed,
            env={"MODULAR_CACHE_DIR": str(cache_root() / "max"), **os.environ},
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._answers = os.fdopen(self._replies, encoding="utf-8")
        try:
            self.threads = int(self._reply()["threads"])
        except BaseException:
            self.close()
            raise

    def _run(self, values: Sequence[Any], tensors: bool) -> list[Any]:
        """Run on flattened inputs; return arrays or torch tensors."""
        arrays = [as_array(v) for v in values]
        shapes = [a.shape for a, _ in arrays]
        dims = self._layouts.check(shapes, [name for _, name in arrays])
        outputs = self.manifest.outputs
        made = [tuple(evaluate(s, dims) for s in o.shape) for o in outputs]
        given, end = place([(a.dtype.str, a.shape) for a, _ in arrays])
        kinds = [storage_kind(o.dtype).str for o in outputs]
        taken, size = place(list(zip(kinds, made, strict=True)), end)
        with self._lock:
            memory = self._room(max(size, 1))
            for target, (source, _) in zip(arrays_at(memory, given), arrays, strict=True):
                np.copyto(target, source)
            self._ask({"inputs": given, "outputs": taken, "size": len(memory)})
            results = [r.copy() for r in arrays_at(memory, taken)]
        if not tensors:
            return results
        return [as_tensor(r, o.dtype) for r, o in zip(results, outputs, strict=True)]

    def _room(self, size: int) -> Any:
        """Return the shared memory, enlarged if it is too small."""
        if self._process is None:
            raise error("MA704", "the session is closed")
        if self._memory is None or len(self._memory) < size:
            whole = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            os.ftruncate(self._shared, whole)
            self._memory = mmap.mmap(self._shared, whole)
        return self._memory

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            os.write(self._requests, (json.dumps(request) + "\n").encode())
        except OSError as e:
            raise error("MA703", "MAX's process ended", notes=self._last_lines()) from e
        self._reply()

    def _reply(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise error("MA703", "MAX's process ended", notes=self._last_lines())
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise error(reply["code"], reply["failed"].splitlines()[0], hint=reply["hint"])
        return reply

    def _last_lines(self) -> list[str]:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip().splitlines()[-5:]

    def reset(self) -> None:
        """Do nothing: a model that MAX runs keeps no state."""

    def snapshot(self) -> Snapshot:
        """Return a snapshot without states."""
        return Snapshot(self._identity(), ())

    def restore(self, snapshot: Snapshot) -> None:
        """Check that the snapshot is of this model.

        Raises:
            MojoaccelError: MA706, it is another model's.
        """
        if snapshot.model != self._identity():
            raise error("MA706", "the snapshot was taken of another model")

    def profile(self) -> list[int]:
        """Return nothing: MAX's kernels are not timed one by one."""
        return []

    def close(self) -> None:
        """End the process; a second call does nothing."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            os.close(self._requests)  # it ends when it reads that
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._answers.close()
            os.close(self._shared)
            self._log.close()

    def __del__(self) -> None:
        """End the process when the session is forgotten."""
        if getattr(self, "_process", None) is not None:
            self.close()
