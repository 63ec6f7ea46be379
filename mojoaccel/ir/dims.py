"""Sizes: integers or expressions over named dynamic dims.

An `Expr` is a polynomial with integer coefficients over atoms; an atom is a named dim or an
opaque call (`floordiv`, `mod`, `max`, `min`) of sizes. Polynomials are kept in one canonical
order, so equal expressions compare, hash and print alike, and print as Python reads them back.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Union

Size = Union[int, "Expr"]
Monomial = tuple[str, ...]  # sorted atom keys, repeated for powers


@dataclass(frozen=True, slots=True)
class Dim:
    """A named dynamic dimension and its inclusive range.

    Attributes:
        name: Identifier, unique in the model.
        min: Smallest allowed value.
        max: Largest allowed value; None is unbounded.
    """

    name: str
    min: int = 1
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis of an input is declared to be: ``times * dim + plus``.

    Attributes:
        dim: The dim, whose range is that of its own, not of the axis.
        times: Its factor, 1 or more.
        plus: What is added.
    """

    dim: Dim
    times: int = 1
    plus: int = 0

    def __str__(self) -> str:
        """Print as a size expression."""
        return str(self.size)

    @property
    def size(self) -> Expr:
        """The size as an expression."""
        made = symbol(self.dim.name) * self.times + self.plus
        assert isinstance(made, Expr)
        return made

    def at(self, value: int) -> int:
        """Return the axis's size where the dim is `value`."""
        return self.times * value + self.plus

    def solve(self, size: int) -> int | None:
        """Return the dim where the axis is `size`; None if no whole number gives it."""
        value, rest = divmod(size - self.plus, self.times)
        return None if rest else value


@dataclass(frozen=True, slots=True)
class Expr:
    """A canonical polynomial: sorted ((monomial, coefficient), ...)."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Size) -> Size:
        """Return self + other."""
        return _from_terms([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Size:
        """Return -self."""
        return self * -1

    def __sub__(self, other: Size) -> Size:
        """Return self - other."""
        return self + other * -1

    def __rsub__(self, other: Size) -> Size:
        """Return other - self."""
        return self * -1 + other

    def __mul__(self, other: Size) -> Size:
        """Return self * other."""
        return _from_terms(
            (tuple(sorted(a + b)), x * y) for a, x in self.terms for b, y in _terms(other)
        )

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        """Return floor(self / other), simplified when it divides exactly."""
        return floordiv(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        """Return floor(other / self)."""
        return floordiv(other, self)

    def __mod__(self, other: Size) -> Size:
        """Return self mod other."""
        return mod(self, other)

    def __rmod__(self, other: Size) -> Size:
        """Return other mod self."""
        return mod(other, self)

    def __str__(self) -> str:
        """Print as a Python expression."""
        parts = []
        for monomial, coefficient in self.terms:
            factors = [*([str(coefficient)] if coefficient != 1 or not monomial else []), *monomial]
            parts.append("*".join(factors))
        return " + ".join(parts).replace("+ -", "- ")

    __repr__ = __str__


def symbol(name: str) -> Expr:
    """Return the expression that is just the dim `name`."""
    return Expr((((name,), 1),))


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(size, Expr):
        return size.terms
    return (((), int(size)),) if size else ()


def _from_terms(terms: Iterable[tuple[Monomial, int]]) -> Size:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    kept = tuple(
        sorted(
            ((m, c) for m, c in total.items() if c),
            key=lambda t: (-len(t[0]), t[0]),
        )
    )
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    return Expr(kept)


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def exact_div(a: Size, b: Size) -> Size | None:
    """Return a / b when the polynomial division leaves no remainder, else None."""
    if b == 1:
        return a
    divisor = _terms(b)
    if not divisor:
        return None
    lead_m, lead_c = divisor[0]
    rest, quotient = a, _from_terms(())
    for _ in range(64):
        terms = _terms(rest)
        if not terms:
            return quotient
        monomial = _without(terms[0][0], lead_m)
        if monomial is None or terms[0][1] % lead_c:
            return None
        factor = _from_terms([(monomial, terms[0][1] // lead_c)])
        quotient, rest = quotient + factor, rest - factor * b
    return None


def _call(name: str, *args: Size) -> Expr:
    return symbol(f"{name}({', '.join(str(a) for a in args)})")


def floordiv(a: Size, b: Size) -> Size:
    """Return floor(a / b)."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    exact = exact_div(a, b)
    if exact is not None:
        return exact
    if isinstance(b, int) and isinstance(a, Expr):
        # Take out the part that divides: (8*s + 3) // 4 = 2*s + 3 // 4.
        whole = _from_terms((m, c // b) for m, c in a.terms if m and c % b == 0)
        if whole:
            return whole + floordiv(a - whole * b, b)
    return _call("floordiv", a, b)


def mod(a: Size, b: Size) -> Size:
    """Return a mod b with Python's sign rule."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if exact_div(a, b) is not None:
        return 0
    if isinstance(b, int) and isinstance(a, Expr):
        whole = _from_terms((m, c) for m, c in a.terms if m and c % b == 0)
        if whole:  # as in `floordiv`
            return mod(a - whole, b)
    return _call("mod", a, b)


def size_max(a: Size, b: Size) -> Size:
    """Return max(a, b)."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    parts: list[Size] = []
    for part in (*_max_parts(a), *_max_parts(b)):
        if not any(_dominates(other, part) for other in parts):
            parts = [other for other in parts if not _dominates(part, other)]
            parts.append(part)
    return parts[0] if len(parts) == 1 else _call("max", *sorted(parts, key=str))


def _dominates(a: Size, b: Size) -> bool:
    """Whether a >= b for all dims (they are never negative): a - b has no negative term."""
    difference = _terms(a - b)
    return all(c > 0 and all(atom.isidentifier() for atom in m) for m, c in difference)


def _max_parts(size: Size) -> list[Size]:
    """Return the operands of a maximum, or the size itself."""
    text = str(size)
    if isinstance(size, Expr) and len(size.terms) == 1 and text.startswith("max("):
        tree = ast.parse(text, mode="eval").body
        if isinstance(tree, ast.Call):
            return [_walk(argument, None) for argument in tree.args]
    return [size]


def size_min(a: Size, b: Size) -> Size:
    """Return min(a, b)."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else _call("min", *sorted((a, b), key=str))


def size_prod(sizes: Iterable[Size]) -> Size:
    """Return the product of `sizes` (1 for none)."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


_FUNCTIONS: dict[str, Callable[[Size, Size], Size]] = {
    "floordiv": floordiv,
    "mod": mod,
    "max": size_max,
    "min": size_min,
}
_OPERATORS: dict[type[ast.operator], Callable[[Size, Size], Size]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: floordiv,
    ast.Mod: mod,
}


def _walk(tree: ast.expr, names: Mapping[str, Size] | None) -> Size:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        return tree.value
    if isinstance(tree, ast.Name):
        return symbol(tree.id) if names is None else names[tree.id]
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](_walk(tree.left, names), _walk(tree.right, names))
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -1 * _walk(tree.operand, names)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        return reduce(_FUNCTIONS[tree.func.id], [_walk(a, names) for a in tree.args])
    raise ValueError(f"not a size expression: {ast.unparse(tree)}")


def parse_size(text: str | int) -> Size:
    """Read a size printed by `str`.

    Raises:
        ValueError: `text` is not a size expression.
    """
    if isinstance(text, int):
        return text
    try:
        return _walk(ast.parse(text, mode="eval").body, None)
    except (SyntaxError, KeyError) as e:
        raise ValueError(f"not a size expression: {text}") from e


def substitute(size: Size, values: Mapping[str, Size]) -> Size:
    """Replace every dim of `size` by its value.

    Raises:
        KeyError: A dim of `size` has no value.
    """
    if isinstance(size, int):
        return size
    return _walk(ast.parse(str(size), mode="eval").body, values)


def evaluate(size: Size, values: Mapping[str, int]) -> int:
    """Return the number `size` is when every dim has a value.

    Raises:
        KeyError: A dim of `size` has no value.
    """
    result = substitute(size, values)
    assert isinstance(result, int)
    return result


def free_dims(size: Size) -> set[str]:
    """Return the names of the dims that `size` depends on."""
    if isinstance(size, int):
        return set()
    tree = ast.parse(str(size), mode="eval")
    called = {
        n.func.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - called


def size_gcd(sizes: Iterable[Size]) -> int:
    """Return the largest integer known to divide every size (0 for no sizes)."""
    return reduce(gcd, (c for s in sizes for _, c in _terms(s)), 0)


Interval = tuple[float, float]


def bounds(size: Size, dims: Mapping[str, Dim]) -> Interval:
    """Return numbers that `size` is never below and never above (infinite where none is known).

    Interval arithmetic: what is known of one term is not held against another.
    """
    low = high = 0.0
    for monomial, coefficient in _terms(size):
        part: Interval = (coefficient, coefficient)
        for atom in monomial:
            part = _hull(part, _atom_bounds(atom, dims), _times)
        low, high = low + part[0], high + part[1]
    return low, high


def _times(a: float, b: float) -> float:
    return a * b if a and b else 0.0  # and not infinity times zero


def _hull(a: Interval, b: Interval, function: Callable[[float, float], float]) -> Interval:
    ends = [function(x, y) for x in a for y in b]
    return min(ends), max(ends)


def _atom_bounds(atom: str, dims: Mapping[str, Dim]) -> Interval:
    tree = ast.parse(atom, mode="eval").body
    if isinstance(tree, ast.Name) and tree.id in dims:
        dim = dims[tree.id]
        return dim.min, math.inf if dim.max is None else dim.max
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        first, *rest = (bounds(_walk(a, None), dims) for a in tree.args)
        if tree.func.id in ("max", "min"):
            pick = max if tree.func.id == "max" else min
            return pick(first[0], *(r[0] for r in rest)), pick(first[1], *(r[1] for r in rest))
        if rest[0][0] > 0 and tree.func.id == "mod":
            return 0, rest[0][1] - 1
        if rest[0][0] > 0 and tree.func.id == "floordiv":
            return _hull(first, rest[0], lambda x, y: x // y if math.isfinite(x) else x)
    return -math.inf, math.inf
