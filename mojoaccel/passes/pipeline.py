"""The optimize stage: the visible list of passes of each level.

| level | passes |
|---|---|
| O0 | share tied weights, split complex values, decompose, one group per operator |
| O1 | + fold constants, eliminate dead and duplicate nodes |
| O2 | + fold padding, share heads, fuse, choose layouts, pack weights, one arena by liveness |
| O3 | + tile parameters by measuring on this machine (`tile_search`) |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mojoaccel.config import OptimizeOptions
from mojoaccel.ir.graph import Graph
from mojoaccel.ir.plan import Plan
from mojoaccel.ir.verify import verify_graph
from mojoaccel.ops.tiles import TileTable
from mojoaccel.passes.decompose import decompose
from mojoaccel.passes.eliminate_duplicates import (
    eliminate_dead,
    eliminate_duplicates,
    share_tied_weights,
)
from mojoaccel.passes.fold_constants import fold_constants
from mojoaccel.passes.fold_padding import fold_padding
from mojoaccel.passes.plan_memory import plan_memory
from mojoaccel.passes.schedule_groups import schedule_groups
from mojoaccel.passes.share_heads import share_heads
from mojoaccel.passes.split_complex import split_complex
from mojoaccel.products import Target, TracedModel

GRAPH_PASSES: tuple[tuple[int, str, Callable[..., tuple[Graph, int]]], ...] = (
    (1, "eliminate_dead", eliminate_dead),
    (1, "eliminate_duplicates", eliminate_duplicates),
    (2, "fold_padding", fold_padding),
    (2, "share_heads", share_heads),
)
"""Level from which each pass runs, its name and itself."""


def optimize(
    traced: TracedModel,
    target: Target,
    options: OptimizeOptions,
    tiles: TileTable | None = None,
) -> Plan:
    """Turn a traced model into a plan for `target`.

    Args:
        traced: The model.
        target: What it will run on.
        options: Options of the stage.
        tiles: Measured tile parameters (level 3); receives the questions asked.

    Raises:
        MojoaccelError: MA203 or MA302 for operators or forms without a lowering.
    """
    level = options.optimization
    graph = traced.graph
    keep = frozenset(s.output for s in traced.states)
    ran: list[tuple[str, int]] = []

    # States start equal more often than not (caches of zeros), and then differ.
    own = {s.weight: s.weight for s in traced.states}
    contents = {w.value: w.digest for w in traced.weights} | own
    graph, count = share_tied_weights(graph, contents)
    ran.append(("share_tied_weights", count))
    graph = extend_outputs(graph, traced)
    graph, count = split_complex(graph)
    ran.append(("split_complex", count))
    verify_graph(graph, "split_complex")
    graph, count = decompose(graph, keep)
    ran.append(("decompose", count))
    verify_graph(graph, "decompose")
    for least, name, run in GRAPH_PASSES:
        if level >= least:
            graph, count = run(graph, keep)
            ran.append((name, count))
            verify_graph(graph, name)
    frozen = frozenset(s.weight for s in traced.states)
    folded = fold_constants(graph, frozen, enabled=level >= 1)
    ran.append(("fold_constants", folded.count))
    for part in (folded.graph, folded.weight_graph):
        verify_graph(part, "fold_constants")
    graph, states = split_outputs(folded.graph, traced)

    tiles = tiles or TileTable()
    context = schedule_groups(graph, states, target, level >= 2, tiles)
    ran.append(("schedule_groups", len(context.groups)))
    if level >= 3:
        ran.append(("search_tiles", tiles.changed))
    if level >= 2:
        ran.append(("fuse_groups", len(graph.nodes) - len(context.groups)))
        packed = sum(w.layout != "plain" for w in context.weights.values())
        ran.append(("pack_weights", packed))
    memory = plan_memory(context.groups, context.buffers, graph.dims)
    ran.append(("plan_memory", len(memory.offsets)))
    return Plan(
        name=graph.name,
        dims=graph.dims,
        inputs=graph.inputs,
        outputs=tuple(
            replace(o, type=context.types[n])
            for o, n in zip(traced.signature.outputs, graph.outputs, strict=True)
        ),
        buffers=context.buffers,
        weights=tuple(context.weights.values()),
        groups=tuple(context.groups),
        memory=memory,
        states=tuple((s.weight, s.output) for s in states),
        passes=tuple(ran),
        optimization=level,
        weight_graph=folded.weight_graph,
        sources=tuple(sorted(context.sources.items())),
    )


def extend_outputs(graph: Graph, traced: TracedModel) -> Graph:
    """Append the new state values to the outputs, so that passes rename and keep them."""
    return graph.with_nodes(graph.nodes, [*graph.outputs, *(s.output for s in traced.states)])


def split_outputs(graph: Graph, traced: TracedModel) -> tuple[Graph, tuple]:  # type: ignore[type-arg]
    """Undo `extend_outputs`; return the graph and the states under their present names."""
    count = len(graph.outputs) - len(traced.states)
    names = graph.outputs[count:]
    states = tuple(replace(s, output=n) for s, n in zip(traced.states, names, strict=True))
    return graph.with_nodes(graph.nodes, graph.outputs[:count]), states
