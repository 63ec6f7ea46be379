"""Places every temporary in one arena by liveness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mojoaccel.ir.dims import Dim, Size, evaluate, size_max
from mojoaccel.ir.plan import Buffer, FusionGroup, MemoryPlan
from mojoaccel.passes.in_place import replaceable

ALIGNMENT = 64
"""Bytes: a cache line and an AVX-512 register."""


def align(size: Size) -> Size:
    """Round a byte count up to `ALIGNMENT`."""
    return (size + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


def lifetimes(
    groups: Sequence[FusionGroup], buffers: Mapping[str, Buffer], keep: frozenset[str]
) -> dict[str, tuple[int, int]]:
    """Return the first and last group that touches each arena buffer."""
    spans: dict[str, tuple[int, int]] = {}
    for index, group in enumerate(groups):
        for name in (*group.writes, *group.reads):
            if buffers[name].space == "arena":
                first, _ = spans.get(name, (index, index))
                spans[name] = (first, index)
    last = len(groups)
    return {n: (a, last if n in keep else b) for n, (a, b) in spans.items()}


def join_lifetimes(
    groups: Sequence[FusionGroup],
    buffers: Mapping[str, Buffer],
    spans: dict[str, tuple[int, int]],
) -> dict[str, str]:
    """Let results take the place of operands that die, in `spans`; return whose each takes."""
    alone = dict(spans)
    hosts: dict[str, str] = {}
    for index, group in enumerate(groups):
        for result, operand in replaceable(group, buffers):
            if (
                result in spans
                and operand in alone
                and alone[result][0] == alone[operand][1] == index
            ):
                host = hosts.get(operand, operand)
                hosts[result] = host
                spans[host] = (spans[host][0], spans.pop(result)[1])
    return hosts


def plan_memory(
    groups: Sequence[FusionGroup],
    buffers: Mapping[str, Buffer],
    dims: Sequence[Dim],
    keep: frozenset[str] = frozenset(),
) -> MemoryPlan:
    """Give each arena buffer a byte offset so that live buffers never overlap.

    A result that may be written over an operand that dies takes its place (`in_place`).

    Static plans use best-fit-decreasing over intervals (the greedy-by-size method of Pisarchyk
    and Lee 2020, "Efficient memory management for deep neural net inference"); plans with dynamic
    sizes share slots, a slot being as large as the largest buffer that ever lies in it.
    """
    spans = lifetimes(groups, buffers, keep)
    hosts = join_lifetimes(groups, buffers, spans)
    sizes = {n: align(buffers[n].numel * buffers[n].dtype.size) for n in spans}
    if all(isinstance(s, int) for s in sizes.values()):
        offsets, total = _place_static(spans, {n: int(str(s)) for n, s in sizes.items()})
    else:
        offsets, total = _place_slots(spans, sizes, dims)
    offsets |= {name: offsets[host] for name, host in hosts.items()}
    scratch: Size = 0
    for group in groups:
        for call in group.calls:
            scratch = size_max(scratch, align(call.scratch)) if call.scratch != 0 else scratch
    return MemoryPlan(tuple(sorted(offsets.items())), total, scratch)


def _place_static(
    spans: Mapping[str, tuple[int, int]], sizes: Mapping[str, int]
) -> tuple[dict[str, Size], Size]:
    placed: list[tuple[int, int, str]] = []  # offset, end, name
    offsets: dict[str, Size] = {}
    total = 0
    for name in sorted(spans, key=lambda n: (-sizes[n], spans[n], n)):
        first, last = spans[name]
        best, best_gap, cursor = None, None, 0
        for begin, end, other in sorted(placed):
            if spans[other][1] < first or spans[other][0] > last:
                continue
            gap = begin - cursor
            if gap >= sizes[name] and (best_gap is None or gap < best_gap):
                best, best_gap = cursor, gap
            cursor = max(cursor, end)
        offset = cursor if best is None else best
        offsets[name] = offset
        placed.append((offset, offset + sizes[name], name))
        total = max(total, offset + sizes[name])
    return offsets, total


def _place_slots(
    spans: Mapping[str, tuple[int, int]], sizes: Mapping[str, Size], dims: Sequence[Dim]
) -> tuple[dict[str, Size], Size]:
    typical = {d.name: max(d.min, min(d.max or 64, 64)) for d in dims}
    slots: list[tuple[Size, int]] = []  # size, last group that uses it
    chosen: dict[str, int] = {}
    for name in sorted(spans, key=lambda n: (spans[n], n)):
        first, last = spans[name]
        want = evaluate(sizes[name], typical)
        free = [
            (abs(evaluate(s, typical) - want), sizes[name] != s, i)
            for i, (s, until) in enumerate(slots)
            if until < first
        ]
        fits = [f for f in free if f[0] <= want]
        if fits:
            index = min(fits)[2]
            slots[index] = (size_max(slots[index][0], sizes[name]), last)
        else:
            index = len(slots)
            slots.append((sizes[name], last))
        chosen[name] = index
    starts: list[Size] = [0]
    for size, _ in slots:
        starts.append(starts[-1] + size)
    return {n: starts[i] for n, i in chosen.items()}, starts[-1]
