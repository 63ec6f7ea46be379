"""A loaded artifact, ready to run.

`load` checks format, processor and hashes before any native code is touched. Weights are mapped,
not read, and shared by every session on the machine; arena, threads and states belong to one
session. A session may be used from several threads: runs take turns.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.archive import open_folder
from mojoaccel.artifact.hashing import file_digest, remembered_digest
from mojoaccel.artifact.host import architecture, system, usable_flags, usable_processors
from mojoaccel.artifact.manifest import Manifest, read_manifest
from mojoaccel.errors import error
from mojoaccel.paths import cache_root
from mojoaccel.runtime.call import Layouts, fill
from mojoaccel.runtime.native import Library
from mojoaccel.runtime.structure import flatten_call, plain_arguments, rebuild
from mojoaccel.runtime.tensors import Array, is_torch, new_array, new_tensor, read_operand

SMALL = 1 << 20
"""Files below this many bytes are hashed faster than a remembered hash is found."""


def load(path: str | Path, threads: int | None = None) -> Session:
    """Load an artifact.

    Args:
        path: The ``.maccel`` folder or its archive.
        threads: Threads to run on; the artifact's default if None. Where that is 0, one per
            processor that affinity and the control group's quota leave to this process.

    Raises:
        MojoaccelError: MA601 damaged or no artifact, MA604 another format, MA701 the processor
            lacks features, MA705 another platform, MA106 it runs on MAX, which is missing.
    """
    folder = open_folder(Path(path), cache_root() / "unpacked")
    manifest = read_manifest(folder)
    check_platform(manifest)
    check_files(folder, manifest)
    count = manifest.threads if threads is None else threads
    count = count if count > 0 else usable_processors()
    if manifest.engine == "max":
        from mojoaccel.runtime.max_session import MaxSession

        return MaxSession(folder, manifest, count)
    return Session(folder, manifest, count)


def check_platform(manifest: Manifest) -> None:
    """Refuse artifacts of another platform or for a better processor.

    Raises:
        MojoaccelError: MA705 or MA701.
    """
    if manifest.system != system() or manifest.arch != architecture():
        made = f"{manifest.system} on {manifest.arch}"
        raise error("MA705", f"compiled for {made}, this is {system()} on {architecture()}")
    missing = [f for f in manifest.required_features if f not in usable_flags()]
    if missing:
        raise error("MA701", f"this processor lacks {', '.join(missing)}")


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare sizes and hashes with the manifest.

    Raises:
        MojoaccelError: MA601, a file is missing or was changed.
    """
    for spec in (manifest.library, manifest.weights):
        if not spec.file:
            continue
        path = folder / spec.file
        if not path.is_file():
            raise error("MA601", f"{spec.file} is missing")
        try:
            size = path.stat().st_size
            if size != spec.size:
                raise error("MA601", f"{spec.file} has {size} bytes, not {spec.size}")
            small = size < SMALL
            memory = cache_root() / "hashes"
            digest = file_digest(path) if small else remembered_digest(path, memory)
        except OSError as e:
            raise error("MA601", f"{spec.file} cannot be read: {e.strerror or e}") from e
        if digest != spec.digest:
            raise error("MA601", f"{spec.file} is damaged: its hash differs from the manifest's")


@dataclass(frozen=True)
class Snapshot:
    """The states of a session at one moment; it may be pickled.

    Attributes:
        model: Digests of the library and the weights.
        states: Contents of every state.
    """

    model: str
    states: tuple[bytes, ...]


class Session:
    """A model in memory.

    Attributes:
        manifest: What the artifact says of itself.
        path: The artifact's folder.
    """

    simulated = False
    """Whether PyTorch computes the answers (the reference target)."""

    _library: Library | None

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        """Open a session; use `load`."""
        self._describe(folder, manifest)
        self._library = Library(folder / manifest.library.file, folder, threads)

    def _describe(self, folder: Path, manifest: Manifest) -> None:
        """Take over what the manifest says of inputs and outputs; nothing is loaded yet."""
        self.path = folder
        self.manifest = manifest
        self._in_tree = json.loads(manifest.in_tree)
        self._out_tree = json.loads(manifest.out_tree)
        self._plain = plain_arguments(self._in_tree)
        self._kinds = [o.dtype for o in manifest.outputs]
        self._layouts = Layouts(manifest)
        self._lock = threading.Lock()
        self._library = None
        register_session(self)

    @property
    def signature(self) -> dict[str, Any]:
        """Inputs, outputs and dims: ``{"inputs": [...], "outputs": [...], "dims": {...}}``."""
        data = self.manifest.to_json()
        return {key: data[key] for key in ("inputs", "outputs", "dims")}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model as the module was called.

        Takes numpy arrays or torch tensors; returns the structure the module returned, in arrays
        for arrays and tensors for tensors.

        Raises:
            MojoaccelError: MA702 an input does not fit, MA703 the run failed, MA704 closed.
        """
        values: Sequence[Any] = args
        if kwargs or len(args) != self._plain:
            names = [t.name for t in self.manifest.inputs]
            values = flatten_call(self._in_tree, names, args, kwargs)
        tensors = any([type(v) is not np.ndarray and is_torch(v) for v in values])
        return rebuild(self._out_tree, self._run(values, tensors))

    def run_flat(self, values: Sequence[Any]) -> list[Array]:
        """Run on flattened inputs and return flattened outputs (bfloat16 as uint16).

        Raises:
            MojoaccelError: As calling the session.
        """
        return self._run(values, tensors=False)

    def _run(self, values: Sequence[Any], tensors: bool) -> list[Any]:
        """Run on flattened inputs; return arrays or torch tensors."""
        self._native()
        operands = [read_operand(v) for v in values]
        layout = self._layouts.find(operands)
        new = new_tensor if tensors else new_array
        results = [new(s, d) for s, d in zip(layout.shapes, self._kinds, strict=True)]
        with self._lock:
            fill(layout, operands, results)
            self._native().run(layout.records, layout.outputs)
        return [r.owner for r in results]

    def _native(self) -> Library:
        if self._library is None:
            raise error("MA704", "the session is closed")
        return self._library

    def reset(self) -> None:
        """Give every state (KV cache, counters) its initial value."""
        with self._lock:
            self._native().reset()

    def snapshot(self) -> Snapshot:
        """Return a copy of every state: what the model remembers of the runs so far.

        Raises:
            MojoaccelError: MA704, the session is closed.
        """
        with self._lock:
            return Snapshot(self._identity(), tuple(bytes(s) for s in self._native().states()))

    def restore(self, snapshot: Snapshot) -> None:
        """Give every state the value it had when the snapshot was taken, in any session.

        Raises:
            MojoaccelError: MA704 the session is closed, MA706 the snapshot is another model's.
        """
        with self._lock:
            states = self._native().states()
            if snapshot.model != self._identity():
                raise error("MA706", "the snapshot was taken of another model")
            for state, saved in zip(states, snapshot.states, strict=True):
                state[:] = saved

    def _identity(self) -> str:
        return f"{self.manifest.library.digest} {self.manifest.weights.digest}"

    def profile(self) -> list[int]:
        """Return the nanoseconds that each fused group of the last run took, in order.

        Empty unless the artifact was built for profiling (`BuildOptions.profile`).

        Raises:
            MojoaccelError: MA704, the session is closed.
        """
        with self._lock:
            return self._native().profile()

    def close(self) -> None:
        """Stop the threads and free the memory; a second call does nothing."""
        with self._lock:
            if self._library is not None:
                self._library.close()
            self._library = None

    def __enter__(self) -> Session:
        """Return the session."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the session."""
        self.close()

    def __del__(self) -> None:
        """Free what is left when the session is forgotten."""
        library = getattr(self, "_library", None)
        if library is not None:
            library.close()


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def register_session(session: Session) -> None:
    """Have a session's lock renewed in forked children."""
    _sessions.add(session)


def _renew_locks() -> None:
    """Give sessions new locks in a forked child: a thread of the parent may hold the old ones."""
    for session in _sessions:
        session._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)
