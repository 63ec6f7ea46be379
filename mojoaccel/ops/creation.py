"""Tensors made from nothing: constants and sequences, computed where they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mojoaccel.errors import error
from mojoaccel.ir.types import BOOL, F32, F64, I64, DType
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


def linspace(p: PointwiseContext) -> str:
    """`steps` numbers from start to end, counted from the nearer end as torch.linspace does.

    Integers are cut from the line between the integer ends, in float64.
    """
    return p.body.cast(_line(p, p.dtype if p.dtype.is_float else F64), p.dtype)


def logspace(p: PointwiseContext) -> str:
    """The powers base ** linspace(start, end)."""
    dtype = p.dtype if p.dtype.is_float else F64
    # PyTorch walks the exponents of integer powers in float32.
    line = p.body.cast(_line(p, p.dtype if p.dtype.is_float else F32), dtype)
    base = p.body.const(float(p.node.attr("base", 10.0)), dtype)
    return p.body.cast(p.call("pow", base, line), p.dtype)


def _line(p: PointwiseContext, dtype: DType) -> str:
    start, end = float(p.node.attr("start")), float(p.node.attr("end"))
    if not p.dtype.is_float:
        start, end = float(int(start)), float(int(end))
    steps = p.result.shape[0]
    if not isinstance(steps, int):
        raise error("MA302", f"{p.node.op} with a dynamic number of steps", loc=p.node.loc)
    if steps < 2:
        return p.body.const(start, dtype)
    step = p.body.const((end - start) / (steps - 1), dtype)
    index = p.body.index(0)
    left = p.body.call("sub", p.body.const(steps - 1, I64), index)
    near = p.call("lt", index, p.body.const(steps // 2, I64), dtype=BOOL)
    rising = p.call("mul", step, p.body.cast(index, dtype))
    falling = p.call("mul", step, p.body.cast(left, dtype))
    up = p.call("add", p.body.const(start, dtype), rising)
    down = p.call("sub", p.body.const(end, dtype), falling)
    return p.call("select", near, up, down, dtype=dtype)


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
    make(
        "scalar_tensor",
        filled("s"),
        "aten.scalar_tensor.default",
        "prims.scalar_tensor.default",
    ),
    make("zeros", filled(None, 0)),
    make("ones", filled(None, 1)),
    make("zeros_like", filled(None, 0)),
    make("ones_like", filled(None, 1)),
    make(
        "empty",
        filled(None, 0),
        "aten.empty.memory_format",
        "aten.empty_permuted.default",
        "aten.empty_strided.default",
    ),
    make("empty_like", filled(None, 0)),
    make("new_zeros", filled(None, 0)),
    make("new_ones", filled(None, 1)),
    make("new_full", filled("fill_value")),
    make("new_empty", filled(None, 0), "aten.new_empty.default", "aten.new_empty_strided.default"),
    make("linspace", linspace),
    make("logspace", logspace),
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
