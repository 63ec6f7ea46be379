"""Hashes large files in parallel, and remembers the answer for files that did not change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import threading
from pathlib import Path

CHUNK = 16 << 20
"""Bytes hashed by one task; hashlib releases the interpreter lock, so chunks run in parallel."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the SHA-256 of each 16 MiB chunk (a two-level Merkle tree)."""
    size = path.stat().st_size
    if size == 0:
        return hashlib.sha256(b"").hexdigest()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        view = memoryview(data)
        try:
            starts = range(0, size, CHUNK)
            if len(starts) == 1:
                parts = [hashlib.sha256(view).digest()]
            else:
                from concurrent.futures import ThreadPoolExecutor

                with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
                    parts = list(pool.map(lambda s: _chunk(view, s), starts))
        finally:
            view.release()
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _chunk(view: memoryview, start: int) -> bytes:
    part = view[start : start + CHUNK]
    try:
        return hashlib.sha256(part).digest()
    finally:
        part.release()


def remembered_digest(path: Path, memory: Path) -> str:
    """Return `file_digest`, from `memory` when the file is the one hashed before.

    A file counts as unchanged while its path, size, inode and times of modification and of
    change are; the last cannot be set back by copying or `touch`.

    Args:
        path: The file.
        memory: Folder for remembered digests; it may be read-only or missing.
    """
    stat = path.stat()
    times = (stat.st_mtime_ns, stat.st_ctime_ns)
    stamp = [str(path.resolve()), stat.st_size, stat.st_ino, *times]
    name = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:32]
    entry = memory / name
    with contextlib.suppress(OSError):
        known = entry.read_text()
        if len(known) == 64:
            return known
    digest = file_digest(path)
    with contextlib.suppress(OSError):
        memory.mkdir(parents=True, exist_ok=True)
        draft = entry.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        draft.write_text(digest)
        draft.replace(entry)
    return digest
