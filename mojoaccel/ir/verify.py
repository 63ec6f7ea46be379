"""Checks what every graph must satisfy; run after each pass, to catch a bad one where it is."""

from __future__ import annotations

from mojoaccel.errors import MojoaccelError, error
from mojoaccel.ir.dims import free_dims
from mojoaccel.ir.graph import Graph, Value


def verify_graph(graph: Graph, after: str) -> None:
    """Check names, order, dims and outputs.

    Args:
        graph: The graph.
        after: The pass that made it, for the message.

    Raises:
        MojoaccelError: MA301, an invariant is broken.
    """
    known: set[str] = set()
    dims = {d.name for d in graph.dims}
    for value in (*graph.inputs, *graph.weights):
        _define(value, known, dims, after)
    for node in graph.nodes:
        missing = [i for i in node.inputs if i is not None and i not in known]
        if missing:
            raise _broken(after, f"{node.op} reads {missing[0]} before it is made")
        if list(node.attrs) != sorted(node.attrs, key=lambda item: item[0]):
            raise _broken(after, f"the attributes of {node.op} are not sorted")
        for value in node.outputs:
            _define(value, known, dims, after)
    lost = [name for name in graph.outputs if name not in known]
    if lost:
        raise _broken(after, f"output {lost[0]} is not made")


def _define(value: Value, known: set[str], dims: set[str], after: str) -> None:
    if value.name in known:
        raise _broken(after, f"two values are called {value.name}")
    strange = {d for size in value.type.shape for d in free_dims(size)} - dims
    if strange:
        raise _broken(after, f"{value.name} has the undeclared dim {sorted(strange)[0]}")
    known.add(value.name)


def _broken(after: str, what: str) -> MojoaccelError:
    return error("MA301", f"after {after}: {what}")
