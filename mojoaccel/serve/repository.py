"""The models of a server: found on disk, loaded, replaced and unloaded while requests run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mojoaccel.artifact.archive import open_folder
from mojoaccel.artifact.manifest import read_manifest
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.paths import cache_root
from mojoaccel.serve.copies import Copies
from mojoaccel.serve.holds import Hold
from mojoaccel.serve.model import ServedModel, open_model
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.placement import Colocation
from mojoaccel.serve.refusal import bad

PERIOD = 0.5
"""Seconds between two looks at a watched folder."""
GUARD_PERIOD = 0.1
"""Seconds between two looks at the files of loaded models; a writer waits that long."""
CHANGED = "its files are written to while it is served: load it again when they are complete"
GONE = 2.0
"""Seconds that an artifact is missed before its model is unloaded: a copy may be under way."""

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class Entry:
    """A model on disk, loaded or not.

    Attributes:
        name: In the protocol.
        version: In the protocol.
        path: The artifact.
        model: The loaded model, if it is.
        reason: Why it is not.
        stamp: State of the files that were loaded or refused last.
        seen: State of the files at the last look.
        missing: When the files were first missed, 0 if they are there.
        wanted: Whether it should be loaded: an explicit unload lasts.
    """

    name: str
    version: str
    path: Path
    model: ServedModel | None = None
    reason: str = ""
    stamp: Stamp = ()
    seen: Stamp = ()
    missing: float = 0.0
    wanted: bool = True

    def to_json(self) -> dict[str, str]:
        """Return an entry of the repository index."""
        state = "READY" if self.model else "UNAVAILABLE"
        return {"name": self.name, "version": self.version, "state": state, "reason": self.reason}


def is_artifact(path: Path) -> bool:
    """Whether a path looks like an artifact: a folder with a manifest, or an archive."""
    return (path / "manifest.json").is_file() or (path.suffix == ".maccel" and path.is_file())


def find_artifacts(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (name, version, path): ``NAME.maccel`` is version 1, ``NAME/3.maccel`` version 3."""
    try:
        children = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError:
        return
    for child in children:
        if is_artifact(child):
            yield child.name.removesuffix(".maccel"), "1", child
        elif child.is_dir():
            for inner in sorted(child.iterdir()):
                version = inner.name.removesuffix(".maccel")
                if version.isdecimal() and is_artifact(inner):
                    yield child.name, version, inner


def stamp_of(path: Path) -> Stamp:
    """Return what changes when an artifact's files do; empty if it is not there."""
    found = []
    names = ("manifest.json", "lib/model.so", "weights.bin") if path.is_dir() else ("",)
    for name in names:
        try:
            stat = (path / name if name else path).stat()
        except OSError:
            continue
        found.append((name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


class Repository:
    """Loads, finds and unloads models; used on the event loop's thread.

    Attributes:
        entries: By (name, version).
    """

    def __init__(
        self,
        options: ServeOptions,
        check: Callable[[Path], None] | None = None,
        colocation: Colocation | None = None,
    ) -> None:
        """Start empty.

        Args:
            options: The server's.
            check: Raises for an artifact that must not be loaded (its signature).
            colocation: Moves the event loop, if that may be.
        """
        self.options = options
        self.entries: dict[tuple[str, str], Entry] = {}
        self._check = check
        self._colocation = colocation
        self._latest: dict[str, ServedModel] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._copies = Copies()

    def look(self) -> None:
        """Fill the entries from the paths.

        Raises:
            MojoaccelError: MA601, there is nothing at a path; MA903, two artifacts have one name.
        """
        found = [entry for path in self.options.paths for entry in self._entries_at(path)]
        if self.options.name and len(found) != 1:
            raise error("MA903", f"--name names one artifact, {len(found)} are given")
        for entry in found:
            key = (entry.name, entry.version)
            if key in self.entries:
                raise error("MA903", f"two artifacts are called {entry.name}")
            self.entries[key] = entry

    def _entries_at(self, path: Path) -> Iterator[Entry]:
        if not path.exists():
            raise error("MA601", f"{path} does not exist")
        if is_artifact(path) or not path.is_dir():
            name = self.options.name or path.resolve().name.removesuffix(".maccel")
            yield Entry(name, "1", path)
            return
        found = list(find_artifacts(path))
        if not found and not self.options.watch:
            raise error("MA601", f"{path} holds no artifact")
        for name, version, place in found:
            yield Entry(self.options.name or name, version, place)

    async def load_all(self) -> None:
        """Load every entry.

        Raises:
            MojoaccelError: The first that cannot be loaded, unless folders are watched.
        """
        for entry in self.entries.values():
            try:
                await self._load(entry)
            except MojoaccelError:
                if not self.options.watch:
                    raise

    async def load(self, name: str, parameters: Iterable[str] = ()) -> None:
        """Load a model again, or for the first time, from within the served folders.

        Args:
            name: The model.
            parameters: Names of what the client wants to be otherwise than the artifact has it.

        Raises:
            Refusal: There is no such model, it cannot be loaded, or not as the client wants (400).
        """
        self._check_changeable()
        for parameter in parameters:
            if parameter == "config" or parameter.startswith("file:"):
                reason = f"parameter '{parameter}' is not supported: the artifact says it all"
                raise bad(f"failed to load '{name}': {reason}")
        self._discover()
        found = [e for e in self.entries.values() if e.name == name]
        if not found:
            raise bad(f"failed to load '{name}': no such model in the repository")
        for entry in found:
            entry.wanted = True
            try:
                await self._load(entry)
            except MojoaccelError as e:
                raise bad(f"failed to load '{name}': {e.diagnostics[0].message}") from e

    def unload(self, name: str) -> None:
        """Take a model out; requests it has still finish.

        Raises:
            Refusal: There is no such model (400).
        """
        self._check_changeable()
        found = [e for e in self.entries.values() if e.name == name]
        if not found:
            raise bad(f"failed to unload '{name}': no such model in the repository")
        for entry in found:
            entry.wanted = False
            self._drop(entry, "unloaded")

    def _check_changeable(self) -> None:
        if self.options.fixed:
            raise bad("models of replicas are changed by deploying again")

    def find(self, name: str, version: str = "") -> ServedModel:
        """Return a loaded model; without a version the highest.

        Raises:
            Refusal: It is unknown or not loaded (400).
        """
        if not version:
            model = self._latest.get(name)
        else:
            entry = self.entries.get((name, version))
            model = entry.model if entry else None
        if model is None:
            what = f"'{name}'" + (f" version {version}" if version else "")
            raise bad(f"Request for unknown model: {what} is not found{self._why(name, version)}")
        return model

    def _why(self, name: str, version: str) -> str:
        """Return why a model that is known is not loaded."""
        entries = self.entries.values()
        found = [e for e in entries if e.name == name and version in ("", e.version)]
        return f" ({found[-1].reason})" if found and found[-1].reason else ""

    def versions(self, name: str) -> list[str]:
        """Return the loaded versions of a model."""
        return [m.version for m in self.loaded() if m.name == name]

    def loaded(self) -> list[ServedModel]:
        """Return every loaded model."""
        return [e.model for e in self.entries.values() if e.model]

    @property
    def idle(self) -> bool:
        """Whether no model has anything to do."""
        return not any(m.waiting or m.running for m in self.loaded()) and not self._tasks

    async def watch(self) -> None:
        """Follow the folders' content until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            self._discover_stamps()
            for entry in list(self.entries.values()):
                await self._follow(entry)

    async def guard(self) -> None:
        """Unload models whose files somebody writes to, until cancelled."""
        while True:
            await asyncio.sleep(GUARD_PERIOD)
            for entry in list(self.entries.values()):
                if entry.model is not None and entry.model.hold.broken:
                    logging.getLogger("mojoaccel").warning("unloaded %s: %s", entry.name, CHANGED)
                    self._drop(entry, CHANGED)

    async def close(self) -> None:
        """Unload everything."""
        for entry in self.entries.values():
            self._drop(entry, "stopped")
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._copies.close()

    def _discover_stamps(self) -> None:
        self._discover()
        for entry in list(self.entries.values()):
            now = stamp_of(entry.path)
            entry.missing = (entry.missing or time.monotonic()) if not now else 0.0
            # Files are taken up once they looked the same twice.
            if now == entry.seen and now != entry.stamp and now:
                entry.reason = "changed"
            entry.seen = now

    def _discover(self) -> None:
        for path in self.options.paths:
            if is_artifact(path) or not path.is_dir():
                continue
            for name, version, place in find_artifacts(path):
                key = (name, version)
                if key not in self.entries and not self.options.name:
                    self.entries[key] = Entry(name, version, place)

    async def _follow(self, entry: Entry) -> None:
        if entry.missing and time.monotonic() - entry.missing > GONE:
            self._drop(entry, "its files are gone")
            del self.entries[(entry.name, entry.version)]
        elif entry.reason == "changed" and entry.wanted and not entry.missing:
            try:
                await self._load(entry)
            except MojoaccelError as e:
                entry.reason = str(e)

    async def _load(self, entry: Entry) -> None:
        async with self._lock:
            entry.stamp = stamp_of(entry.path)
            try:
                model = await asyncio.to_thread(self._open, entry)
            except MojoaccelError as e:
                entry.reason = str(e)
                raise
            if entry.model is not None:
                model.statistics = entry.model.statistics
            model.start(self.options, self._colocation)
            if entry.model is not None:
                self._retire(entry.model)
            entry.model, entry.reason = model, ""
            self._index()

    def _open(self, entry: Entry) -> ServedModel:
        path = entry.path
        if self.options.watch and path.is_dir():
            path = self._copies.add(path)
        folder = open_folder(path, cache_root() / "unpacked")
        manifest = read_manifest(folder)
        mapped = [f for f in (manifest.library.file, manifest.weights.file) if f]
        hold = Hold(folder / name for name in mapped)  # before their hashes are compared
        try:
            if self._check is not None:
                self._check(path)
            model = open_model(folder, entry.name, entry.version, self.options)
        except BaseException:
            hold.release()
            raise
        model.hold = hold
        return model

    def _drop(self, entry: Entry, reason: str) -> None:
        if entry.model is not None:
            self._retire(entry.model)
        entry.model, entry.reason = None, reason
        self._index()

    def _retire(self, model: ServedModel) -> None:
        async def close() -> None:
            await model.close()
            self._copies.drop(model.path)

        task = asyncio.get_running_loop().create_task(close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _index(self) -> None:
        ranked = sorted(self.loaded(), key=lambda m: int(m.version))
        self._latest = {m.name: m for m in ranked}

    def index(self, ready: bool) -> list[dict[str, Any]]:
        """Return the repository index; only loaded models if `ready`."""
        return [e.to_json() for e in self.entries.values() if e.model or not ready]
