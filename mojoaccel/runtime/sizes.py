"""Evaluates the size expressions of a signature, such as ``batch*seq + 1``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_FUNCTIONS = {"floordiv": operator.floordiv, "mod": operator.mod, "max": max, "min": min}


def evaluate(expression: int | str, dims: Mapping[str, int]) -> int:
    """Return the value of a size.

    Raises:
        ValueError: It is not a size expression.
        KeyError: A dim has no value.
    """
    if isinstance(expression, int):
        return expression
    return _walk(ast.parse(expression, mode="eval").body, dims)


def _walk(tree: ast.expr, dims: Mapping[str, int]) -> int:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        return tree.value
    if isinstance(tree, ast.Name):
        return dims[tree.id]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_walk(tree.operand, dims)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return int(_OPERATORS[type(tree.op)](_walk(tree.left, dims), _walk(tree.right, dims)))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        return int(_FUNCTIONS[tree.func.id](*(_walk(a, dims) for a in tree.args)))
    raise ValueError(f"not a size: {ast.unparse(tree)}")
