"""Reductions of complex numbers that are not those of each part."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.errors import error
from mojoaccel.ir.graph import Attr
from mojoaccel.ir.types import BOOL, TensorType
from mojoaccel.ops.complex_functions import Result
from mojoaccel.ops.complex_parts import Pair, Part, Rewriting


def vector_norm(r: Rewriting) -> Sequence[Result]:
    """The norm of the absolute values."""
    size = r.parts.size(r.operand(0))
    attrs = {k: v for k, v in r.node.attrs if k != "dtype"}
    return [r.b.add(r.node.op, [size], r.node.output.type, dtype=None, **attrs)]


def distance(r: Rewriting) -> Sequence[Result]:
    """``aten.dist``: the norm of the absolute values of the difference."""
    x, y = r.operand(0), r.operand(1)
    size = r.parts.size((r.parts.sub(x[0], y[0]), r.parts.sub(x[1], y[1])))
    attrs: dict[str, Attr] = {"ord": float(r.node.attr("p", 2)), "dim": None, "keepdim": False}
    return [r.b.add("linalg_vector_norm", [size], r.node.output.type, dtype=None, **attrs)]


def variance(r: Rewriting) -> Sequence[Result]:
    """The variance (or its root): the sum of those of both parts; and the mean, if asked for."""
    types = [TensorType(r.parts.dtype, v.type.shape) for v in r.node.outputs]
    found = []
    for part in r.operand(0):
        start = len(r.b.nodes)
        r.b.add(r.node.op.replace("std", "var"), [str(part)], types, **dict(r.node.attrs))
        found.append([v.name for v in r.b.nodes[start].outputs])
    (spread, *mean), (other, *imaginary) = found
    means: list[Result] = list(zip(mean, imaginary, strict=True))
    total = r.b.add("add", [spread, other], types[0], alpha=1)
    return [r.parts.call("sqrt", total) if r.node.op.startswith("std") else total, *means]


def log_of_sum(r: Rewriting) -> Sequence[Result]:
    """``aten.logsumexp``: taken from the largest real part, where that is finite."""
    p, t = r.parts, r.node.output.type
    re, im = (p.value(v) for v in r.operand(0))
    where = {k: v for k, v in r.node.attrs if k in ("dim", "keepdim")}
    kept = r.b.types[re].shape
    axes = [a % len(kept) for a in r.node.attr("dim")] or range(len(kept))
    shape = tuple(1 if a in axes else n for a, n in enumerate(kept))
    top = r.b.add("amax", [re], TensorType(p.dtype, shape), dim=tuple(axes), keepdim=True)
    finite = r.b.add("isfinite", [top], TensorType(BOOL, shape))
    top = p.where(finite, top, 0.0)
    parts = p.exp((p.sub(re, top), im))
    out = TensorType(p.dtype, t.shape)
    total = [r.b.add("sum", [p.value(v)], out, dtype=None, **where) for v in parts]
    found = p.log((total[0], total[1]))
    flat = r.b.add("view", [top], out, size=t.shape)
    return [(p.add(found[0], flat), found[1])]


def _cut(r: Rewriting, x: Pair, axis: int, start: int, end: int) -> Pair:
    """Return the places from start to end of an axis."""

    def cut(part: Part) -> str:
        t = r.b.types[str(part)]
        shape = (*t.shape[:axis], end - start, *t.shape[axis + 1 :])
        where: dict[str, Attr] = {"dim": axis, "start": start, "end": end, "step": 1}
        return r.b.add("slice", [str(part)], TensorType(t.dtype, shape), **where)

    return cut(x[0]), cut(x[1])


def _factors(r: Rewriting) -> tuple[Pair, int, int]:
    """Return the operand, the axis that is multiplied along, and its length.

    Raises:
        MojoaccelError: MA302, the length is dynamic.
    """
    re, im = (r.parts.value(v) for v in r.operand(0))
    shape, axis = r.b.types[re].shape, r.node.attr("dim")
    if axis is None or not shape:
        t = TensorType(r.parts.dtype, (r.b.types[re].numel,))
        re, im = (r.b.add("view", [v], t, size=t.shape) for v in (re, im))
        shape, axis = t.shape, 0
    axis = axis % len(shape)
    length = shape[axis]
    if not isinstance(length, int):
        raise error("MA302", f"{r.node.op} of complex numbers along a dynamic dim", loc=r.node.loc)
    return (re, im), axis, length


def product(r: Rewriting) -> Sequence[Result]:
    """``aten.prod``: halves are multiplied with each other until one place is left."""
    x, axis, length = _factors(r)
    t = TensorType(r.parts.dtype, r.node.output.type.shape)
    if length == 0:
        return [(1.0, None)]
    odd: list[Pair] = []
    while length > 1:
        half = length // 2
        if length % 2:
            odd.append(_cut(r, x, axis, length - 1, length))
        x = r.parts.product(_cut(r, x, axis, 0, half), _cut(r, x, axis, half, 2 * half))
        length = half
    for left in odd:
        x = r.parts.product(x, left)
    return [(r.b.add("view", [str(x[0])], t, size=t.shape),
             r.b.add("view", [str(x[1])], t, size=t.shape))]  # fmt: skip


def running_product(r: Rewriting) -> Sequence[Result]:
    """``aten.cumprod``: every step doubles the reach (Hillis and Steele, 1986)."""
    x, axis, length = _factors(r)
    t = TensorType(r.parts.dtype, r.node.output.type.shape)
    reach = 1
    while reach < length:
        first = _cut(r, x, axis, 0, reach)
        later = _cut(r, x, axis, reach, length)
        rest = r.parts.product(later, _cut(r, x, axis, 0, length - reach))
        shape = r.b.types[str(x[0])]
        x = tuple(r.b.add("cat", [str(a), str(b)], shape, dim=axis)
                  for a, b in zip(first, rest, strict=True))  # type: ignore[assignment] # fmt: skip
        reach *= 2
    return [tuple(r.b.add("view", [str(p)], t, size=t.shape) for p in x)]  # type: ignore[list-item]
