"""What a model file's factory returns: a module, example inputs, and the dims that vary."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mojoaccel.errors import error
from mojoaccel.ir.dims import Axis, Dim

_DECLARATION = re.compile(
    r"([\w.]+):(-?\d+)="  # input:axis=
    r"(?:(\d+)\*)?([A-Za-z_]\w*)(?:\*(\d+))?([+-]\d+)?"  # 8*name+1 or name*8+1
    r"(?::(\d*)\.\.(\d*))?"  # :min..max
)


@dataclass(frozen=True)
class Example:
    """A module with example inputs.

    Attributes:
        module: The ``torch.nn.Module`` to compile.
        args: Positional example inputs.
        kwargs: Keyword example inputs.
        dynamic: For an input's name, the axes that vary: ``{"ids": {0: "batch", 1: "seq"}}``; a
            value is a name, a multiple ``"8*name"``, either with the name's range
            (``"name:min..max"``), a `Dim` or an `Axis`.
        folder: The Hugging Face folder that the module was loaded from, whose tokenizer the
            artifact may carry.
    """

    module: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    dynamic: Mapping[str, Mapping[int, str | Dim | Axis]] = field(default_factory=dict)
    folder: Path | None = None

    def dims(self) -> dict[str, dict[int, Axis]]:
        """Return `dynamic` with every value read as an `Axis`.

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
            name: {axis: _as_axis(name, axis, value) for axis, value in axes.items()}
            for name, axes in self.dynamic.items()
        }


def parse_dynamic(declarations: Sequence[str]) -> dict[str, dict[int, Axis]]:
    """Read ``--dynamic`` declarations, such as ``input:axis=name`` or ``input:axis=8*name:1..64``.

    Raises:
        MojoaccelError: MA903, a declaration is not of that form.
    """
    found: dict[str, dict[int, Axis]] = {}
    for text in declarations:
        name, axis, size = _read_axis(text)
        found.setdefault(name, {})[axis] = size
    return found


def _as_axis(name: str, axis: int, value: str | Dim | Axis) -> Axis:
    if isinstance(value, Axis):
        return value
    return Axis(value) if isinstance(value, Dim) else _read_axis(f"{name}:{axis}={value}")[2]


def _read_axis(text: str) -> tuple[str, int, Axis]:
    match = _DECLARATION.fullmatch(text.replace(" ", ""))
    if match is None:
        raise error(
            "MA903",
            f"the dynamic dim {text!r} is not of the form input:axis=name, input:axis=8*name or "
            "input:axis=name:1..64",
        )
    name, axis, before, dim, after, plus, low, high = match.groups()
    if keyword.iskeyword(dim):
        raise error("MA903", f"a dynamic dim cannot be called {dim}: Python keeps that word")
    if low and high and int(low) > int(high):
        raise error("MA903", f"the range of the dynamic dim {text!r} is empty")
    times = int(before or 1) * int(after or 1)
    if times == 0:
        raise error("MA903", f"the dynamic dim {text!r} is no multiple of {dim}")
    made = Dim(dim, int(low) if low else 1, int(high) if high else None)
    return name, int(axis), Axis(made, times, int(plus or 0))
