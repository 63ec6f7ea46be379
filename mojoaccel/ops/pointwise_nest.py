"""The loop nest of a pointwise group: axis order, merging, and the call of ``maccel.loops``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.plan import Arg, Body, Closure, KernelCall, View
from mojoaccel.ir.types import BOOL, DType
from mojoaccel.ops.lazy import IOTA, Lazy, is_contiguous


def stride_rank(stride: Size) -> tuple[int, int]:
    """Return a key that orders strides by size, dynamic ones above static ones."""
    if isinstance(stride, int):
        return (0, abs(stride))
    return (max(len(m) for m, _ in stride.terms), abs(stride.terms[0][1]))


def memory_order(view: View) -> list[int]:
    """Return the axes of a view from the largest stride to the smallest."""
    axes = range(len(view.shape))
    return sorted(axes, key=lambda a: (stride_rank(view.strides[a]), -a), reverse=True)


def storage_order(lazy: Lazy) -> Sequence[int]:
    """Choose the axis order of a result so that it follows its full-size operands.

    A dense operand in another order than row-major (channels-last, say) decides; so chains after
    a convolution stay channels-last without any layout operator.
    """
    plain = range(len(lazy.shape))
    for leaf in lazy.leaves:
        full = all(s != 0 or n == 1 for s, n in zip(leaf.strides, leaf.shape, strict=True))
        if leaf.buffer == IOTA or not full:
            continue
        if is_contiguous(leaf):
            return plain
        order = memory_order(leaf)
        if size_prod(leaf.shape) != 1 and _is_dense(leaf, order):
            return order
    return plain


def _is_dense(view: View, order: Sequence[int]) -> bool:
    step: Size = 1
    for axis in reversed(order):
        if view.shape[axis] == 1:
            continue
        if view.strides[axis] != step:
            return False
        step = step * view.shape[axis]
    return True


def permute_view(view: View, order: Sequence[int]) -> View:
    """Reorder the axes of a view."""
    return replace(
        view,
        shape=tuple(view.shape[a] for a in order),
        strides=tuple(view.strides[a] for a in order),
    )


def merge_axes(views: Sequence[View]) -> list[View]:
    """Merge neighbouring axes that every view walks as one; drop axes of size 1."""
    if not views:
        return []
    shape = views[0].shape
    runs: list[list[int]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        previous = runs[-1][-1] if runs else None
        if previous is not None and all(
            v.strides[previous] == v.strides[axis] * size for v in views
        ):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return [
        replace(
            v,
            shape=tuple(size_prod(shape[a] for a in run) for run in runs),
            strides=tuple(v.strides[run[-1]] for run in runs),
        )
        for v in views
    ]


def group_lanes(dtypes: Sequence[DType], simd_bytes: int) -> int:
    """Return the vector length of a group: a register of its widest floating type."""
    floats = [d.size for d in dtypes if d.is_float]
    others = [d.size for d in dtypes if d != BOOL]
    size = max(floats) if floats else max(others, default=1)
    return max(1, simd_bytes // max(size, 4) if floats else simd_bytes // size)


def pointwise_call(lazy: Lazy, into: View, body: Body, simd_bytes: int) -> KernelCall:
    """Return the call that evaluates `body` for every element of `into`."""
    order = memory_order(into)
    views = [permute_view(v, order) for v in (into, *lazy.leaves)]
    into, *leaves = merge_axes(views)
    lanes = group_lanes([into.dtype, *(op.dtype for op in lazy.ops)], simd_bytes)
    rank = len(into.shape)
    if rank <= 1:
        closure = Closure(
            "body", into.shape, (tuple(range(rank)),), tuple(leaves), (into,), body, 0
        )
        flat = (Arg("size", size_prod(into.shape)), Arg("closure", closure))
        return KernelCall("maccel.loops", "pointwise_1d", (("W", lanes),), flat)
    coords = (tuple(range(rank - 1)), (rank - 1,))
    closure = Closure("body", into.shape, coords, tuple(leaves), (into,), body, 1)
    args = (
        Arg("size", size_prod(into.shape[:-1])),
        Arg("size", into.shape[-1]),
        Arg("closure", closure),
    )
    return KernelCall("maccel.loops", "pointwise", (("W", lanes),), args)
