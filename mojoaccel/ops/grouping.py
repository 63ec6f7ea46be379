"""What a fused group is called, and which buffers it reads and writes."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.ir.plan import KernelCall
from mojoaccel.ops.lazy import IOTA

QUIET = frozenset(
    {"view", "expand", "unsqueeze", "squeeze", "slice", "select", "permute", "transpose"}
)
"""Operators that compute nothing: left out of a group's name when others are in it."""


def group_name(ops: Sequence[str], limit: int = 24) -> str:
    """Join operator names, dropping middle ones that do not fit; the last one says most."""
    names = [op for op in dict.fromkeys(ops) if op not in QUIET] or list(dict.fromkeys(ops))
    name = names[-1][:limit]
    for earlier in reversed(names[:-1]):
        if len(earlier) + 1 + len(name) > limit:
            break
        name = f"{earlier}_{name}"
    return name.strip("_")


def touched(calls: Sequence[KernelCall]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the buffers that calls read and write, in order of appearance."""
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    pending = [arg for call in calls for arg in call.args]
    while pending:
        arg = pending.pop(0)
        if arg.kind == "closure":
            reads.update((v.buffer, None) for v in arg.value.operands if v.buffer != IOTA)
            writes.update((v.buffer, None) for v in arg.value.outputs)
        elif arg.kind == "ptr":
            reads.setdefault(arg.value.buffer, None)
        elif arg.kind == "out":
            writes.setdefault(arg.value.buffer, None)
        elif arg.kind == "struct":
            pending.extend(arg.value[2])
    return tuple(reads), tuple(writes)
