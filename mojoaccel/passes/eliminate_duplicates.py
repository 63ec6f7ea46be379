"""Computes equal things once, and drops what nothing needs."""

from __future__ import annotations

from collections.abc import Mapping

from mojoaccel.ir.graph import Graph, Node
from mojoaccel.passes.rewrite import live_nodes, rename_inputs

RANDOM = frozenset(
    {"rand", "randn", "rand_like", "randn_like", "bernoulli", "multinomial", "dropout"}
)
"""Operators whose equal calls differ."""


def eliminate_dead(graph: Graph, keep: frozenset[str]) -> tuple[Graph, int]:
    """Drop nodes that neither an output nor a value in `keep` depends on."""
    nodes = live_nodes(graph, keep)
    return graph.with_nodes(nodes), len(graph.nodes) - len(nodes)


def eliminate_duplicates(graph: Graph, keep: frozenset[str]) -> tuple[Graph, int]:
    """Merge nodes with equal operator, operands and attributes (common subexpressions)."""
    seen: dict[object, Node] = {}
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for original in graph.nodes:
        node = rename_inputs(original, names)
        key = (node.op, node.inputs, node.attrs, tuple(v.type for v in node.outputs))
        kept = any(v.name in keep for v in node.outputs)
        if key in seen and node.op not in RANDOM and not kept:
            for value, first in zip(node.outputs, seen[key].outputs, strict=True):
                names[value.name] = first.name
            continue
        seen.setdefault(key, node)
        nodes.append(node)
    outputs = [names.get(o, o) for o in graph.outputs]
    return graph.with_nodes(nodes, outputs), len(graph.nodes) - len(nodes)


def share_tied_weights(graph: Graph, digests: Mapping[str, str]) -> tuple[Graph, int]:
    """Make weights of equal content one value (tied embeddings, repeated buffers)."""
    first: dict[tuple[str, object], str] = {}
    names: dict[str, str] = {}
    for weight in graph.weights:
        key = (digests[weight.name], weight.type)
        if first.setdefault(key, weight.name) != weight.name:
            names[weight.name] = first[key]
    outputs = [names.get(o, o) for o in graph.outputs]
    return graph.with_nodes([rename_inputs(n, names) for n in graph.nodes], outputs), len(names)
