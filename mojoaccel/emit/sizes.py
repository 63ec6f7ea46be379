"""Prints long sizes with the help of local variables, so that a driver's lines stay short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mojoaccel.emit import syntax
from mojoaccel.ir.dims import Expr, Size, free_dims, parse_size

SHORT = 48
"""Longest size that is printed in place."""


@dataclass
class SizeLocals:
    """Gives long sizes a variable each, computed before the lines that use them.

    Attributes:
        indent: Indentation of the definitions.
        used: Receives the names of the dims that appear.
        lines: The definitions, in order.
    """

    indent: str = "    "
    used: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def size(self, value: Size) -> str:
        """Print a size, or the variable that holds it."""
        self.used |= free_dims(value)
        text = syntax.size(value)
        if isinstance(value, int) or len(text) <= SHORT:
            return text
        return self._named(str(value), lambda: self._sum(value))

    def _named(self, key: str, make: Callable[[], str]) -> str:
        text = "" if key in self.names else make()
        if key not in self.names:  # making the text may have named it: a size that is one call
            name = f"size_{len(self.names)}"
            self.names[key] = name
            self.lines.extend(syntax.wrap(f"{self.indent}var {name} = {text}"))
        return self.names[key]

    def _sum(self, value: Expr) -> str:
        """Print a polynomial whose calls (max, //) have variables of their own."""
        terms = []
        for monomial, coefficient in value.terms:
            factors = [str(coefficient)] if coefficient != 1 or not monomial else []
            factors.extend(self._atom(atom) for atom in monomial)
            terms.append(" * ".join(factors))
        while len(" + ".join(terms)) > SHORT and len(terms) > 2:
            first, second, *rest = terms
            joined = f"{first} + {second}"
            terms = [self._named(joined, lambda text=joined: text), *rest]  # type: ignore[misc]
        return " + ".join(terms)

    def _atom(self, atom: str) -> str:
        if atom.isidentifier():
            return syntax.dim_name(atom)
        name, _, rest = atom.partition("(")
        from mojoaccel.ir.types import split_args

        args = [self.size(parse_size(a)) for a in split_args(rest[:-1])]
        if name in ("floordiv", "mod"):
            sign = "//" if name == "floordiv" else "%"
            text = f"({args[0]}) {sign} {args[1]}"
        else:
            text = f"{name}({', '.join(args)})"
        return self._named(atom, lambda: text)
