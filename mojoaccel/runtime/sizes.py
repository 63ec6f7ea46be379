"""Evaluates the size expressions of a signature, such as ``batch*seq + 1``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import cache

Dims = Mapping[str, int]
Formula = Callable[[Dims], int]

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "max": max,
    "min": min,
}


def evaluate(expression: int | str, dims: Dims) -> int:
    """Return the value of a size.

    Raises:
        ValueError: It is not a size expression.
        KeyError: A dim has no value.
    """
    return expression if isinstance(expression, int) else formula(expression)(dims)


@cache
def formula(expression: str) -> Formula:
    """Return a size expression as a function of the dims; every run evaluates it.

    Raises:
        ValueError: It is not a size expression.
    """
    try:
        return _build(ast.parse(expression, mode="eval").body)
    except SyntaxError as e:
        raise ValueError(f"not a size: {expression}") from e


def solve(expression: str, dims: Dims, got: int) -> tuple[str, int | None] | None:
    """Find the dim that a size still lacks, such as n in ``8*n + 1``.

    Returns:
        Its name and its value, None if no whole number gives `got`; or None for the whole if
        not exactly one dim is missing, or the size is no multiple of it.

    Raises:
        ValueError: It is not a size expression.
    """
    names = {n.id for n in ast.walk(ast.parse(expression)) if isinstance(n, ast.Name)}
    missing = names - dims.keys() - _FUNCTIONS.keys()
    if len(missing) != 1:
        return None
    (name,) = missing
    plus, once = (formula(expression)({**dims, name: n}) for n in (0, 1))
    if once <= plus:
        return None
    value, rest = divmod(got - plus, once - plus)
    return name, None if rest else value


def _build(tree: ast.expr) -> Formula:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        number = tree.value
        return lambda dims: number
    if isinstance(tree, ast.Name):
        return operator.itemgetter(tree.id)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        inner = _build(tree.operand)
        return lambda dims: -inner(dims)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        combine = _OPERATORS[type(tree.op)]
        left, right = _build(tree.left), _build(tree.right)
        return lambda dims: combine(left(dims), right(dims))
    if (
        isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name)
        and tree.func.id in _FUNCTIONS
        and not tree.keywords
    ):
        function = _FUNCTIONS[tree.func.id]
        parts = [_build(a) for a in tree.args]
        return lambda dims: function(*(p(dims) for p in parts))
    raise ValueError(f"not a size: {ast.unparse(tree)}")
