"""Converts torch.export's symbolic sizes to `ir.dims`."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from mojoaccel.errors import error
from mojoaccel.ir.dims import (
    Dim,
    Size,
    bounds,
    floordiv,
    mod,
    size_max,
    size_min,
    size_prod,
)

FUNCTIONS: dict[str, Callable[[Size, Size], Size]] = {
    "Add": lambda a, b: a + b,
    "FloorDiv": floordiv,
    "CleanDiv": floordiv,
    "IntTrueDiv": floordiv,
    "Mod": mod,
    "PythonMod": mod,
    "Max": size_max,
    "Min": size_min,
}
"""sympy (and torch's own) functions of sizes."""


ROUNDED: dict[str, Callable[[Size, Size], Size]] = {
    "CeilToInt": lambda a, b: -floordiv(-a, b),
    "FloorToInt": floordiv,
}
"""torch's functions of a quotient, by its two sides."""


class SizeReader:
    """Reads sympy expressions; knows what every symbol stands for.

    Attributes:
        names: Sizes over the user's dims by symbol name.
        dims: The dims by their own name.
        learned: Sizes by the name of a symbol that torch has for what was in a tensor (`held`).
    """

    def __init__(self, names: dict[str, Size], dims: dict[str, Dim]) -> None:
        """Take what the symbols stand for, by sympy symbol name, and the dims."""
        self.names = names
        self.dims = dims
        self.learned: dict[str, Size] = {}

    def size(self, value: Any) -> Size:
        """Return an int, SymInt or sympy expression as a size."""
        if isinstance(value, int):
            return value
        expression = value.node.expr if hasattr(value, "node") else value
        return self._read(expression)

    def counts_from_end(self, position: Any) -> bool:
        """Whether a symbolic position is below zero, as ``5 - n`` may be.

        torch.export decides that once, for all sizes (it is a guard), so the example's sign is
        that of all. Of what was in a tensor it has no example; there its range must tell.

        Raises:
            MojoaccelError: MA204, it is below zero for some sizes only.
        """
        if position.node.hint is not None:
            return int(position.node.hint) < 0
        low, high = bounds(self.size(position), self.dims)
        if low < 0 <= high:
            raise error("MA204", f"a position counts from the end for some sizes only: {position}")
        return high < 0

    def _read(self, e: Any) -> Size:
        if e.is_Integer:
            return int(e)
        if e.is_Symbol:
            return self._named(e.name)
        kind = type(e).__name__
        if kind in ROUNDED:
            above, below = self._ratio(e.args[0])
            return ROUNDED[kind](above, below)
        if kind == "Mul":
            return self._product(e)
        if kind == "Pow" and e.exp.is_Integer and int(e.exp) > 0:
            return size_prod([self._read(e.base)] * int(e.exp))
        if kind in FUNCTIONS:
            return reduce(FUNCTIONS[kind], [self._read(a) for a in e.args])
        raise error("MA202", f"a size of the traced graph is not understood: {e}")

    def _named(self, name: str) -> Size:
        if name in self.learned:
            return self.learned[name]
        if name not in self.names:
            raise error("MA204", f"a size depends on the data ({name})")
        return self.names[name]

    def _ratio(self, e: Any) -> tuple[Size, Size]:
        """Read a quotient of sizes, which torch computes in floating point, as its two sides."""
        kind = type(e).__name__
        if e.is_Float and float(e).is_integer():
            return int(e), 1
        if e.is_Rational:
            return int(e.p), int(e.q)
        if kind in ("IntTrueDiv", "FloatTrueDiv"):
            (a, b), (c, d) = (self._ratio(x) for x in e.args)
            return a * d, b * c
        if kind == "ToFloat":
            return self._read(e.args[0]), 1
        if kind in ("Add", "Mul"):
            above, below = self._ratio(e.args[0])
            for part in e.args[1:]:
                a, b = self._ratio(part)
                above = above * b + a * below if kind == "Add" else above * a
                below = below * b
            return above, below
        return self._read(e), 1

    def _product(self, e: Any) -> Size:
        total: Size = 1
        divisor = 1
        for factor in e.args:
            if factor.is_Rational and not factor.is_Integer:
                total, divisor = total * int(factor.p), divisor * int(factor.q)
            else:
                total = total * self._read(factor)
        return total if divisor == 1 else floordiv(total, divisor)
