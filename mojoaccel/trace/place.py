"""Where a model is, decided without torch: a wrong path is said at once."""

from __future__ import annotations

from pathlib import Path

from mojoaccel.errors import error


def find_model(text: str) -> tuple[Path, str]:
    """Return a model's path and, after ``.py:``, the name of its factory.

    Raises:
        MojoaccelError: MA201 no such file.
    """
    path_text, colon, factory = text.partition(".py:")
    path = Path(path_text + ".py") if colon else Path(text)
    if not path.exists():
        raise error("MA201", f"{path} does not exist")
    return path, factory
