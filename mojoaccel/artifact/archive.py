"""An artifact as one stored zip: the same files, unpacked into the cache when opened."""

from __future__ import annotations

import os
from pathlib import Path

from mojoaccel.artifact.copying import CHUNK, copy_bytes
from mojoaccel.artifact.hashing import remembered_digest
from mojoaccel.errors import error

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every entry: equal artifacts give equal archives."""


def write_archive(folder: Path, target: Path) -> None:
    """Write the files of `folder` as an uncompressed zip.

    Raises:
        OSError: The archive cannot be written.
    """
    import shutil
    import zipfile  # they take ten milliseconds that loading a folder need not spend

    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            info.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as entry:
                shutil.copyfileobj(source, entry, 1 << 20)


def open_folder(path: Path, cache: Path) -> Path:
    """Return the folder of an artifact; an archive is unpacked under `cache` by its digest.

    Raises:
        MojoaccelError: MA601 there is no artifact at `path`, MA603 the cache cannot be written.
    """
    if path.is_dir():
        return path
    if not path.exists():
        raise error("MA601", f"{path} does not exist")
    import shutil
    import tempfile
    import zipfile

    if not zipfile.is_zipfile(path):
        raise error("MA601", f"{path} is neither an artifact folder nor an archive of one")
    final = cache / remembered_digest(path, cache.parent / "hashes")
    if final.is_dir():
        return final
    try:
        cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="unpack-", dir=cache))
        try:
            _unpack(path, draft)
            os.replace(draft, final)
        except OSError:
            if not final.is_dir():  # otherwise another process was faster
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as e:
        raise error("MA603", f"{path.name} cannot be unpacked: {e.strerror or e}") from e
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as e:
        raise error("MA601", f"{path.name} is damaged: {e}") from e
    return final


def _unpack(path: Path, draft: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = Path(name).parts
            if Path(name).is_absolute() or ".." in parts:
                raise error("MA601", f"{path.name} has an entry outside the artifact: {name}")
        entries = archive.infolist()
        archive.extractall(draft, [e for e in entries if e.file_size < CHUNK])
        for large in (e for e in entries if e.file_size >= CHUNK):
            target = draft / large.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(large) as source, target.open("wb", buffering=0) as file:
                copy_bytes(source, file, large.file_size)
