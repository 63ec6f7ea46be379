"""`mojoaccel.load`: compiled artifacts by the runtime, reference artifacts by the interpreter."""

from __future__ import annotations

import json
from pathlib import Path

from mojoaccel.artifact.archive import open_folder
from mojoaccel.errors import error
from mojoaccel.paths import cache_root
from mojoaccel.runtime.session import Session
from mojoaccel.runtime.session import load as load_compiled


def load(path: str | Path, threads: int | None = None) -> Session:
    """Load an artifact.

    Args:
        path: The ``.maccel`` folder or its archive.
        threads: Threads to run on; the artifact's default, or one per usable processor if None.

    Returns:
        A session; for an artifact of ``--target reference`` one that PyTorch computes
        (``session.simulated`` is True).

    Raises:
        MojoaccelError: MA601 damaged or no artifact, MA604 another format, MA701 the processor
            lacks features, MA705 another platform.
    """
    folder = open_folder(Path(path), cache_root() / "unpacked")
    if is_reference(folder):
        from mojoaccel.reference import ReferenceSession

        return ReferenceSession(folder)
    return load_compiled(folder, threads)


def require_engine(path: str | Path, engine: str | None) -> None:
    """Refuse an artifact that another engine than the one asked for would run.

    Raises:
        MojoaccelError: MA903 it is another's, MA601 there is no artifact.
    """
    if engine is None:
        return
    folder = open_folder(Path(path), cache_root() / "unpacked")
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # loading it will say what is wrong
    found = data.get("engine", "mojo")
    if found != engine:
        message = f"{folder.name} was compiled by the {found} engine, not by {engine}"
        raise error("MA903", message, hint=f"compile the model with --engine {engine}")


def is_reference(folder: Path) -> bool:
    """Whether an artifact was made with ``--target reference``."""
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # loading it will say what is wrong
    return bool(data.get("target") == "reference")
