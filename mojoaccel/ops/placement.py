"""Positions made from counts: triangles' indices, repeated positions, places of nonzero values.

All of them search a running count: the k-th item lies where the count first exceeds k.
"""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.errors import error
from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.types import BOOL, I64, TensorType
from mojoaccel.ops.registry import Decompose, OpDef


def line(count: Size) -> TensorType:
    """Return the type of `count` positions."""
    return TensorType(I64, (count,))


def count_up(b: GraphBuilder, count: Size) -> str:
    """Build 0 .. count - 1."""
    return b.add("arange", [], line(count), start=0, end=count, step=1, dtype="int64")


def plus(b: GraphBuilder, x: str, number: int) -> str:
    """Build x + number."""
    return b.add("add", [x, None], b.types[x], other=number, alpha=1)


def between(b: GraphBuilder, x: str, low: int, high: int) -> str:
    """Build x limited to [low, high]."""
    below = b.add("clamp_min", [x, None], b.types[x], min=low)
    return b.add("clamp_max", [below, None], b.types[x], max=high)


def running(b: GraphBuilder, counts: str) -> str:
    """Build the running count."""
    return b.add("cumsum", [counts], line(b.types[counts].shape[0]), dim=0, dtype=None)


def search(b: GraphBuilder, ascending: str, values: str, *, right: bool) -> str:
    """Build the place of each value in an ascending line."""
    t = b.types[values]
    return b.add("searchsorted", [ascending, values], t, right=right, side=None, out_int32=False)


def rewrite_triangle(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite tril_indices and triu_indices: row by row, the columns kept in each."""
    rows, columns = int(node.attr("row")), int(node.attr("col"))
    offset = int(node.attr("offset", 0))
    t = node.output.type
    total = t.shape[1]
    if total == 0 or rows == 0:
        return [b.add("full", [], t, size=t.shape, fill_value=0, dtype=t.dtype.torch)]
    edge = between(b, plus(b, count_up(b, rows), offset + (node.op == "tril_indices")), 0, columns)
    counts = edge
    if node.op == "triu_indices":
        counts = plus(b, b.add("neg", [edge], line(rows)), columns)
    ends = running(b, counts)
    items = count_up(b, total)
    row = search(b, ends, items, right=True)
    # Column = place within the row, after the columns that are left out.
    starts = b.add("sub", [ends, counts], line(rows), alpha=1)
    if node.op == "triu_indices":
        starts = b.add("sub", [starts, edge], line(rows), alpha=1)
    first = b.add("index_select", [starts, row], line(total), dim=0)
    column = b.add("sub", [items, first], line(total), alpha=1)
    wide = TensorType(I64, (2, total))
    both = b.add("stack", [row, column], wide, dim=0)
    return [both if t == wide else b.add("to", [both], t, dtype=t.dtype.torch)]


def rewrite_repeats(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite ``repeat_interleave.Tensor`` of known total length: position i, repeats[i] times."""
    repeats = str(node.inputs[0])
    t = node.output.type
    ends = running(b, repeats)
    row = search(b, ends, count_up(b, t.shape[0]), right=True)
    return [row if t.dtype == I64 else b.add("to", [row], t, dtype=t.dtype.torch)]


def rewrite_nonzero(b: GraphBuilder, node: Node) -> Sequence[str]:
    """Rewrite nonzero_static: the first `size` places of nonzero values, then `fill_value`."""
    x = str(node.inputs[0])
    source, t = b.types[x], node.output.type
    count, total = t.shape[0], source.numel
    fill = int(node.attr("fill_value", -1))
    if source.rank == 0 or count == 0:
        if t.numel != 0:
            raise error("MA302", f"{node.op} of a scalar", loc=node.loc)
        return [b.add("full", [], t, size=t.shape, fill_value=fill, dtype="int64")]
    flat = b.add("view", [x], TensorType(source.dtype, (total,)), size=(total,))
    flags = b.add("ne", [flat, None], TensorType(BOOL, (total,)), other=0)
    ends = running(b, flags)
    place = search(b, ends, plus(b, count_up(b, count), 1), right=False)
    beyond = b.add("ge", [place, None], TensorType(BOOL, (count,)), other=total)
    columns = []
    for axis in range(source.rank):
        inner = size_prod(source.shape[axis + 1 :])
        found = b.add("div", [place, None], line(count), other=inner, rounding_mode="floor")
        found = b.add("remainder", [found, None], line(count), other=source.shape[axis])
        columns.append(b.add("masked_fill", [found, beyond, None], line(count), value=fill))
    return [b.add("stack", columns, t, dim=1)]


OPS = (
    OpDef("tril_indices", ("aten.tril_indices.default",), Decompose(rewrite_triangle)),
    OpDef("triu_indices", ("aten.triu_indices.default",), Decompose(rewrite_triangle)),
    OpDef("repeat_interleave", ("aten.repeat_interleave.Tensor",), Decompose(rewrite_repeats)),
    OpDef("nonzero_static", ("aten.nonzero_static.default",), Decompose(rewrite_nonzero)),
)
