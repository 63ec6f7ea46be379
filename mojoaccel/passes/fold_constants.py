"""Moves what depends on weights or numbers alone out of the model, into its packaging."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mojoaccel.ir.dims import size_prod
from mojoaccel.ir.graph import Graph, Node
from mojoaccel.ops.registry import Kernel, ViewOp, load_registry
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

SMALL = 65536
"""Bytes that a folded value may take however little it is made of."""


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
    if enabled:
        wanted |= tables(graph, constant)
    for node in graph.nodes:
        if node.output.name in wanted or (enabled and _foldable(node, constant, values)):
            moved.append(node)
            constant.update(v.name for v in node.outputs)
    ids = {id(n) for n in moved}
    rest = [n for n in graph.nodes if id(n) not in ids]
    if enabled:  # makers of a table that nothing else reads
        rest = live_nodes(graph.with_nodes(rest))
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
        graph.nodes,
        tuple(v.name for v in made),
    )
    side = side.with_nodes(live_nodes(side))  # the values made, and all they are made of
    return Folded(main, side, len(moved))


def wanted_weights(graph: Graph, constant: set[str]) -> set[str]:
    """Return values that kernels can only take as weights and that no input has a part in.

    Filters are often made where they are used, from numbers alone (a Gaussian), or from weights (a
    weight norm): whatever their size or the level, they are computed when the model is packaged.
    """
    makers = {v.name: n for n in graph.nodes for v in n.outputs}
    fixed = {v.name for n in fixed_nodes(graph, constant) for v in n.outputs}
    pending = [i for n in graph.nodes for i in n.inputs[TAKES_WEIGHT.get(n.op, slice(0))]]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name in fixed and name not in found:
            found.update(v.name for v in makers[name].outputs)
            pending += makers[name].inputs
    return found


def fixed_nodes(graph: Graph, constant: set[str]) -> list[Node]:
    """Return the nodes of static shape that no input or state has a part in."""
    fixed, nodes = set(constant), list[Node]()
    for node in graph.nodes:
        static = all(v.type.is_static for v in node.outputs)
        if static and all(i in fixed for i in node.inputs if i):
            fixed.update(v.name for v in node.outputs)
            nodes.append(node)
    return nodes


def tables(graph: Graph, constant: set[str]) -> set[str]:
    """Return small values made from numbers that run-time nodes read and a kernel has a part in.

    Weights of a resampling, positions counted by a running sum. What pointwise steps alone make of
    numbers (a causal mask) costs nothing where it is used: it stays there.
    """
    registry = load_registry()
    by_kernel: set[str] = set()
    for node in fixed_nodes(graph, constant):
        own = any(node.inputs) and isinstance(registry[node.op].lowering, Kernel)
        if own or any(i in by_kernel for i in node.inputs):
            by_kernel.update(v.name for v in node.outputs)
    needed, found = set(graph.outputs), set[str]()
    for node in reversed(graph.nodes):
        names = {v.name for v in node.outputs}
        if not names & needed:
            continue
        if names <= by_kernel and _bytes(node) <= SMALL:
            found |= names
        else:
            needed.update(i for i in node.inputs if i)
    return found


def _bytes(node: Node) -> int:
    return sum(int(str(size_prod(v.type.shape))) * v.type.dtype.size for v in node.outputs)


def _foldable(node: Node, constant: set[str], values: dict) -> bool:  # type: ignore[type-arg]
    inputs = [i for i in node.inputs if i]
    if not inputs or any(i not in constant for i in inputs):
        return False
    if not all(v.type.is_static for v in node.outputs):
        return False
    lowering = load_registry()[node.op].lowering
    size = _bytes(node)
    source = sum(int(str(values[i].type.numel)) * values[i].type.dtype.size for i in inputs)
    return size <= GROWTH * source + SMALL and not (isinstance(lowering, ViewOp) and size > source)
