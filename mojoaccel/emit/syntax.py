"""Every spelling that depends on the Mojo version (1.2.0)."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from mojoaccel.ir.dims import Expr, Size
from mojoaccel.ir.types import (
    BF16,
    BOOL,
    F16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    DType,
    split_args,
)

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "and_": "&",
    "or_": "|",
    "xor_": "^",
    "shl": "<<",
    "shr": ">>",
}
"""Scalar functions printed as operators."""

METHODS = ("eq", "lt", "le", "gt", "ge")
"""Scalar functions printed as methods of the first operand."""

KEYWORDS = frozenset(
    [
        "and",
        "as",
        "break",
        "comptime",
        "continue",
        "def",
        "del",
        "elif",
        "else",
        "except",
        "finally",
        "for",
        "from",
        "fn",
        "if",
        "import",
        "in",
        "is",
        "let",
        "match",
        "mut",
        "not",
        "or",
        "out",
        "owned",
        "pass",
        "raise",
        "raises",
        "read",
        "ref",
        "return",
        "self",
        "struct",
        "trait",
        "try",
        "var",
        "where",
        "while",
        "with",
    ]
)


def identifier(text: str) -> str:
    """Return `text` as a Mojo identifier."""
    name = re.sub(r"\W+", "_", text).strip("_") or "value"
    if name[0].isdigit() or name in KEYWORDS:
        name = f"_{name}"
    return name


def dim_name(dim: str) -> str:
    """Return the variable that holds a dim: ``n_batch``; no coordinate is called so."""
    return f"n_{identifier(dim)}"


def dtype(d: DType, *, compute: bool = False) -> str:
    """Print an element type; bool is a byte in memory and a mask while computing."""
    return "DType.bool" if compute and d == BOOL else f"DType.{d.mojo}"


def conversion(source: DType, to: DType) -> str:
    """Print the method calls that convert a vector.

    Float64 becomes a half type by way of float32, as in PyTorch: processors have no instruction
    for it, and the compiler would call a function of its run-time library. Floats become narrow and
    unsigned integers by way of wider signed ones, so that they wrap as PyTorch's do on x86.
    """
    step = None
    if source == F64 and to in (BF16, F16):
        step = F32
    elif source.is_float and to in (U8, I8, I16, U16):
        step = I32
    elif source.is_float and to == U32:
        step = I64
    through = f".cast[{dtype(step)}]()" if step else ""
    return f"{through}.cast[{dtype(to)}]()"


def simd(d: DType, width: str = "w") -> str:
    """Print the vector type that a value of type `d` is computed in (see maccel.types)."""
    return f"{vector_name(d)}[{width}]"


def vector_name(d: DType) -> str:
    """Return the alias in maccel.types for vectors of `d`."""
    return "Mask" if d == BOOL else d.name.upper()


def _size(tree: ast.expr) -> str:
    if isinstance(tree, ast.Constant):
        return str(tree.value)
    if isinstance(tree, ast.Name):
        return dim_name(tree.id)
    if isinstance(tree, ast.UnaryOp):
        return f"-{_size(tree.operand)}"
    if isinstance(tree, ast.BinOp):
        sign = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}[type(tree.op)]
        left, right = _size(tree.left), _size(tree.right)
        if isinstance(tree.op, ast.Mult):
            left, right = _atom(tree.left, left), _atom(tree.right, right)
        return f"{left} {sign} {right}"
    assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)
    args = [_size(a) for a in tree.args]
    if tree.func.id in ("floordiv", "mod"):
        sign = "//" if tree.func.id == "floordiv" else "%"
        return f"(({args[0]}) {sign} {_atom(tree.args[1], args[1])})"
    return f"{tree.func.id}({', '.join(args)})"


def _atom(tree: ast.expr, text: str) -> str:
    plain = isinstance(tree, (ast.Constant, ast.Name, ast.Call))
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        plain = True
    return text if plain else f"({text})"


def size(value: Size) -> str:
    """Print a size as a Mojo Int expression."""
    if isinstance(value, int):
        return str(value)
    return _size(ast.parse(str(value), mode="eval").body)


def product(coefficient: Size, factor: str) -> str:
    """Print ``factor * coefficient``, simplified for 0 and 1."""
    if coefficient == 0:
        return ""
    if coefficient == 1:
        return factor
    text = size(coefficient)
    simple = isinstance(coefficient, int) or re.fullmatch(r"[\w* ]+", text)
    return f"{factor} * {text if simple else f'({text})'}"


def number(value: Any) -> str:
    """Print a Python number as a Mojo literal expression."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "NAN"
        if math.isinf(value):
            return "INF" if value > 0 else "-INF"
        return repr(value)
    return str(value)


def constant(value: Any, d: DType) -> str:
    """Print a constant vector of type `d`."""
    if isinstance(value, Expr):
        return f"{simd(d)}({size(value)})"
    if d == BOOL:
        return f"{simd(d)}(fill={bool(value)})"
    if d.is_float:
        value = float(value)
        if math.isnan(value) or math.isinf(value):
            helper = "nan" if math.isnan(value) else "inf" if value > 0 else "neg_inf"
            return f"{simd(d)}({helper}[{dtype(d)}]())"
        return f"{simd(d)}({value!r})"
    return f"{simd(d)}({int(value)})"


def param(value: Any) -> str:
    """Print a compile-time parameter."""
    if isinstance(value, DType):
        return dtype(value, compute=True)
    return number(value)


LINE_LENGTH = 80


def wrap(line: str) -> list[str]:
    """Break a call that is longer than a line at its last bracket pair, as `mojo format` does."""
    body = line.rstrip(":")
    if len(line) <= LINE_LENGTH or not body.endswith(")"):
        return [line]
    depth, start = 0, len(body)
    for start in range(len(body) - 1, -1, -1):
        depth += (body[start] == ")") - (body[start] == "(")
        if depth == 0:
            break
    indent = line[: len(line) - len(line.lstrip())]
    head, inner, tail = body[: start + 1], body[start + 1 : -1], ")" + line[len(body) :]
    args = split_args(inner)
    is_group = len(args) == 1 and not re.search(r"[\w\])]\($", head)  # a comma makes it a tuple
    if is_group or len(indent) + 4 + len(inner) <= LINE_LENGTH:
        return [head, f"{indent}    {inner}", f"{indent}{tail}"]
    return [head, *(f"{indent}    {arg}," for arg in args), f"{indent}{tail}"]
