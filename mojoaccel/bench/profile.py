"""Time of every fused group of a model, against what the machine could do at most.

The model is built with the clock around each group (about 50 ns), run on random inputs of its
example's sizes, and each group's median is set beside its floating-point operations, the bytes its
operands cover and the machine's roof. Operations are counted for products, convolutions, attention
and recurrent layers; for groups that count none they are unknown. Only weights are held to come
from memory: temporaries are mostly still in a cache.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mojoaccel.bench.calibration import Roof, calibrate
from mojoaccel.cache import Cache
from mojoaccel.driver import Compiler, Report
from mojoaccel.ir.dims import evaluate
from mojoaccel.ir.plan import Arg, FusionGroup, Plan, View
from mojoaccel.job import Job, Request
from mojoaccel.ops.lazy import IOTA
from mojoaccel.runtime.session import load
from mojoaccel.tile_search import example_inputs, run_for


@dataclass(frozen=True, slots=True)
class GroupTime:
    """One fused group.

    Attributes:
        name: Its name in the plan.
        kernel: The kernel that does most of it.
        location: The PyTorch line it came from.
        seconds: Median time.
        flops: Floating-point operations; None where they are not counted.
        bytes: Bytes that its operands and results cover.
        weight_bytes: Bytes of them that are weights.
        roof: Least time by the machine's roof over `seconds`; None where nothing is counted.
    """

    name: str
    kernel: str
    location: str
    seconds: float
    flops: int | None
    bytes: int
    weight_bytes: int
    roof: float | None


@dataclass(frozen=True, slots=True)
class Profile:
    """A profiled model.

    Attributes:
        model: Its name.
        threads: Threads of the session.
        sizes: Sizes of the dynamic dims.
        runs: Number of runs.
        machine: The machine's roof.
        groups: In execution order.
    """

    model: str
    threads: int
    sizes: Mapping[str, int]
    runs: int
    machine: Roof
    groups: tuple[GroupTime, ...]

    @property
    def seconds(self) -> float:
        """Sum of the groups' medians."""
        return sum(g.seconds for g in self.groups)

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON data."""
        return {**asdict(self), "seconds": self.seconds}

    def to_trace(self) -> str:
        """Return one run as a trace that Chrome (chrome://tracing) and Perfetto open.

        The format is Google's Trace Event Format: complete events, times in microseconds.
        """
        events, start = [], 0.0
        for group in self.groups:
            events.append(
                {
                    "name": group.name,
                    "cat": group.kernel,
                    "ph": "X",
                    "ts": start,
                    "dur": group.seconds * 1e6,
                    "pid": 1,
                    "tid": 1,
                    "args": {"source": group.location, "flops": group.flops, "bytes": group.bytes},
                }
            )
            start += group.seconds * 1e6
        head = {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": self.model}}
        return json.dumps({"traceEvents": [head, *events], "displayTimeUnit": "ns"}, indent=1)


def profile_model(request: Request, cache: Cache, seconds: float) -> Profile:
    """Build a model to keep times, run it for `seconds`, and return what its groups took.

    Raises:
        MojoaccelError: As compiling and running.
    """
    options = request.options
    timed = replace(
        options,
        build=replace(options.build, profile=True),
        package=replace(options.package, verify=False),
    )
    found: list[Profile] = []

    def measure(job: Job, report: Report) -> None:
        plan: Plan = job.products["optimize"]
        threads = options.package.threads
        sizes = dict(job.products["trace"].example)
        inputs = example_inputs(job)
        with load(job.products["package"].path, threads or None) as session:
            rows = run_for(session, inputs, seconds)
        used = threads or job.target.cores
        roof = calibrate(used)
        times = [statistics.median(row[i] for row in rows) * 1e-9 for i in range(len(plan.groups))]
        groups = tuple(
            describe(group, plan, sizes, t, roof)
            for group, t in zip(plan.groups, times, strict=True)
        )
        found.append(Profile(plan.name, used, sizes, len(rows), roof, groups))

    Compiler(cache).compile(replace(request, options=timed), measure)
    return found[0]


def describe(
    group: FusionGroup, plan: Plan, sizes: Mapping[str, int], seconds: float, roof: Roof
) -> GroupTime:
    """Set a group's time beside its operations and bytes."""
    flops, moved, weights = count(group, plan, sizes)
    least = roof.seconds(flops, weights, compute_type(group)) if flops or weights else None
    busiest = max(group.calls, key=lambda call: evaluate(call.flops, sizes))
    loc = group.locs[0] if group.locs else None
    return GroupTime(
        group.name,
        busiest.function,
        str(loc) if loc else "",
        seconds,
        flops or None,
        moved,
        weights,
        None if least is None or seconds <= 0 else least / seconds,
    )


def count(group: FusionGroup, plan: Plan, sizes: Mapping[str, int]) -> tuple[int, int, int]:
    """Return a group's floating-point operations, its bytes, and those of them that are weights."""
    flops = sum(evaluate(call.flops, sizes) for call in group.calls)
    moved, weights = 0, 0
    seen: dict[str, int] = {}
    for view in views(group):
        seen[view.buffer] = max(seen.get(view.buffer, 0), covered(view, sizes))
    for name, size in seen.items():
        moved += size
        if plan.buffers[name].space == "weight":
            weights += size
    return flops, moved, weights


def compute_type(group: FusionGroup) -> str:
    """Return ``bf16`` if the group's products read bfloat16 operands, else ``f32``."""
    counted = [call for call in group.calls if call.flops != 0]
    read = {arg.value.dtype.name for call in counted for arg in call.args if arg.kind == "ptr"}
    return "bf16" if "bf16" in read else "f32"


def covered(view: View, sizes: Mapping[str, int]) -> int:
    """Return the bytes of the distinct elements that a window covers."""
    count = 1
    for n, stride in zip(view.shape, view.strides, strict=True):
        if evaluate(stride, sizes) != 0:
            count *= evaluate(n, sizes)
    return count * view.dtype.size


def views(group: FusionGroup) -> Iterator[View]:
    """Yield every window that a group reads or writes."""
    pending: list[Arg] = [arg for call in group.calls for arg in call.args]
    while pending:
        arg = pending.pop()
        if arg.kind == "closure":
            yield from (v for v in (*arg.value.operands, *arg.value.outputs) if v.buffer != IOTA)
        elif arg.kind in ("ptr", "out"):
            yield arg.value
        elif arg.kind == "struct":
            pending.extend(arg.value[2])
