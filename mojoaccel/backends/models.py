"""What a model id stands for: a registered factory, a file, a folder, an artifact."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mojoaccel.errors import error
from mojoaccel.job import model_name

_FACTORIES: dict[str, str] = {}


def register_model(model_id: str, factory: Callable[[], Any]) -> None:
    """Let `model_id` stand for a factory, a function at the top level of a file.

    Args:
        model_id: The name.
        factory: Returns a module with example inputs (`mojoaccel.Example`).

    Raises:
        MojoaccelError: MA206, another process could not find the function.
    """
    file, name = inspect.getsourcefile(factory), getattr(factory, "__qualname__", "")
    if file is None or not name.isidentifier():
        message = f"{name or factory!r} is not a function at the top level of a file"
        raise error("MA206", message, hint="compile() takes modules and closures")
    _FACTORIES[model_id] = f"{Path(file).resolve()}:{name}"


def model_source(model_id: str) -> str:
    """Return what ``mojoaccel compile`` is given for a model id."""
    return _FACTORIES.get(model_id, model_id)


def name_of(model_id: str) -> str:
    """Return a short name: the id of a registered factory, else that of the file or folder."""
    return model_id if model_id in _FACTORIES else model_name(model_id)


def is_artifact(path: str | Path) -> bool:
    """Whether a path is a compiled artifact: a folder with a manifest, or an archive."""
    place = Path(path)
    return (place / "manifest.json").is_file() or (place.suffix == ".maccel" and place.is_file())


def is_reference(path: str | Path) -> bool:
    """Whether a path is a reference artifact, which PyTorch interprets."""
    return (Path(path) / "graph.ir").is_file()
