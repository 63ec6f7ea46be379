"""Rewrites composite operators into the ones that have a kernel, pointwise or view lowering."""

from __future__ import annotations

from mojoaccel.ir.graph import Graph, GraphBuilder, Node
from mojoaccel.ops.registry import Decompose, load_registry
from mojoaccel.passes.rewrite import rename_inputs


def decompose(graph: Graph, keep: frozenset[str]) -> tuple[Graph, int]:
    """Expand every node whose record is a `Decompose`, until none is left.

    Args:
        graph: Graph of level ``torch``.
        keep: Values besides the outputs that must survive.

    Returns:
        The graph and the number of nodes expanded. Outputs of expanded nodes keep their names,
        so outputs and states stay valid.
    """
    registry = load_registry()
    types = {name: v.type for name, v in graph.values().items()}
    done: list[Node] = []
    names: dict[str, str] = {}
    count = 0
    stack = list(reversed(graph.nodes))
    while stack:
        node = rename_inputs(stack.pop(), names)
        lowering = registry[node.op].lowering
        if not isinstance(lowering, Decompose):
            done.append(node)
            continue
        count += 1
        builder = GraphBuilder(types, node.loc, node.origin, prefix=node.output.name)
        results = lowering.rewrite(builder, node)
        for value, result in zip(node.outputs, results, strict=False):
            names[value.name] = result
        stack.extend(reversed(builder.nodes))
    outputs = [names.get(o, o) for o in graph.outputs]
    while any(o in names for o in outputs):
        outputs = [names.get(o, o) for o in outputs]
    return graph.with_nodes([rename_inputs(n, names) for n in done], outputs), count
