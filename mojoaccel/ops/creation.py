"""Tensors made from nothing: constants and sequences, computed where they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mojoaccel.ir.types import BOOL, I64
from mojoaccel.ops.registry import OpDef, Pointwise, PointwiseContext


def filled(attr: str | None, value: Any = 0) -> Callable[[PointwiseContext], str]:
    """The number in `attr` (or `value`) everywhere."""
    return lambda p: p.const(value if attr is None else p.node.attr(attr))


def arange(p: PointwiseContext) -> str:
    """Start + i * step."""
    start, step = p.node.attr("start", 0), p.node.attr("step", 1)
    index = p.body.cast(p.body.index(0), p.dtype)
    value = index if step == 1 else p.call("mul", index, p.const(step))
    return value if start == 0 else p.call("add", value, p.const(start))


def triangle(compare: str) -> Callable[[PointwiseContext], str]:
    """Keep x where column - row <= (tril) or >= (triu) the diagonal."""

    def build(p: PointwiseContext) -> str:
        rank = p.result.rank
        row, col = p.body.index(rank - 2), p.body.index(rank - 1)
        limit = p.body.const(int(p.node.attr("diagonal", 0)), I64)
        keep = p.call(compare, p.call("sub", col, row), limit, dtype=BOOL)
        return p.call("select", keep, p.operand(0), p.const(0), dtype=p.dtype)

    return build


def eye(p: PointwiseContext) -> str:
    """1 on the diagonal."""
    return p.body.cast(p.call("eq", p.body.index(0), p.body.index(1), dtype=BOOL), p.dtype)


def make(
    name: str, build: Callable[[PointwiseContext], str], *aten: str, reads: bool = False
) -> OpDef:
    """Make a record; most creation operators take at most a shape and a type from operands."""
    return OpDef(name, aten or (f"aten.{name}.default",), Pointwise(build, reads))


OPS = (
    make("full", filled("fill_value")),
    make("full_like", filled("fill_value")),
    make("scalar_tensor", filled("s")),
    make("zeros", filled(None, 0)),
    make("ones", filled(None, 1)),
    make("zeros_like", filled(None, 0)),
    make("ones_like", filled(None, 1)),
    make("empty", filled(None, 0), "aten.empty.memory_format", "aten.empty_permuted.default"),
    make("empty_like", filled(None, 0)),
    make("new_zeros", filled(None, 0)),
    make("new_ones", filled(None, 1)),
    make("new_full", filled("fill_value")),
    make("new_empty", filled(None, 0)),
    make("fill", filled("value"), "aten.fill.Scalar"),
    make(
        "arange",
        arange,
        "aten.arange.start_step",
        "aten.arange.start",
        "aten.arange.default",
    ),
    make("tril", triangle("le"), reads=True),
    make("triu", triangle("ge"), reads=True),
    make("eye", eye, "aten.eye.default", "aten.eye.m"),
)
