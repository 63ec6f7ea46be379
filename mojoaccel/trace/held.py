"""Follows sizes through tensors without dimensions, where torch.export loses sight of them.

``torch.tensor(min(x.shape[1], 64))`` makes a tensor of a size; what is read from it is data to
torch.export, which gives it a symbol of its own. Here the arithmetic in between is repeated with
sizes, so that the symbol gets a meaning.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.dims import Size, bounds, floordiv, size_max, size_min
from mojoaccel.trace.symbolic import SizeReader

SAME = frozenset(
    {
        "aten.scalar_tensor.default",
        "aten.clone.default",
        "aten._to_copy.default",
        "aten.alias.default",
        "aten.detach.default",
        "aten._local_scalar_dense.default",
        "aten.item.default",
    }
)
"""Calls whose result is their first argument."""

ARITHMETIC: dict[str, Callable[[Any, Any], Size]] = {
    "aten.add.Tensor": operator.add,
    "aten.add.Scalar": operator.add,
    "aten.sub.Tensor": operator.sub,
    "aten.sub.Scalar": operator.sub,
    "aten.rsub.Scalar": lambda a, b: b - a,
    "aten.rsub.Tensor": lambda a, b: b - a,
    "aten.mul.Tensor": operator.mul,
    "aten.mul.Scalar": operator.mul,
    "aten.minimum.default": size_min,
    "aten.maximum.default": size_max,
    "aten.floor_divide.default": floordiv,
}
"""Calls of two integers."""

REARRANGED = frozenset(
    f"aten.{name}"
    for name in (
        "unsqueeze.default",
        "view.default",
        "reshape.default",
        "expand.default",
        "repeat.default",
        "permute.default",
        "squeeze.dims",
        "t.default",
        "transpose.int",
        "flip.default",
        "clone.default",
        "alias.default",
    )
)
"""Calls whose result holds the numbers of their first argument, each at least once."""

EXTREMES = {"aten.min.default": 0, "aten.max.default": 1}
"""Calls that return the first or the last of a span."""

END = 2**63 - 1
"""The end of a slice that has none."""


class HeldSizes:
    """The sizes in an FX graph's tensors, by name of the value."""

    def __init__(self, sizes: SizeReader) -> None:
        """Take the reader that shall learn the symbols."""
        self.sizes = sizes
        self.values: dict[str, Size] = {}
        self.spans: dict[str, tuple[Size, Size]] = {}
        """First and last of the numbers in tensors that hold all of those between."""

    def follow(self, fx: Any) -> None:
        """Note what a call does to sizes in tensors, and what its symbols stand for."""
        value = fx.meta.get("val")
        if str(fx.target) == "aten.slice.Tensor":
            self._learn_length(fx, value)
            return
        if isinstance(value, torch.Tensor) and (value.dim() or value.dtype != torch.int64):
            self._learn_span(fx)
            return
        found = self._computed(fx)
        if found is None:
            return
        self.values[fx.name] = found
        if isinstance(value, torch.SymInt) and value.node.expr.is_Symbol:
            name = value.node.expr.name
            if name not in self.sizes.names:
                self.sizes.learned[name] = found

    def _computed(self, fx: Any) -> Size | None:
        name = str(fx.target)
        if name in SAME:
            return self._read(fx.args[0])
        if name in EXTREMES and fx.args[0].name in self.spans:
            return self.spans[fx.args[0].name][EXTREMES[name]]
        if name in ARITHMETIC and not fx.kwargs:
            a, b = (self._read(v) for v in fx.args[:2])
            return None if a is None or b is None else ARITHMETIC[name](a, b)
        return None

    def _read(self, argument: Any) -> Size | None:
        """Return an argument's size, if it is one."""
        if isinstance(argument, torch.fx.Node):
            if argument.name in self.values:
                return self.values[argument.name]
            argument = argument.meta.get("val")
        if isinstance(argument, bool) or not isinstance(argument, (int, torch.SymInt)):
            return None
        try:
            return self.sizes.size(argument)
        except MojoaccelError:  # it does depend on the data
            return None

    def _learn_span(self, fx: Any) -> None:
        """Learn which numbers ``arange`` makes, and where they go."""
        name = str(fx.target)
        if name in REARRANGED and fx.args[0].name in self.spans:
            self.spans[fx.name] = self.spans[fx.args[0].name]
        if name not in ("aten.arange.default", "aten.arange.start", "aten.arange.start_step"):
            return
        start, end, step = (0, *fx.args, 1) if len(fx.args) == 1 else (*fx.args, 1)[:3]
        first, last = self._read(start), self._read(end)
        if first is not None and last is not None and step == 1:
            self.spans[fx.name] = (first, last - 1)

    def _learn_length(self, fx: Any, value: Any) -> None:
        """Learn the length of a slice between positions whose place is certain."""
        source, dim, start, end, step = (*fx.args, *(0, None, END, 1)[len(fx.args) - 1 :])
        length = value.shape[dim]
        if isinstance(length, int) or not length.node.expr.is_Symbol or step != 1:
            return
        name = length.node.expr.name
        extent = self._read(source.meta["val"].shape[dim])
        start = 0 if start is None else self._read(start)
        end = extent if end is None or end == END else self._read(end)
        if name in self.sizes.names or extent is None or start is None or end is None:
            return
        dims = self.sizes.dims
        inside = (start, end - start, extent - end)
        if all(bounds(distance, dims)[0] >= 0 for distance in inside):
            self.sizes.learned[name] = end - start
