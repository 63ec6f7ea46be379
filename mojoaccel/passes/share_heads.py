"""Lets attention read each head of keys and values once, instead of a copy per group of queries.

Models with grouped queries (Ainslie et al. 2023) often repeat keys and values by hand, `k[:, :,
None].expand(...).reshape(...)` or `repeat_interleave`, which copies a whole cache at every step of
a decoder. The kernel shares heads by itself (`enable_gqa`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mojoaccel.ir.dims import Size
from mojoaccel.ir.graph import Graph, Node, make_attrs
from mojoaccel.passes.rewrite import live_nodes

ATTENTION = "scaled_dot_product_attention"


def share_heads(graph: Graph, keep: frozenset[str]) -> tuple[Graph, int]:
    """Read keys and values in front of their repetition.

    Args:
        graph: Graph without `Decompose` operators.
        keep: Values besides the outputs that must survive.

    Returns:
        The graph and the number of attentions changed.
    """
    made = {v.name: n for n in graph.nodes for v in n.outputs}
    shapes = {name: v.type.shape for name, v in graph.values().items()}
    nodes = [_shared(n, made, shapes) if n.op == ATTENTION else n for n in graph.nodes]
    count = sum(a is not b for a, b in zip(nodes, graph.nodes, strict=True))
    if not count:
        return graph, 0
    changed = graph.with_nodes(nodes)
    return changed.with_nodes(live_nodes(changed, keep)), count


def _shared(node: Node, made: Mapping[str, Node], shapes: Mapping[str, tuple[Size, ...]]) -> Node:
    q, k, v, *rest = node.inputs
    keys, values = (_unrepeated(name, made, shapes) for name in (k, v))
    if keys is None or values is None or shapes[keys][-3] != shapes[values][-3]:
        return node
    if shapes[str(q)][-3] != shapes[str(k)][-3]:  # one head of queries broadcasts over all
        return node
    attrs = make_attrs({**dict(node.attrs), "enable_gqa": True})
    return replace(node, inputs=(q, keys, values, *rest), attrs=attrs)


def _unrepeated(
    name: str | None, made: Mapping[str, Node], shapes: Mapping[str, tuple[Size, ...]]
) -> str | None:
    """Return x where `name` is x[..., heads, length, depth] with every head repeated in place."""
    merge = made.get(name or "")
    repeat = made.get(merge.inputs[0] or "") if merge and merge.op in ("view", "reshape") else None
    split = made.get(repeat.inputs[0] or "") if repeat and repeat.op == "expand" else None
    if merge is None or repeat is None or split is None or split.op != "unsqueeze":
        return None
    source = split.inputs[0]
    assert source is not None
    before, wide, after = shapes[source], repeat.output.type.shape, merge.output.type.shape
    if len(before) < 3 or split.output.type.shape != (*before[:-2], 1, *before[-2:]):
        return None
    if wide != (*before[:-2], wide[-3], *before[-2:]):
        return None
    merged = (*before[:-3], before[-3] * wide[-3], *before[-2:])
    at_heads = int(split.attr("dim")) % len(wide) == len(wide) - 3
    return source if at_heads and after == merged else None
