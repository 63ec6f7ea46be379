"""Moves what depends on weights alone out of the model, to be computed when it is packaged."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mojoaccel.ir.dims import size_prod
from mojoaccel.ir.graph import Graph, Node
from mojoaccel.ops.registry import ViewOp, load_registry
from mojoaccel.passes.rewrite import live_nodes

TAKES_WEIGHT = {
    **dict.fromkeys(("conv1d", "conv2d", "convolution"), slice(1, 2)),
    **dict.fromkeys(("gru", "rnn_tanh", "rnn_relu"), slice(2, None)),
    "lstm": slice(3, None),
}
"""Which operands of which operators must be known when the model is packaged."""

GROWTH = 4
"""A folded value may be this many times larger than the weights it is made of (a broadcast is
better done at run time than stored)."""


@dataclass(frozen=True)
class Folded:
    """A graph split in two.

    Attributes:
        graph: What runs; folded values are among its weights.
        weight_graph: What is evaluated once, from the original weights.
        count: Number of nodes moved.
    """

    graph: Graph
    weight_graph: Graph
    count: int


def fold_constants(graph: Graph, frozen: frozenset[str], enabled: bool = True) -> Folded:
    """Split off the nodes whose operands are all weights.

    Args:
        graph: Graph without `Decompose` operators.
        frozen: Weights that change between runs (states) and so are not constant.
        enabled: With False only what a kernel takes as a weight moves (level 0).
    """
    values = graph.values()
    constant = {w.name for w in graph.weights} - frozen
    moved: list[Node] = []
    wanted = wanted_weights(graph, constant)
    for node in graph.nodes:
        if node.output.name in wanted or (enabled and _foldable(node, constant, values)):
            moved.append(node)
            constant.update(v.name for v in node.outputs)
    ids = {id(n) for n in moved}
    rest = [n for n in graph.nodes if id(n) not in ids]
    used = {i for n in rest for i in n.inputs if i} | set(graph.outputs)
    originals = {w.name for w in graph.weights}
    made = [v for n in moved for v in n.outputs if v.name in used]
    weights = tuple(w for w in graph.weights if w.name in used or w.name in frozen)
    main = replace(graph, nodes=tuple(rest), weights=(*weights, *made))
    side = Graph(
        f"{graph.name}.weights",
        "kernel",
        (),
        (),
        tuple(w for w in graph.weights if w.name in originals - frozen),
        tuple(moved),
        tuple(v.name for v in made),
    )
    side = side.with_nodes(live_nodes(side))
    return Folded(main, side, len(moved))


def wanted_weights(graph: Graph, constant: set[str]) -> set[str]:
    """Return values that kernels can only take as weights and that no input has a part in.

    Filters are often made where they are used, from numbers alone (a Gaussian), or from weights (a
    weight norm): whatever their size or the level, they are computed when the model is packaged.
    """
    makers = {v.name: n for n in graph.nodes for v in n.outputs}
    fixed = set(constant)
    for node in graph.nodes:
        static = all(v.type.is_static for v in node.outputs)
        if static and all(i in fixed for i in node.inputs if i):
            fixed.update(v.name for v in node.outputs)
    pending = [i for n in graph.nodes for i in n.inputs[TAKES_WEIGHT.get(n.op, slice(0))]]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name in makers and name in fixed and name not in found:
            found.update(v.name for v in makers[name].outputs)
            pending += makers[name].inputs
    return found


def _foldable(node: Node, constant: set[str], values: dict) -> bool:  # type: ignore[type-arg]
    inputs = [i for i in node.inputs if i]
    if not inputs or any(i not in constant for i in inputs):
        return False
    if not all(v.type.is_static for v in node.outputs):
        return False
    lowering = load_registry()[node.op].lowering
    size = sum(int(str(size_prod(v.type.shape))) * v.type.dtype.size for v in node.outputs)
    source = sum(int(str(values[i].type.numel)) * values[i].type.dtype.size for i in inputs)
    return size <= GROWTH * source + 65536 and not (isinstance(lowering, ViewOp) and size > source)
