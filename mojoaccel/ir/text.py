"""Traced models as text: one value or node a line, readable, and read back exactly.

graph "MLP" torch
dim batch 1 33
input x: f32[batch, 784]
weight a_weight: f32[512, 784] = param:a.weight 5f1c...
node linear: f32[batch, 512] = linear(x, a_weight, a_bias) {} # ["mlp.py", 9, "forward", "..."]
output linear
"""

from __future__ import annotations

import json
import re
from typing import Any

from mojoaccel.errors import SourceLoc, error
from mojoaccel.ir.dims import Dim, Expr, parse_size
from mojoaccel.ir.graph import Attr, Graph, Node, Value, make_attrs
from mojoaccel.ir.types import parse_type
from mojoaccel.products import Signature, StateSpec, TracedModel, WeightRef

_NODE = re.compile(r"node (.*?) = ([\w.]+)\(([^)]*)\) (\{.*\}) # (.*)$")


def attr_json(value: Attr) -> Any:
    """Return an attribute as JSON data; sizes over dims as ``{"$": text}``."""
    if isinstance(value, Expr):
        return {"$": str(value)}
    if isinstance(value, tuple):
        return [attr_json(v) for v in value]
    return value


def parse_attr(data: Any) -> Attr:
    """Read what `attr_json` made."""
    if isinstance(data, dict):
        return parse_size(data["$"])
    if isinstance(data, list):
        return tuple(parse_attr(v) for v in data)
    return data  # type: ignore[no-any-return]


def print_graph(graph: Graph, references: dict[str, WeightRef] | None = None) -> str:
    """Print a graph."""
    lines = [f"graph {json.dumps(graph.name)} {graph.level}"]
    lines.extend(f"dim {d.name} {d.min} {'inf' if d.max is None else d.max}" for d in graph.dims)
    lines.extend(f"input {v}" for v in graph.inputs)
    for v in graph.weights:
        ref = (references or {}).get(v.name)
        lines.append(f"weight {v}" + (f" = {ref.source} {ref.digest}" if ref else ""))
    for node in graph.nodes:
        lines.append(print_node(node))
    lines.extend(f"output {name}" for name in graph.outputs)
    return "\n".join(lines) + "\n"


def print_node(node: Node) -> str:
    """Print a node on one line."""
    outputs = "; ".join(str(v) for v in node.outputs)
    inputs = ", ".join(i or "_" for i in node.inputs)
    attrs = json.dumps({k: attr_json(v) for k, v in node.attrs})
    tail = json.dumps([node.origin, node.loc.to_json() if node.loc else None])
    return f"node {outputs} = {node.op}({inputs}) {attrs} # {tail}"


def parse_value(text: str) -> Value:
    """Read ``name: type``."""
    name, _, kind = text.partition(": ")
    return Value(name.strip(), parse_type(kind))


def parse_node(line: str) -> Node:
    """Read a line that `print_node` printed."""
    match = _NODE.match(line)
    if match is None:
        raise ValueError(f"not a node: {line[:80]}")
    outputs, op, inputs, attrs, tail = match.groups()
    origin, loc = json.loads(tail)
    return Node(
        op,
        tuple(None if i == "_" else i for i in inputs.split(", ") if i),
        make_attrs({k: parse_attr(v) for k, v in json.loads(attrs).items()}),
        tuple(parse_value(v) for v in outputs.split("; ")),
        SourceLoc.from_json(loc),
        origin,
    )


def print_traced(traced: TracedModel) -> str:
    """Print a traced model: its graph, then the signature as JSON lines."""
    s = traced.signature
    rest = {
        "inputs": [str(v) for v in s.inputs],
        "outputs": [str(v) for v in s.outputs],
        "in_tree": s.in_tree,
        "out_tree": s.out_tree,
        "states": [[x.weight, x.output] for x in traced.states],
        "example": [list(x) for x in traced.example],
        "random_ranges": [[n, list(r)] for n, r in traced.random_ranges],
    }
    if traced.written:
        rest["written"] = list(traced.written)
    graph = print_graph(traced.graph, {w.value: w for w in traced.weights})
    return graph + "".join(f"meta {k} {json.dumps(v)}\n" for k, v in rest.items())


def parse_traced(text: str) -> TracedModel:
    """Read what `print_traced` printed.

    Raises:
        MojoaccelError: MA208, the text is not a traced model.
    """
    try:
        return _parse(text)
    except (ValueError, KeyError, IndexError) as e:
        raise error("MA208", f"not a graph: {e}") from e


def _parse(text: str) -> TracedModel:
    head: list[str] = []
    dims, inputs, weights, nodes, outputs, refs = [], [], [], [], [], []
    meta: dict[str, Any] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "graph":
            head = rest.rsplit(" ", 1)
        elif kind == "dim":
            name, low, high = rest.split()
            dims.append(Dim(name, int(low), None if high == "inf" else int(high)))
        elif kind == "input":
            inputs.append(parse_value(rest))
        elif kind == "weight":
            value_text, _, source = rest.partition(" = ")
            value = parse_value(value_text)
            weights.append(value)
            where, _, digest = source.rpartition(" ")
            refs.append(WeightRef(value.name, digest, where))
        elif kind == "node":
            nodes.append(parse_node(line))
        elif kind == "output":
            outputs.append(rest)
        elif kind == "meta":
            key, _, data = rest.partition(" ")
            meta[key] = json.loads(data)
        elif line.strip():
            raise ValueError(f"unknown line: {line[:80]}")
    graph = Graph(
        json.loads(head[0]),
        head[1],
        tuple(dims),
        tuple(inputs),
        tuple(weights),
        tuple(nodes),
        tuple(outputs),
    )
    signature = Signature(
        tuple(parse_value(v) for v in meta["inputs"]),
        tuple(parse_value(v) for v in meta["outputs"]),
        meta["in_tree"],
        meta["out_tree"],
    )
    return TracedModel(
        graph,
        signature,
        tuple(refs),
        tuple(StateSpec(*s) for s in meta["states"]),
        tuple((n, v) for n, v in meta["example"]),
        tuple((n, (a, b)) for n, (a, b) in meta["random_ranges"]),
        tuple(meta.get("written", ())),
    )
