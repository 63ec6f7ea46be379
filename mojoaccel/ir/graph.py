"""The graph: an immutable, topologically ordered list of nodes in single-assignment form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Union

from mojoaccel.errors import SourceLoc
from mojoaccel.ir.dims import Dim, Expr
from mojoaccel.ir.types import TensorType

Attr = Union[None, bool, int, float, str, Expr, "tuple[Attr, ...]"]


@dataclass(frozen=True, slots=True)
class Value:
    """A named tensor that one node (or the graph's inputs) defines."""

    name: str
    type: TensorType

    def __str__(self) -> str:
        """Return ``name: type``."""
        return f"{self.name}: {self.type}"


@dataclass(frozen=True, slots=True)
class Node:
    """One operator call.

    Attributes:
        op: Name of an `OpDef` in the registry.
        inputs: Names of the tensor operands in the operator's schema order; None where an
            optional tensor is absent.
        attrs: Every other argument, sorted by name.
        outputs: Values this node defines (several for split-like operators).
        loc: The user's source line.
        origin: Name of the FX node (or pass) this node came from.
    """

    op: str
    inputs: tuple[str | None, ...]
    attrs: tuple[tuple[str, Attr], ...]
    outputs: tuple[Value, ...]
    loc: SourceLoc | None = None
    origin: str = ""

    def attr(self, name: str, default: Any = None) -> Any:
        """Return the attribute `name`, or `default` when it is absent."""
        return next((v for k, v in self.attrs if k == name), default)

    @property
    def output(self) -> Value:
        """The only output (the first of several)."""
        return self.outputs[0]


def make_attrs(attrs: Mapping[str, Attr]) -> tuple[tuple[str, Attr], ...]:
    """Sort attributes by name, as `Node.attrs` keeps them."""
    return tuple(sorted(attrs.items()))


@dataclass(frozen=True, slots=True)
class Graph:
    """A function from inputs and weights to outputs.

    Attributes:
        name: The model's name (a Python class name).
        level: ``torch`` (operators as traced) or ``kernel`` (only operators with a kernel,
            pointwise, reduction or view lowering).
        dims: Named dynamic dims.
        inputs: User inputs in order.
        weights: Values that come from parameters, buffers and constants.
        nodes: Topological order.
        outputs: Names of the values that leave the graph, in order (may repeat).
    """

    name: str
    level: str
    dims: tuple[Dim, ...]
    inputs: tuple[Value, ...]
    weights: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def values(self) -> dict[str, Value]:
        """Map each name to its value: inputs, weights, node outputs."""
        found = {v.name: v for v in (*self.inputs, *self.weights)}
        found.update((v.name, v) for n in self.nodes for v in n.outputs)
        return found

    def users(self) -> dict[str, list[Node]]:
        """Map each value name to the nodes that read it, in order (once per node)."""
        result: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(i for i in node.inputs if i is not None):
                result.setdefault(name, []).append(node)
        return result

    def with_nodes(self, nodes: Iterable[Node], outputs: Sequence[str] | None = None) -> Graph:
        """Return a graph with other nodes (and outputs), the rest kept."""
        return replace(
            self, nodes=tuple(nodes), outputs=tuple(self.outputs if outputs is None else outputs)
        )


@dataclass
class GraphBuilder:
    """Builds the replacement of one node, or a whole graph, with unique value names.

    Attributes:
        types: Types of every value known so far, by name.
        loc: Source line given to new nodes.
        origin: Origin given to new nodes.
        prefix: Start of every new value's name.
    """

    types: dict[str, TensorType]
    loc: SourceLoc | None = None
    origin: str = ""
    prefix: str = "t"
    nodes: list[Node] = field(default_factory=list)
    _count: dict[str, int] = field(default_factory=dict)

    def fresh(self, base: str) -> str:
        """Return `base` or the first free `base_N`."""
        name = base
        while name in self.types:
            self._count[base] = self._count.get(base, 0) + 1
            name = f"{base}_{self._count[base]}"
        return name

    def add(
        self,
        op: str,
        inputs: Sequence[str | None],
        types: Sequence[TensorType] | TensorType,
        /,
        **attrs: Attr,
    ) -> str:
        """Append a node and return the name of its first output."""
        out_types = (types,) if isinstance(types, TensorType) else tuple(types)
        outputs = []
        for t in out_types:
            name = self.fresh(f"{self.prefix}_{op}" if self.prefix else op)
            self.types[name] = t
            outputs.append(Value(name, t))
        self.nodes.append(
            Node(op, tuple(inputs), make_attrs(attrs), tuple(outputs), self.loc, self.origin)
        )
        return outputs[0].name

    def __iter__(self) -> Iterator[Node]:
        """Iterate over the nodes built so far."""
        return iter(self.nodes)
