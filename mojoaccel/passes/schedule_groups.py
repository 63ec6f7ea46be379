"""Schedules a graph as fused groups over buffers (see `ops.lowering`)."""

from __future__ import annotations

from mojoaccel.errors import Diagnostic, MojoaccelError, error, gather
from mojoaccel.ir.graph import Graph, Node
from mojoaccel.ir.plan import Buffer, PackedWeight, View
from mojoaccel.ops.lazy import contiguous_strides, is_contiguous
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Kernel, Pointwise, ViewOp, load_registry
from mojoaccel.ops.tiles import TileTable
from mojoaccel.products import StateSpec, Target


def schedule_groups(
    graph: Graph,
    states: tuple[StateSpec, ...],
    target: Target,
    fuse: bool,
    tiles: TileTable,
) -> KernelContext:
    """Lower every node in order and put outputs and states where they belong."""
    context = KernelContext(graph, target.simd_bytes, fuse, tiles, target.dot_pairs, target.amx)
    context.types = {name: v.type for name, v in graph.values().items()}
    context.weight_names = {w.name for w in graph.weights} - {s.weight for s in states}
    context.state_values = {s.output for s in states}
    for index, value in enumerate(graph.inputs):
        _place(context, value.name, "input", index)
    for index, state in enumerate(states):
        _place(context, state.weight, "state", index)
    for index, name in enumerate(graph.outputs):
        context.output_names.setdefault(name, index)
    refused: list[Diagnostic] = []
    for node in graph.nodes:
        try:
            lower_node(context, node)
        except MojoaccelError as problem:
            refused += problem.diagnostics
            _stand_in(context, node)
    if refused:
        raise MojoaccelError(tuple(gather(refused)))
    for index, name in enumerate(graph.outputs):
        _finish_output(context, index, name)
    _store_states(context, states)
    return context


def _stand_in(context: KernelContext, node: Node) -> None:
    """Give the results of a refused node a place, so that the nodes after it are looked at too."""
    for value in node.outputs:
        context.held[value.name] = context.new_buffer(value.name, value.type)


def _store_states(context: KernelContext, states: tuple[StateSpec, ...]) -> None:
    """Write the new values of the states, after everything that reads the old ones.

    The old values also go into weights.bin: a session starts with them.
    """
    for state in states:
        t = context.types[state.weight]
        shape = tuple(int(str(n)) for n in t.shape)
        context.weights[state.weight] = PackedWeight(
            state.weight, state.weight, "plain", (), t.dtype, shape
        )
    targets = {state.weight: _state_view(context, state.weight) for state in states}
    sources = [context.realize(state.output) for state in states]
    for index, (state, source) in enumerate(zip(states, sources, strict=True)):
        # A window of an old value (of a shifted or an exchanged state) must not be overwritten
        # while it is read.
        if source.buffer in targets and source != targets[state.weight]:
            sources[index] = context.copy(source)
    for state, source in zip(states, sources, strict=True):
        if source != targets[state.weight]:
            context.move(source, targets[state.weight])


def _state_view(context: KernelContext, name: str) -> View:
    t = context.types[name]
    return View(name, t.dtype, t.shape, contiguous_strides(t.shape))


def _place(context: KernelContext, name: str, space: str, index: int) -> None:
    t = context.types[name]
    context.buffers[name] = Buffer(name, t.dtype, t.numel, space, index)
    context.held[name] = View(name, t.dtype, t.shape, contiguous_strides(t.shape))


def lower_node(context: KernelContext, node: Node) -> None:
    """Lower one node by its record."""
    lowering = load_registry()[node.op].lowering
    if isinstance(lowering, Pointwise):
        inputs = node.inputs if lowering.reads else ()
        parts = [None if i is None else context.get(i) for i in inputs]
        context.define(node, context.pointwise(node, parts, lowering.build, node.output.type))
    elif isinstance(lowering, ViewOp):
        context.define(node, context.apply_view(node, lambda view: lowering.view(node, view)))
    elif isinstance(lowering, Kernel):
        lowering.lower(context, node)
    else:
        raise error("MA203", f"operator {node.op} has no lowering", loc=node.loc)


def _finish_output(context: KernelContext, index: int, name: str) -> None:
    view = context.realize(name)
    buffer = context.buffers[view.buffer]
    mine = buffer.space == "output" and buffer.index == index
    if mine and buffer.numel == context.types[name].numel and is_contiguous(view):
        return
    t = context.types[name]
    label = f"output_{index}"
    context.buffers[label] = Buffer(label, t.dtype, t.numel, "output", index)
    into = View(label, t.dtype, t.shape, contiguous_strides(t.shape))
    context.move(view, into)
