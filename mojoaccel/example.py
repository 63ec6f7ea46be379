"""What a model file's factory returns: a module, example inputs, and the dims that vary."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mojoaccel.errors import error
from mojoaccel.ir.dims import Dim

_DECLARATION = re.compile(r"([\w.]+):(-?\d+)=([A-Za-z_]\w*)(?::(\d*)\.\.(\d*))?")


@dataclass(frozen=True)
class Example:
    """A module with example inputs.

    Attributes:
        module: The ``torch.nn.Module`` to compile.
        args: Positional example inputs.
        kwargs: Keyword example inputs.
        dynamic: For an input's name, the axes that vary: ``{"ids": {0: "batch", 1: "seq"}}``; a
            value is a name, a ``"name:min..max"`` or a `Dim`.
        folder: The Hugging Face folder that the module was loaded from, whose tokenizer the
            artifact may carry.
    """

    module: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    dynamic: Mapping[str, Mapping[int, str | Dim]] = field(default_factory=dict)
    folder: Path | None = None

    def dims(self) -> dict[str, dict[int, Dim]]:
        """Return `dynamic` with every name read as a `Dim`.

        Raises:
            MojoaccelError: MA903, a dim is not of a known form.
        """
        for name, axes in self.dynamic.items():
            if not isinstance(axes, Mapping):
                raise error(
                    "MA903",
                    f"the dynamic dims of {name} are {axes!r}",
                    hint="give axes with names, such as {0: 'batch'}",
                )
        return {
            name: {
                axis: dim if isinstance(dim, Dim) else _read_dim(f"{name}:{axis}={dim}")[2]
                for axis, dim in axes.items()
            }
            for name, axes in self.dynamic.items()
        }


def parse_dynamic(declarations: Sequence[str]) -> dict[str, dict[int, Dim]]:
    """Read ``--dynamic`` declarations, ``input:axis=name`` or ``input:axis=name:min..max``.

    Raises:
        MojoaccelError: MA903, a declaration is not of that form.
    """
    found: dict[str, dict[int, Dim]] = {}
    for text in declarations:
        name, axis, dim = _read_dim(text)
        found.setdefault(name, {})[axis] = dim
    return found


def _read_dim(text: str) -> tuple[str, int, Dim]:
    match = _DECLARATION.fullmatch(text.strip())
    if match is None:
        raise error(
            "MA903",
            f"the dynamic dim {text!r} is not of the form input:axis=name or input:axis=name:1..64",
        )
    name, axis, dim, low, high = match.groups()
    if keyword.iskeyword(dim):
        raise error("MA903", f"a dynamic dim cannot be called {dim}: Python keeps that word")
    if low and high and int(low) > int(high):
        raise error("MA903", f"the range of the dynamic dim {text!r} is empty")
    return name, int(axis), Dim(dim, int(low) if low else 1, int(high) if high else None)
