"""Which results may take the memory of what they were computed from.

A residual sum written over its residual costs one pass over memory less: the lines are in the cache
when they are written. Only epilogues whose kernel hands over every element exactly once qualify: a
second call would add to its own result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mojoaccel.ir.plan import Arg, Buffer, Closure, FusionGroup, View

ONCE = frozenset(
    {
        ("maccel.conv", "conv2d"),
        ("maccel.conv_pairs", "conv2d_pairs"),
        ("maccel.linear", "linear"),
        ("maccel.linear", "linear_pairs"),
        ("maccel.winograd", "conv2d_winograd"),
    }
)
"""Kernels that promise to call their epilogue once per element."""


def replaceable(group: FusionGroup, buffers: Mapping[str, Buffer]) -> Iterator[tuple[str, str]]:
    """Yield pairs (result, operand): the result may be written over the operand, if that dies.

    The epilogue must read the operand at the very place it writes to, and nothing else of the
    group may read it.
    """
    if len(group.calls) != 1 or (group.calls[0].module, group.calls[0].function) not in ONCE:
        return
    args = group.calls[0].args
    closures = [arg.value for arg in args if arg.kind == "closure" and arg.value.kind == "store"]
    if len(closures) != 1 or len(closures[0].outputs) != 1:
        return
    (closure,), (into,) = closures, closures[0].outputs
    read_by_kernel = set(_pointers(args))
    gathered = {op.args[0] for op in closure.body.ops if op.function == "gather"}
    for number, view in enumerate(closure.operands):
        others = [v for k, v in enumerate(closure.operands) if k != number]
        if (
            number not in gathered
            and view.buffer not in read_by_kernel
            and all(v.buffer != view.buffer for v in others)
            and view.dtype.size == into.dtype.size
            and _same_place(view, into, closure)
            and view.buffer in buffers
            and _bytes(buffers[view.buffer]) == _bytes(buffers[into.buffer])
        ):
            yield into.buffer, view.buffer


def _bytes(buffer: Buffer) -> object:
    return buffer.numel * buffer.dtype.size


def _same_place(a: View, b: View, closure: Closure) -> bool:
    axes = zip(closure.domain, a.strides, b.strides, strict=True)
    return a.offset == b.offset and all(n == 1 or x == y for n, x, y in axes)


def _pointers(args: tuple[Arg, ...]) -> Iterator[str]:
    """Yield the buffers whose addresses the kernel itself is given."""
    for arg in args:
        if arg.kind in ("ptr", "out"):
            yield arg.value.buffer
        elif arg.kind == "struct":
            yield from _pointers(arg.value[2])
