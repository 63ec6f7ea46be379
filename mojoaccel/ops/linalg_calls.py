"""How the kernels on small matrices are called: matrices read and written through closures."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.ir.dims import Size
from mojoaccel.ir.graph import Node, Value
from mojoaccel.ir.plan import Arg, KernelCall, Param, View
from mojoaccel.ir.types import F64, TensorType
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext

Coords = tuple[tuple[int, ...], ...]

SOLVING = dict.fromkeys(
    ("determinant", "solve", "lu_solve", "solve_triangular", "cholesky_solve"), "linalg_solve"
)
"""Kernels of ``maccel.linalg_solve``; the others are in ``maccel.linalg_factor``."""


def square_of(ctx: KernelContext, node: Node, name: str | None) -> tuple[int, int]:
    """Return the static sizes of an operand's matrices."""
    *_, rows, cols = ctx.type(name).shape
    if not isinstance(rows, int) or not isinstance(cols, int):
        raise ctx.reject(node, "matrices whose size is known only at run time")
    return rows, cols


def coords(rank: int, matrix: int = 2, swap: bool = False) -> Coords:
    """Return (batch, row, column) axes of a tensor whose last `matrix` dims are one item."""
    batch = tuple(range(rank - matrix))
    if matrix == 2:
        row, col = (rank - 2,), (rank - 1,)
        return (batch, col, row) if swap else (batch, row, col)
    return (batch, (), (rank - 1,)) if matrix == 1 else (batch, (), ())


def matrix_in(
    ctx: KernelContext,
    name: str | None,
    batch: Sequence[Size],
    *,
    swap: bool = False,
    matrix: int = 2,
) -> Arg:
    """Return a closure that reads an operand's matrices, broadcast over `batch`."""
    inner = ctx.type(name).shape[-matrix:] if matrix else ()
    shape = (*batch, *inner)
    held = ctx.get(str(name))
    if isinstance(held, Lazy):  # every element is read more than once
        ctx.realize(str(name))
    where = coords(len(shape), matrix, swap)
    return Arg("closure", ctx.load_closure(name, where, dtype=F64, shape=shape))


def matrix_out(
    ctx: KernelContext, value: Value, *, swap: bool = False, matrix: int = 2
) -> tuple[View, Arg]:
    """Make an output's memory; return it and a closure that writes its matrices."""
    into = ctx.new_buffer(value.name, value.type)
    where = coords(value.type.rank, matrix, swap)
    return into, Arg("closure", ctx.store_closure(into, where, F64))


def spare(ctx: KernelContext, node: Node, label: str, like: TensorType, matrix: int) -> Arg:
    """Return a closure that writes what no output of the operator takes."""
    into = ctx.new_buffer(f"{node.output.name}_{label}", like)
    return Arg("closure", ctx.store_closure(into, coords(like.rank, matrix), F64))


def run(
    ctx: KernelContext,
    node: Node,
    function: str,
    sizes: Sequence[Size],
    closures: Sequence[Arg],
    *,
    elements: Size,
    params: Sequence[tuple[str, Param]] = (),
) -> None:
    """Append the call of a kernel on small matrices.

    Args:
        ctx: The schedule.
        node: The operator.
        function: The kernel.
        sizes: Number of matrices, then their sizes.
        closures: What it reads and writes.
        elements: Numbers of scratch that a thread needs.
        params: Compile-time parameters.
    """
    work = sizes[0] * (int(str(sizes[1])) ** 3 + 1)
    call = KernelCall(
        f"maccel.{SOLVING.get(function, 'linalg_factor')}",
        function,
        tuple(params),
        (*(Arg("size", s) for s in sizes), *closures),
        scratch=elements * 8,
        flops=work * 2,
    )
    ctx.append([call], [node], work)
