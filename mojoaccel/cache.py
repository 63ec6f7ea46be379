"""The store of stage products: folders named by the digest of the key that made them.

Layout: ``<root>/<stage>-v<N>/<digest>/{key.json, ...product files}``. An entry is written in a
folder of its own and renamed into place under a file lock, so it is there whole or not at all,
whatever happens to the process. A cache that cannot be used costs time, never the result: every
trouble becomes one warning MA902 and the work goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mojoaccel.errors import Diagnostic
from mojoaccel.paths import cache_root

KEY_FILE = "key.json"
_BUCKET = re.compile(r"[a-z]+-v\d+")
_HASHED_BYTES = 8 << 20  # larger files are checked by size; their readers know their digests
_LOCK_SECONDS = 10.0
_LEFTOVER_SECONDS = 3600.0
_GRACE_SECONDS = 600.0  # an entry used so recently may still be copied from


@dataclass(frozen=True, slots=True)
class Usage:
    """What one stage keeps in the cache: entries and bytes."""

    entries: int
    size: int


def open_cache(limit: int, warn: Callable[[Diagnostic], None]) -> Cache:
    """Return the user's cache (see `paths.cache_root`)."""
    return Cache(cache_root(), limit, warn)


def key_digest(key: Mapping[str, Any]) -> str:
    """Return the digest that names the entry of `key`."""
    return hashlib.sha256(_canonical(key).encode()).hexdigest()


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _file_record(path: Path) -> list[Any]:
    size = path.stat().st_size
    if size > _HASHED_BYTES:
        return [size, ""]
    return [size, hashlib.sha256(path.read_bytes()).hexdigest()]


def _folder_size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


@dataclass
class Cache:
    """One cache folder.

    Attributes:
        root: The folder; made when first written to.
        limit: Bytes to keep at most; the least recently used entries go first.
        warn: Receives MA902 warnings, each kind of trouble once.
    """

    root: Path
    limit: int
    warn: Callable[[Diagnostic], None]
    _warned: set[str] = field(default_factory=set)

    def find(self, stage: str, version: int, key: Mapping[str, Any]) -> Path | None:
        """Return the entry of `key` and mark it used, or None.

        An entry that is damaged is a miss with a warning; the next publish replaces it.
        """
        folder = self._bucket(stage, version) / key_digest(key)
        if not folder.is_dir():
            return None
        try:
            self._check(folder, key)
        except (OSError, ValueError, KeyError, TypeError) as e:
            if folder.is_dir():  # else another process pruned it meanwhile: a plain miss
                self.report_damaged(stage, folder, e)
            return None
        with suppress(OSError):  # a read-only cache still serves; it loses the order of use
            os.utime(folder / KEY_FILE)
        return folder

    def report_damaged(self, stage: str, folder: Path, problem: Exception) -> None:
        """Warn that an entry cannot be read, and move it out of the way if that is possible."""
        self._warning(
            f"damaged {folder}",
            f"the cached {stage} product {folder.name[:12]} is damaged",
            (str(problem) or type(problem).__name__,),
        )
        with suppress(OSError), self._lock():  # if it cannot be moved, it stays a miss
            self._remove(folder)

    def publish(
        self,
        stage: str,
        version: int,
        key: Mapping[str, Any],
        write: Callable[[Path], None],
        label: str = "",
    ) -> Path | None:
        """Store a product and return its folder, or None when the cache cannot take it.

        Args:
            stage: Name of the stage.
            version: Version of the stage's product format.
            key: Everything the product depends on.
            write: Writes the product's files into the folder it is given.
            label: Which model it is for; `explain` prefers entries of the same one.
        """
        bucket = self._bucket(stage, version)
        final = bucket / key_digest(key)
        draft: Path | None = None
        try:
            bucket.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=bucket))
            write(draft)
            files = {
                f.relative_to(draft).as_posix(): _file_record(f)
                for f in sorted(draft.rglob("*"))
                if f.is_file()
            }
            record = {"stage": stage, "version": version, "label": label, "key": key}
            record["files"] = files
            (draft / KEY_FILE).write_text(json.dumps(record, sort_keys=True, indent=1))
            with self._lock():
                if not final.is_dir():
                    os.replace(draft, final)
                self._prune(self.limit, _GRACE_SECONDS)
        except OSError as e:
            reason = e.strerror or str(e)
            self._warning(
                "unusable",
                f"the cache {self.root} cannot be written: {reason}",
                ("the compile goes on without it",),
            )
            return None
        finally:
            if draft is not None:
                shutil.rmtree(draft, ignore_errors=True)
        return final

    def explain(
        self, stage: str, version: int, key: Mapping[str, Any], label: str = ""
    ) -> list[str]:
        """Return what differs between `key` and the nearest entry, one line per field.

        Entries of the same `label` come first, then those with the fewest differences. The list
        is empty when the bucket holds nothing to compare with.
        """
        wanted = _flatten(key)
        best: tuple[bool, int, list[str]] | None = None
        for folder in self._entries(self._bucket(stage, version)):
            try:
                record = json.loads((folder / KEY_FILE).read_text())
                found = _flatten(record["key"])
            except (OSError, ValueError, KeyError):
                continue
            lines = [
                f"{name}: {_short(found.get(name))} -> {_short(wanted.get(name))}"
                for name in sorted(found.keys() | wanted.keys())
                if found.get(name) != wanted.get(name)
            ]
            candidate = (record.get("label") != label, len(lines), lines)
            if best is None or candidate < best:
                best = candidate
        return best[2] if best else []

    def usage(self) -> dict[str, Usage]:
        """Return entries and bytes by bucket."""
        found: dict[str, Usage] = {}
        for bucket in self._buckets():
            entries = list(self._entries(bucket))
            found[bucket.name] = Usage(len(entries), sum(_folder_size(e) for e in entries))
        return found

    def clear(self) -> int:
        """Remove every entry and return the bytes freed.

        Raises:
            OSError: The folder cannot be written.
        """
        return self.prune(0)

    def prune(self, limit: int) -> int:
        """Remove the least recently used entries until `limit` bytes are left.

        Returns:
            Bytes freed.

        Raises:
            OSError: The folder cannot be written.
        """
        if not self.root.is_dir():
            return 0
        with self._lock():
            return self._prune(limit, 0.0)

    def _bucket(self, stage: str, version: int) -> Path:
        return self.root / f"{stage}-v{version}"

    def _buckets(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if _BUCKET.fullmatch(p.name) and p.is_dir())

    def _entries(self, bucket: Path) -> Iterator[Path]:
        if bucket.is_dir():
            yield from sorted(
                p
                for p in bucket.iterdir()
                if not p.name.startswith(".") and (p / KEY_FILE).is_file()
            )

    def _check(self, folder: Path, key: Mapping[str, Any]) -> None:
        record = json.loads((folder / KEY_FILE).read_text())
        if _canonical(record["key"]) != _canonical(key):
            raise ValueError(f"{KEY_FILE} holds another key")
        for name, expected in record["files"].items():
            if _file_record(folder / name) != expected:
                raise ValueError(f"{name} has changed")

    def _prune(self, limit: int, grace: float) -> int:
        now = time.time()
        entries: list[tuple[float, int, Path]] = []
        for bucket in self._buckets():
            for leftover in bucket.glob(".*-*"):
                with suppress(FileNotFoundError):  # another process's draft, just finished
                    if now - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                        shutil.rmtree(leftover, ignore_errors=True)
            for entry in self._entries(bucket):
                used = (entry / KEY_FILE).stat().st_mtime
                entries.append((used, _folder_size(entry), entry))
        total = sum(size for _, size, _ in entries)
        freed = 0
        for used, size, entry in sorted(entries):
            if total - freed <= limit or now - used < grace:
                break
            self._remove(entry)
            freed += size
        return freed

    def _remove(self, folder: Path) -> None:
        """Take an entry out of sight in one step, then delete it."""
        if folder.exists():
            trash = Path(tempfile.mkdtemp(prefix=".trash-", dir=folder.parent))
            os.replace(folder, trash)
            shutil.rmtree(trash, ignore_errors=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the cache's lock; the system releases it when the process dies."""
        handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(0, "another process holds its lock") from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(handle)

    def _warning(self, kind: str, message: str, notes: tuple[str, ...]) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self.warn(Diagnostic("MA902", message, "warning", None, notes))


def _flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, Mapping):
        return {prefix: data}
    found: dict[str, Any] = {}
    for name, value in data.items():
        found.update(_flatten(value, f"{prefix}.{name}" if prefix else str(name)))
    return found


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:12] if is_digest else text
