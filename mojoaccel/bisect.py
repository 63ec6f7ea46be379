"""Finds the first value of a model that departs from PyTorch's by more than the referee allows.

The model is compiled again with its intermediate values as outputs, and each is compared in order
with an interpreted run in the model's own types and one in float64. Where exposing the values
hides the fault (a value that lies in memory is not fused), prefixes of the model are compiled
instead, and the shortest wrong one is searched by halving (Zeller, Why Programs Fail, 2009).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mojoaccel.emit.module import emit
from mojoaccel.errors import SourceLoc, error
from mojoaccel.ir.graph import Node, Value
from mojoaccel.ir.plan import FusionGroup, Plan
from mojoaccel.job import Job
from mojoaccel.packaging import Array, assemble, runs_here, weight_sources
from mojoaccel.passes.pipeline import optimize
from mojoaccel.products import MojoSource, TracedModel
from mojoaccel.runtime.session import load
from mojoaccel.tile_search import example_inputs
from mojoaccel.toolchain.build import build
from mojoaccel.verify import Comparison, compare, widen

CHUNK = 256
"""Values that one build exposes."""


@dataclass(frozen=True)
class Departure:
    """The first value that is wrong.

    Attributes:
        value: Its name in the graph.
        op: The operator that gives it.
        loc: The user's line.
        comparison: How far it is off.
        index: Where it is off most.
        ours: What the artifact computes there.
        torch: What PyTorch computes there.
        exact: What float64 gives there.
        group: Name of the fused group that computes it.
        function: The emitted Mojo of that group.
    """

    value: str
    op: str
    loc: SourceLoc | None
    comparison: Comparison
    index: tuple[int, ...]
    ours: str
    torch: str
    exact: str
    group: str
    function: str

    def lines(self) -> list[str]:
        """Return the account of it for people."""
        off, row = self.comparison.error, self.comparison
        return [
            f"first wrong value: {self.value}, by {self.op}"
            + (f" at {self.loc}: {self.loc.text}" if self.loc is not None else ""),
            f"off by {off:.3g} at {list(self.index)}: {self.ours} here, {self.torch} by PyTorch, "
            f"{self.exact} in float64 (allowed {row.allowed:.3g})",
            f"computed by group {self.group}:",
            *self.function.splitlines(),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "value": self.value,
            "operator": self.op,
            "location": None if self.loc is None else self.loc.to_json(),
            "error": self.comparison.error,
            "allowed": self.comparison.allowed,
            "index": list(self.index),
            "ours": self.ours,
            "torch": self.torch,
            "float64": self.exact,
            "group": self.group,
            "function": self.function,
        }


def first_departure(job: Job, inputs: Sequence[Array] = ()) -> Departure | None:
    """Return the first wrong value, or None if all agree.

    Args:
        job: A compile whose trace is done, for this machine.
        inputs: Flattened inputs; random ones of the example's sizes if empty.

    Raises:
        MojoaccelError: MA903 the target is not this machine; else as optimize and build.
    """
    if job.target.name != "cpu" or not runs_here(job.target):
        raise error("MA903", f"what is compiled for {job.target} cannot be run here to compare it")
    search = _Search(job, list(inputs) or example_inputs(job))
    return search.exposed() or search.halved()


class _Search:
    """The builds of one search."""

    def __init__(self, job: Job, inputs: Sequence[Array]) -> None:
        self.job = job
        self.inputs = inputs
        self.traced: TracedModel = job.products["trace"]
        self.makers = {v.name: n for n in self.traced.graph.nodes for v in n.outputs}
        self.builds = 0
        replay = importlib.import_module("mojoaccel.trace.replay")
        names = [v.name for v in self._values()]
        whole = _giving(self.traced, self._values())
        self.own, self.exact = (
            dict(zip(names, replay.graph_runner(whole, job.weights, double=d)(inputs), strict=True))
            for d in (False, True)
        )

    def _values(self) -> list[Value]:
        return [v for n in self.traced.graph.nodes for v in n.outputs]

    def exposed(self) -> Departure | None:
        """Compare every value, laid in memory."""
        values = self._values()
        for start in range(0, len(values), CHUNK):
            found = self._wrong(values[start : start + CHUNK])
            if found is not None:
                return found
        return None

    def halved(self) -> Departure | None:
        """Search the shortest wrong prefix."""
        nodes = self.traced.graph.nodes
        found = self._wrong(self._live_after(len(nodes)))
        low, high = 0, len(nodes)
        while found is not None and high - low > 1:
            middle = (low + high) // 2
            shorter = self._wrong(self._live_after(middle))
            low, high = (low, middle) if shorter is not None else (middle, high)
            found = shorter or found
        return found

    def _live_after(self, count: int) -> list[Value]:
        """Return what the first `count` nodes leave for the others and for the outputs."""
        graph = self.traced.graph
        wanted = {i for n in graph.nodes[count:] for i in n.inputs if i} | set(graph.outputs)
        return [v for n in graph.nodes[:count] for v in n.outputs if v.name in wanted]

    def _wrong(self, values: Sequence[Value]) -> Departure | None:
        """Build the model with these outputs; return the first that is wrong."""
        if not values:
            return None
        traced = _giving(self.traced, values)
        job = self.job
        options = job.request.options
        work = job.work / f"bisect_{self.builds}"
        self.builds += 1
        plan = optimize(traced, job.target, options.optimize)
        source = emit(plan, job.target)
        library = build(source, job.target, options.build, compiler=job.compiler, out=work)
        products = {**job.products, "trace": traced, "optimize": plan, "emit": source}
        inner = replace(job, work=work, products={**products, "build": library})
        inner.weights = job.weights
        assemble(inner, work / "artifact", weight_sources(inner, traced, plan))
        with load(work / "artifact", options.package.threads or None) as session:
            answers = session.run_flat(self.inputs)
        for position, (value, mine) in enumerate(zip(values, answers, strict=True)):
            row = compare(value, mine, self.own[value.name], self.exact[value.name])
            if not row.ok:
                return self._departure(value, row, mine, (plan, source, position))
        return None

    def _departure(
        self, value: Value, row: Comparison, mine: Array, built: tuple[Plan, MojoSource, int]
    ) -> Departure:
        dtype = value.type.dtype
        own, exact = self.own[value.name], self.exact[value.name]
        node = self.makers[value.name]
        group, function = _emitted(node, *built)
        index: tuple[int, ...] = ()
        mine_at = own_at = exact_at = "?"
        if mine.shape == own.shape and mine.size:
            wide = [widen(a, dtype) for a in (mine, own, exact)]
            off = np.nan_to_num(np.abs(wide[0] - wide[2]), nan=np.inf)
            index = tuple(int(i) for i in np.unravel_index(int(off.argmax()), off.shape))
            mine_at, own_at, exact_at = (format(a[index], ".9g") for a in wide)
        return Departure(
            value.name, node.op, node.loc, row, index, mine_at, own_at, exact_at, group, function
        )


def _giving(traced: TracedModel, values: Sequence[Value]) -> TracedModel:
    """Return a model with other outputs."""
    graph = replace(traced.graph, outputs=tuple(v.name for v in values))
    tree = '{"tuple": [' + ", ".join(f'{{"tensor": {i}}}' for i in range(len(values))) + "]}"
    signature = replace(traced.signature, outputs=tuple(values), out_tree=tree)
    return replace(traced, graph=graph, signature=signature)


def _emitted(node: Node, plan: Plan, source: MojoSource, position: int) -> tuple[str, str]:
    """Return name and Mojo text of the group that computes output `position`."""
    functions = re.findall(r"^    s\.launch\[(\w+)\]", source.main, re.MULTILINE)
    for group, function in _candidates(node, plan, functions, position):
        start = source.main.index(f"def {function}(")
        text = source.main[start:].split("\n\n\ndef ", 1)[0]
        return group.name, text.rstrip()
    return "?", ""


def _candidates(
    node: Node, plan: Plan, functions: Sequence[str], position: int
) -> Iterator[tuple[FusionGroup, str]]:
    """Give the groups that write the output, those first that hold the node."""
    buffers: Mapping[str, Any] = plan.buffers
    outputs = {n for n, b in buffers.items() if b.space == "output" and b.index == position}
    pairs = list(zip(plan.groups, functions, strict=False))
    yield from ((g, f) for g, f in pairs if outputs & set(g.writes) and node.op in g.ops)
    yield from ((g, f) for g, f in pairs if node.op in g.ops and node.loc in g.locs)
    yield from ((g, f) for g, f in pairs if outputs & set(g.writes))
