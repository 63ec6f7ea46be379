"""Gives zero padding in front of convolutions to the convolutions themselves.

Models ported from TensorFlow pad by hand, often more on one side (padding "same" with a stride).
The convolution kernels take any number of zeros before and, by the size of their output, after:
padding by hand costs a copy of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mojoaccel.ir.graph import Graph, Node, make_attrs
from mojoaccel.passes.rewrite import live_nodes

CONVOLUTIONS = frozenset({"conv1d", "conv2d"})


def fold_padding(graph: Graph, keep: frozenset[str]) -> tuple[Graph, int]:
    """Drop padding by nothing, and padding by zeros that only convolutions read.

    Args:
        graph: Graph without `Decompose` operators.
        keep: Values besides the outputs that must survive.

    Returns:
        The graph and the number of paddings folded.
    """
    made: dict[str, Node] = {v.name: n for n in graph.nodes for v in n.outputs}
    nodes: list[Node] = []
    for node in graph.nodes:
        done = node
        source = made.get(node.inputs[0] or "") if node.inputs else None
        if node.op in CONVOLUTIONS and source is not None and source.op == "constant_pad_nd":
            done = _padded(node, source) or node
        nodes.append(done)
    changed = graph.with_nodes(_without_empty(nodes, keep | set(graph.outputs)))
    left = live_nodes(changed, keep)
    return changed.with_nodes(left), _paddings(graph.nodes) - _paddings(left)


def _paddings(nodes: Sequence[Node]) -> int:
    return sum(node.op == "constant_pad_nd" for node in nodes)


def _padded(node: Node, pad: Node) -> Node | None:
    """Return the convolution with the padding's zeros, or None if it cannot have them."""
    amounts = list(pad.attr("pad"))
    padding = node.attr("padding", 0)
    spatial = node.output.type.rank - 2
    whole = all(isinstance(a, int) and a >= 0 for a in amounts)
    if not whole or isinstance(padding, str) or any(amounts[2 * spatial :]):
        return None
    if pad.attr("value", 0) not in (0, 0.0, None):
        return None
    amounts += [0] * (2 * spatial - len(amounts))
    before = [amounts[2 * (spatial - 1 - axis)] for axis in range(spatial)]
    own = list(padding) if isinstance(padding, (tuple, list)) else [padding]
    own = own * spatial if len(own) == 1 else own
    total = tuple(int(a) + int(b) for a, b in zip(own, before, strict=True))
    attrs = make_attrs({**dict(node.attrs), "padding": total})
    return replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attrs=attrs)


def _without_empty(nodes: Sequence[Node], keep: frozenset[str]) -> list[Node]:
    """Read through paddings by nothing."""
    names: dict[str, str] = {}
    left: list[Node] = []
    for node in nodes:
        inputs = tuple(names.get(i, i) if i else i for i in node.inputs)
        empty = node.op == "constant_pad_nd" and not any(node.attr("pad"))
        if empty and node.output.name not in keep and inputs[0] is not None:
            names[node.output.name] = inputs[0]
            continue
        left.append(replace(node, inputs=inputs))
    return left
