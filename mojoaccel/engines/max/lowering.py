"""Walks a graph and builds the equal `max.graph.Graph`, one small function an operator.

A lowering takes the context and its node, and returns the values of the node's outputs. What it
cannot express it refuses by raising `Refused`; the walk goes on with a stand-in, so that a model's
refusals are all said at once.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mojoaccel.errors import Diagnostic, MojoaccelError, gather
from mojoaccel.ir.dims import Expr, Size, exact_div, free_dims, substitute, symbol
from mojoaccel.ir.graph import Graph, Node
from mojoaccel.ir.types import BY_TORCH, DType, TensorType

HINT = "compile it with --engine mojo"


class Refused(Exception):
    """What a lowering raises for a form that it cannot express: one clause."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A weight as MAX takes it.

    Attributes:
        weight: Name of the graph's weight.
        axes: Permutation of its axes, made once when the model is packaged; None as it is.
    """

    weight: str
    axes: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """Name among MAX's external constants."""
        return self.weight if self.axes is None else f"{self.weight}.{''.join(map(str, self.axes))}"


@dataclass
class Context:
    """What a lowering sees.

    Attributes:
        graph: The graph that is lowered.
        values: MAX's value of each name.
        images: The same with channels last, of values that a convolution or pool made; they are
            turned only where something needs the usual order.
        parameters: Weights used so far, by name.
        dims: MAX's size of each dim that no input has alone, from the multiple that one has.
    """

    graph: Graph
    values: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    dims: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Load the packages and look up every type."""
        self.api = importlib.import_module("max.graph")
        self.ops = importlib.import_module("max.graph.ops")
        self._dtypes = importlib.import_module("max.dtype").DType
        self.device = self.api.DeviceRef.CPU()
        self.types: dict[str, TensorType] = {n: v.type for n, v in self.graph.values().items()}
        self._weights = {w.name for w in self.graph.weights}

    def dtype(self, dtype: DType) -> Any:
        """Return MAX's element type."""
        if dtype.kind == "c":
            raise Refused(f"type {dtype.torch}")
        return getattr(self._dtypes, dtype.torch)

    def named_dtype(self, name: str) -> Any:
        """Return MAX's element type of a type that an attribute names."""
        return self.dtype(BY_TORCH[name])

    def dim(self, size: Size) -> Any:
        """Return a size as MAX writes it: sums, products and quotients of named dims."""
        if not isinstance(size, Expr):
            return self.api.Dim(int(size))
        total: Any = None
        for monomial, coefficient in size.terms:
            term: Any = self.api.Dim(coefficient)
            for atom in monomial:
                if not atom.isidentifier():
                    raise Refused(f"the size {size}")
                factor = self.dims.get(atom, self.api.Dim(atom))
                term = factor if term == 1 else term * factor
            total = term if total is None else total + term
        return total

    def shape(self, name: str) -> list[Any]:
        """Return the shape of a value."""
        return [self.dim(s) for s in self.types[name].shape]

    def tensor_type(self, kind: TensorType) -> Any:
        """Return MAX's type of a weight."""
        return self._tensor_type(kind, [self.dim(s) for s in kind.shape])

    def input_types(self) -> list[Any]:
        """Return MAX's types of the inputs.

        MAX reads sizes of inputs that are one name each. An axis of ``8*n`` is named as a whole,
        and n is that size divided by 8; `given` says again that both are one.
        """
        shapes = [v.type.shape for v in self.graph.inputs]
        alone = {str(s) for shape in shapes for s in shape}
        wholes: dict[Size, Any] = {}
        for size in (s for shape in shapes for s in shape):
            if not isinstance(size, Expr) or str(size).isidentifier() or size in wholes:
                continue
            wholes[size] = self.api.Dim(f"whole_{len(wholes)}")
            names = free_dims(size)
            for name in names - alone - self.dims.keys():
                offset = substitute(size, {name: 0})
                factor = exact_div(size - offset, symbol(name))
                if len(names) > 1 or not isinstance(factor, int) or not isinstance(offset, int):
                    raise Refused(f"the size {size} of an input")
                self.dims[name] = (wholes[size] - offset) // factor
        return [
            self._tensor_type(
                v.type, [wholes[s] if s in wholes else self.dim(s) for s in v.type.shape]
            )
            for v in self.graph.inputs
        ]

    def given(self, name: str, value: Any) -> Any:
        """Return an input in the sizes that the graph speaks of."""
        if all(not isinstance(s, Expr) or str(s).isidentifier() for s in self.types[name].shape):
            return value
        return self.ops.rebind(value, self.shape(name))

    def _tensor_type(self, kind: TensorType, shape: list[Any]) -> Any:
        return self.api.TensorType(self.dtype(kind.dtype), shape, self.device)

    def __getitem__(self, name: str | None) -> Any:
        """Return a value, in PyTorch's order of axes."""
        assert name is not None
        if name not in self.values:
            if name in self._weights:
                self.values[name] = self.parameter(name)
            else:
                self.values[name] = self.ops.permute(self.images[name], [0, 3, 1, 2])
        return self.values[name]

    def image(self, name: str) -> Any:
        """Return a value of four axes with its channels last."""
        if name not in self.images:
            self.images[name] = self.ops.permute(self[name], [0, 2, 3, 1])
        return self.images[name]

    def is_image(self, name: str | None) -> bool:
        """Whether a value exists with channels last only."""
        return name in self.images and name not in self.values

    def is_weight(self, name: str | None) -> bool:
        """Whether a value is a weight."""
        return name in self._weights

    def parameter(self, name: str, axes: tuple[int, ...] | None = None) -> Any:
        """Return a weight, with its axes in another order if asked."""
        kind = self.types[name]
        found = Parameter(name, axes)
        self.parameters[found.name] = found
        if axes is not None:
            kind = TensorType(kind.dtype, tuple(kind.shape[a] for a in axes))
        return self.ops.constant_external(found.name, self.tensor_type(kind))

    def number(self, value: Any, dtype: DType) -> Any:
        """Return a number (or a size over the dims) as a tensor without axes."""
        if isinstance(value, Expr):
            return self.ops.cast(self.api.TensorValue(self.dim(value)), self.dtype(dtype))
        if dtype.kind in "iu":
            value = int(value)
        elif dtype.kind == "b":
            value = bool(value)
        return self.ops.constant(value, self.dtype(dtype), self.device)

    def cast(self, value: Any, dtype: DType) -> Any:
        """Convert as PyTorch's `to` does: truncated to integers, != 0 to bool."""
        wanted = self.dtype(dtype)
        if value.dtype == wanted:
            return value
        if dtype.kind == "b":
            return self.ops.not_equal(value, self.ops.constant(0, value.dtype, self.device))
        return self.ops.cast(value, wanted)

    def full(self, value: Any, name: str) -> Any:
        """Return a tensor of a value's type, filled with one number."""
        kind = self.types[name]
        one = self.number(value, kind.dtype)
        return self.ops.broadcast_to(one, self.shape(name)) if kind.rank else one


Lowering = Callable[[Context, Node], Any]


def find_unknown(graph: Graph, table: dict[str, Lowering]) -> list[Diagnostic]:
    """Return the operators without a lowering, each once, at their first call."""
    missing = [n for n in graph.nodes if n.op not in table]
    counts = Counter(n.op for n in missing)
    first = {n.op: n.loc for n in reversed(missing)}
    return [
        Diagnostic(
            "MA203",
            f"{op} is not supported by the MAX engine ({count} call{'s' if count > 1 else ''})",
            loc=first[op],
            hint=HINT,
        )
        for op, count in counts.most_common()
    ]


def lower(graph: Graph, table: dict[str, Lowering]) -> tuple[Any, dict[str, Parameter]]:
    """Build MAX's graph.

    Args:
        graph: The prepared graph.
        table: The lowering of each operator.

    Returns:
        The `max.graph.Graph`, and the weights it takes by name.

    Raises:
        MojoaccelError: MA203 and MA302: everything that has no lowering, all at once.
    """
    findings = find_unknown(graph, table)
    context = Context(graph)
    try:
        kinds = context.input_types()
    except Refused as e:
        raise MojoaccelError((Diagnostic("MA302", f"the MAX engine: {e}", hint=HINT),)) from e
    with context.api.Graph("model", input_types=kinds) as built:
        for value, given in zip(graph.inputs, built.inputs, strict=True):
            context.values[value.name] = context.given(value.name, given.tensor)
        refused = [d for n in graph.nodes if (d := _lower_node(context, n, table)) is not None]
        findings += gather(refused)
        if findings:
            raise MojoaccelError(tuple(findings))
        # A result may be an input or a weight as it is: MAX wants each to be its own value.
        built.output(*(context[name] for name in graph.outputs))
    return built, context.parameters


def _lower_node(context: Context, node: Node, table: dict[str, Lowering]) -> Diagnostic | None:
    """Lower one node; return why that cannot be done, after putting stand-ins for its results."""
    reason = ""
    if node.op in table:
        try:
            _define(context, node, table[node.op](context, node))
            return None
        except Refused as e:
            reason = str(e)
        except (TypeError, ValueError, IndexError, RuntimeError) as e:  # the package's own refusal
            reason = (str(e) or type(e).__name__).strip().splitlines()[0]
    for value in node.outputs:
        try:
            context.values[value.name] = context.full(0, value.name)
        except Refused as e:
            reason = reason or str(e)
            flat = TensorType(BY_TORCH["float32"], value.type.shape)
            context.types[value.name] = flat
            context.values[value.name] = context.full(0, value.name)
    if node.op not in table:
        return None
    return Diagnostic("MA302", f"{node.op} for the MAX engine: {reason}", loc=node.loc, hint=HINT)


def _define(context: Context, node: Node, results: Any) -> None:
    """Keep a node's results, of exactly the types that the trace knows."""
    if isinstance(results, Image):
        context.images[node.output.name] = results.value
        return
    many: Sequence[Any] = results if isinstance(results, (list, tuple)) else [results]
    for value, found in zip(node.outputs, many, strict=False):
        made = context.cast(found, value.type.dtype)
        if any(free_dims(s) for s in value.type.shape):
            made = context.ops.rebind(made, context.shape(value.name))
        context.values[value.name] = made


@dataclass(frozen=True, slots=True)
class Image:
    """A result with its channels last."""

    value: Any
