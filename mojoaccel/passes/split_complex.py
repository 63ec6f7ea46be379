"""Replaces complex values by their real and imaginary parts.

Every complex value becomes two real ones, so views, fusion, layouts and kernels need not know of
complex numbers. Whole complex values remain at the edges: inputs, weights, outputs, and the
operands and results of Fourier transforms, where a ``complex`` or ``view_as_real`` node stands
between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mojoaccel.errors import Diagnostic, MojoaccelError, error, gather
from mojoaccel.ir.graph import Graph, GraphBuilder, Node
from mojoaccel.ir.types import C64, C128, TensorType
from mojoaccel.ops.complex_parts import Pair, Part, Parts, Rewriting, is_complex, real_type
from mojoaccel.ops.complex_rules import EXPANDED, RULES, Result
from mojoaccel.ops.registry import Decompose, load_registry
from mojoaccel.passes.rewrite import rename_inputs

WHOLE = frozenset(("_fft_c2c", "_fft_r2c", "_fft_c2r"))
"""Operators whose kernels read and write complex memory."""


@dataclass
class Splitter:
    """The state of the pass.

    Attributes:
        types: Types of all values, old and new.
        done: Nodes of the new graph.
        pairs: Parts of complex values.
        whole: Values that hold a complex value in memory.
        names: New names of real values.
        sides: Parts that a real tensor with a last axis of 2 was stacked from.
    """

    types: dict[str, TensorType]
    done: list[Node] = field(default_factory=list)
    pairs: dict[str, Pair] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    sides: dict[str, Pair] = field(default_factory=dict)

    def builder(self, node: Node | None, name: str = "") -> GraphBuilder:
        """Return a builder whose nodes are attributed to `node`."""
        if node is None:
            return GraphBuilder(self.types, None, prefix=name)
        return GraphBuilder(self.types, node.loc, node.origin, prefix=name or node.output.name)

    def run(self, node: Node) -> None:
        """Replace one node, or keep it."""
        node = rename_inputs(node, self.names)
        if node.op == "select" and node.inputs[0] in self.sides and self._take_side(node):
            return
        touched = [v.type for v in node.outputs] + [self.types[i] for i in node.inputs if i]
        if not any(is_complex(t) for t in touched):
            self.done.append(node)
        elif node.op in WHOLE:
            self.keep_whole(node)
        elif node.op in RULES:
            self._apply(node, touched)
        else:
            self._expand(node)

    def _apply(self, node: Node, touched: Sequence[TensorType]) -> None:
        """Replace a node by its rule."""
        dtypes = {t.dtype for t in touched if is_complex(t)}
        wide = C128 if C128 in dtypes else C64
        rewriting = Rewriting(node, Parts(self.builder(node), real_type(wide)))
        for name in node.inputs:
            if name is not None and is_complex(self.types[name]):
                rewriting.pairs[name] = self.parts_of(name, node)
        results = RULES[node.op](rewriting)
        self.done.extend(rewriting.b.nodes)
        for value, result in zip(node.outputs, results, strict=True):
            self._record(value.name, value.type, result, rewriting)
        if node.op == "view_as_real":
            self.sides[self.names[node.output.name]] = rewriting.operand(0)

    def _expand(self, node: Node) -> None:
        """Replace a composite by its rewriting, and that by rules."""
        lowering = load_registry()[node.op].lowering
        if node.op not in EXPANDED or not isinstance(lowering, Decompose):
            raise error(
                "MA302",
                f"{node.op} of complex numbers",
                loc=node.loc,
                hint="compute with torch.view_as_real and real operators",
            )
        builder = self.builder(node)
        results = lowering.rewrite(builder, node)
        for inner in builder.nodes:
            self.run(inner)
        for value, result in zip(node.outputs, results, strict=True):
            self._record(value.name, value.type, self.pairs.get(result, result))

    def _take_side(self, node: Node) -> bool:
        """Read a part directly where it would be selected from both stacked."""
        pair = self.sides[str(node.inputs[0])]
        rank = self.types[str(node.inputs[0])].rank
        index = node.attr("index")
        part = pair[int(index)] if index in (0, 1) else None
        if int(node.attr("dim")) % rank != rank - 1 or not isinstance(part, str):
            return False
        if self.types[part] != node.output.type:
            return False
        self.names[node.output.name] = part
        return True

    def _record(
        self, name: str, t: TensorType, result: Result, rewriting: Rewriting | None = None
    ) -> None:
        if isinstance(result, str):
            self.names[name] = self._shaped(result, t, rewriting)
        else:
            self.pairs[name] = tuple(  # type: ignore[assignment]
                self._shaped(p, TensorType(real_type(t.dtype), t.shape), rewriting)
                if isinstance(p, str)
                else p
                for p in result
            )

    def _shaped(self, name: str, t: TensorType, rewriting: Rewriting | None) -> str:
        """Stretch a part that broadcasting has left smaller than its value, and convert it."""
        if self.types[name] == t or rewriting is None:
            return name
        builder = self.builder(rewriting.node)
        if self.types[name].dtype != t.dtype:
            same = TensorType(t.dtype, self.types[name].shape)
            name = builder.add("to", [name], same, dtype=t.dtype.torch)
        if self.types[name].shape != t.shape:
            name = builder.add("expand", [name], t, size=t.shape)
        self.done.extend(builder.nodes)
        return name

    def keep_whole(self, node: Node) -> None:
        """Keep a node whose kernel takes complex values as they lie in memory."""
        inputs: list[str | None] = []
        for name in node.inputs:
            complex_one = name is not None and is_complex(self.types[name])
            inputs.append(self.whole_of(str(name), node) if complex_one else name)
        self.done.append(
            Node(node.op, tuple(inputs), node.attrs, node.outputs, node.loc, node.origin)
        )
        for value in node.outputs:
            self.whole[value.name] = value.name

    def parts_of(self, name: str, node: Node | None) -> Pair:
        """Return the parts of a complex value, reading them from memory if it lies there."""
        if name not in self.pairs:
            t = self.types[name]
            part = TensorType(real_type(t.dtype), t.shape)
            builder = self.builder(node, name)
            both = builder.add("view_as_real", [name], TensorType(part.dtype, (*t.shape, 2)))
            re, im = (builder.add("select", [both], part, dim=t.rank, index=k) for k in (0, 1))
            self.done.extend(builder.nodes)
            self.pairs[name] = (re, im)
            self.whole.setdefault(name, name)
        return self.pairs[name]

    def whole_of(self, name: str, node: Node | None) -> str:
        """Return a complex value in memory, putting it there if it is only known by parts."""
        if name not in self.pairs and name not in self.whole:
            return name  # an input or a weight
        if name not in self.whole:
            self.whole[name] = self.join(name, node)
        return self.whole[name]

    def join(self, name: str, node: Node | None) -> str:
        """Append the node that puts a complex value in memory."""
        t = self.types[name]
        part = TensorType(real_type(t.dtype), t.shape)
        builder = self.builder(node, name)
        values = [_full(builder, p, part) for p in self.pairs[name]]
        joined = builder.add("complex", values, t)
        self.done.extend(builder.nodes)
        return joined


def _full(builder: GraphBuilder, part: Part, t: TensorType) -> str:
    if isinstance(part, str):
        return part
    return builder.add("full", [], t, size=t.shape, fill_value=float(part or 0.0))


def split_complex(graph: Graph) -> tuple[Graph, int]:
    """Replace complex values by pairs of real ones.

    Args:
        graph: Graph of level ``torch``, composites included.

    Returns:
        The graph and the number of nodes replaced.

    Raises:
        MojoaccelError: MA302, an operator has no complex meaning here.
    """
    types = {name: v.type for name, v in graph.values().items()}
    if not any(is_complex(t) for t in types.values()):
        return graph, 0
    splitter = Splitter(types)
    refused: list[Diagnostic] = []
    for node in graph.nodes:
        try:
            splitter.run(node)
        except MojoaccelError as problem:
            refused += problem.diagnostics
            splitter.keep_whole(node)  # so that the nodes after it are looked at too
    if refused:
        raise MojoaccelError(tuple(gather(refused)))
    outputs = _outputs(splitter, graph.outputs)
    kept = {id(n) for n in splitter.done}
    count = sum(id(n) not in kept for n in graph.nodes)
    return graph.with_nodes(splitter.done, outputs), count


def _outputs(splitter: Splitter, names: Sequence[str]) -> list[str]:
    """Name the outputs; each complex one is put in memory of its own."""
    outputs = []
    for name in names:
        found = splitter.names.get(name, name)
        if found in splitter.pairs and found not in outputs:
            found = splitter.whole_of(found, None)
        if found in outputs and is_complex(splitter.types[found]):
            # What an operator leaves in memory, or an input, is its own source.
            source = next((k for k, v in splitter.whole.items() if v == found), found)
            splitter.parts_of(source, None)
            found = splitter.join(source, None)
        outputs.append(found)
    return outputs
