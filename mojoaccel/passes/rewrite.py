"""Tools that graph passes share: renaming values and replacing nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mojoaccel.ir.graph import Graph, Node


def rename_inputs(node: Node, names: Mapping[str, str]) -> Node:
    """Return `node` reading renamed values."""
    if not any(i in names for i in node.inputs):
        return node
    return replace(node, inputs=tuple(names.get(i, i) if i else i for i in node.inputs))


def live_nodes(graph: Graph, keep: Iterable[str] = ()) -> list[Node]:
    """Return the nodes that the outputs (and the values in `keep`) depend on, in order."""
    needed = {*graph.outputs, *keep}
    kept = []
    for node in reversed(graph.nodes):
        if any(v.name in needed for v in node.outputs):
            kept.append(node)
            needed.update(i for i in node.inputs if i)
    return kept[::-1]
