"""The C interface of a compiled library, through ctypes (which releases the interpreter lock)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from mojoaccel.artifact.manifest import ABI_VERSION
from mojoaccel.errors import error

MAX_RANK = 8


class Tensor(ctypes.Structure):
    """``maccel_tensor`` of maccel.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * MAX_RANK),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
    )


OPEN_ERRORS = {
    2: "weights.bin is missing",
    3: "weights.bin has the wrong size",
    4: "out of memory",
    5: "the system does not let this process use AMX",
}


_loaded: dict[str, list[tuple[int, int]]] = {}
"""Device and inode of the files that were loaded from a path."""


def spelled_apart(library: Path) -> str:
    """Return a path that the loader does not take for another file of that name.

    Libraries stay loaded, and glibc compares paths before it looks at files: an artifact that
    replaced another would run the other's code.
    """
    status = library.stat()
    files = _loaded.setdefault(str(library), [])
    if (status.st_dev, status.st_ino) not in files:
        files.append((status.st_dev, status.st_ino))
    turn = files.index((status.st_dev, status.st_ino))
    return f"{library.parent}/{'./' * turn}{library.name}"


class Library:
    """A loaded library and one session in it."""

    def __init__(self, library: Path, folder: Path, threads: int) -> None:
        """Load `library` and open a session on the artifact in `folder`.

        Raises:
            MojoaccelError: MA601 the library cannot be loaded, MA604 its C interface is another
                version's, MA703 the session cannot open.
        """
        self.handle = ctypes.c_void_p()
        try:
            self.dll = ctypes.CDLL(spelled_apart(library))
        except OSError as e:
            raise error("MA601", f"{library.name} cannot be loaded: {e}") from e
        version = self.dll.maccel_abi_version()
        if version != ABI_VERSION:
            message = f"C interface version {version}; this version calls {ABI_VERSION}"
            raise error("MA604", f"{library.name}: {message}")
        self.dll.maccel_open.argtypes = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p)
        for name in ("maccel_run", "maccel_output_shapes"):
            getattr(self.dll, name).argtypes = (ctypes.c_void_p,) * 3
        self.dll.maccel_state.argtypes = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p)
        for name in ("maccel_reset", "maccel_close"):
            getattr(self.dll, name).argtypes = (ctypes.c_void_p,)
        for name in ("maccel_last_error", "maccel_profile"):
            getattr(self.dll, name).argtypes = (ctypes.c_void_p,) * 2
        self.dll.maccel_close.restype = None
        self._run = self.dll.maccel_run
        status = self.dll.maccel_open(os.fsencode(folder), threads, ctypes.byref(self.handle))
        if status != 0:
            code = "MA601" if status in (2, 3) else "MA703"
            raise error(code, OPEN_ERRORS.get(status, f"maccel_open returned {status}"))

    def run(self, inputs: Any, outputs: Any) -> None:
        """Run once.

        Args:
            inputs: Pointer to the ``maccel_tensor`` of every input.
            outputs: The same for the outputs.

        Raises:
            MojoaccelError: MA703, the native code reported an error.
        """
        status = self._run(self.handle, inputs, outputs)
        if status:
            raise error("MA703", self.explain(status))

    def explain(self, status: int) -> str:
        """Return what an error code of a run means."""
        found = (ctypes.c_int64 * 5)()
        self.dll.maccel_last_error(self.handle, found)
        _, index, axis, expected, got = found
        if status == 20:
            return "an index is outside the tensor it selects from"
        if status == 14:
            return f"input {index} has no data"
        if status == 4:
            return "out of memory"
        return f"input {index}, axis {axis}: expected {expected}, got {got} (status {status})"

    def profile(self) -> list[int]:
        """Return the nanoseconds of each launch of the last run; empty if they are not kept."""
        times = ctypes.POINTER(ctypes.c_int64)()
        count = self.dll.maccel_profile(self.handle, ctypes.byref(times))
        return times[:count]

    def states(self) -> list[memoryview]:
        """Return the memory of every state; it is the session's own and moves with no run."""
        found: list[memoryview] = []
        place = (ctypes.c_int64 * 2)()
        while self.dll.maccel_state(self.handle, len(found), place) == 0:
            memory = (ctypes.c_char * place[1]).from_address(place[0])
            found.append(memoryview(memory).cast("B"))
        return found

    def reset(self) -> None:
        """Give every state its initial value."""
        self.dll.maccel_reset(self.handle)

    def close(self) -> None:
        """Free the session; the library stays loaded (other sessions may use it)."""
        if self.handle:
            self.dll.maccel_close(self.handle)
            self.handle.value = None  # no name of a module: at exit those are gone before sessions
