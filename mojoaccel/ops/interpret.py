"""Executes a graph on PyTorch tensors by the ATen meaning of each operator.

This defines the IR: passes are checked against it, `--target reference` runs it, and folded
weights are computed by it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from mojoaccel.errors import error
from mojoaccel.ir.dims import Expr, evaluate
from mojoaccel.ir.graph import Graph, Node


def run_graph(
    graph: Graph, values: Mapping[str, Any], dims: Mapping[str, int], wide: bool = False
) -> dict[str, Any]:
    """Execute every node.

    Args:
        graph: The graph.
        values: Tensors of inputs and weights by name.
        dims: Sizes of the dynamic dims.
        wide: Compute floating-point values in float64.

    Returns:
        Every value by name.
    """
    found = dict(values)
    if wide:
        found = {k: _widen(v) for k, v in found.items()}
    for node in graph.nodes:
        results = call(node, found, dims, wide)
        for value, result in zip(node.outputs, results, strict=False):
            found[value.name] = _widen(result) if wide else result
    return found


def call(
    node: Node, values: Mapping[str, Any], dims: Mapping[str, int], wide: bool
) -> Sequence[Any]:
    """Execute one node and return its outputs."""
    import torch

    from mojoaccel.ops.registry import load_registry

    record = load_registry()[node.op]
    operands = [None if i is None else values[i] for i in node.inputs]
    attrs = {k: _concrete(v, dims) for k, v in node.attrs}
    if not node.inputs and attrs.get("dtype") is None:  # else PyTorch makes numbers float32
        attrs["dtype"] = node.output.type.dtype.torch
    for key in ("dtype",):
        if isinstance(attrs.get(key), str):
            attrs[key] = getattr(torch, attrs[key])
            if wide and attrs[key].is_floating_point:
                attrs[key] = torch.float64
            elif wide and attrs[key].is_complex:
                attrs[key] = torch.complex128
    if node.op == "view":
        source: Any = operands[0]
        return [source.reshape([_concrete(s, dims) for s in node.output.type.shape])]
    last: Exception | None = None
    # PyTorch takes a number for any tensor, but knows its type better where a number is due.
    for numbers, function in product((False, True), _overloads(record.aten, attrs)):
        arguments = _bind(function._schema, operands, attrs, numbers)
        if arguments is None:
            continue
        try:
            result = function(*arguments[0], **arguments[1])
        except (RuntimeError, TypeError, ValueError) as e:
            last = e
            continue
        return result if isinstance(result, (tuple, list)) else [result]
    raise error("MA301", f"{node.op} cannot be interpreted: {last}", loc=node.loc)


def _overloads(names: Sequence[str], attrs: Mapping[str, Any]) -> Sequence[Any]:
    """Return a record's operators, those first that know more of the attributes.

    One that does not know ``stable`` or ``reduce`` would sort or write otherwise.
    """
    import torch

    found = []
    for overload in names:
        space, name, variant = overload.split(".")
        operators = getattr(getattr(torch.ops, space), name, None)
        function = getattr(operators, variant, None)
        if function is not None:  # else of a package that is not imported here
            found.append(function)
    given = {k for k, v in attrs.items() if v is not None}
    return sorted(found, key=lambda f: len(given - {a.name for a in f._schema.arguments}))


def _widen(tensor: Any) -> Any:
    """Return a floating tensor in float64, a complex one in complex128."""
    if tensor.is_complex():
        return tensor.to(dtype=importlib.import_module("torch").complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _concrete(value: Any, dims: Mapping[str, int]) -> Any:
    if isinstance(value, Expr):
        return evaluate(value, dims)
    if isinstance(value, str) and value.endswith("j)"):
        return complex(value)
    if isinstance(value, tuple):
        return [_concrete(v, dims) for v in value]
    return value


def _bind(
    schema: Any, operands: Sequence[Any], attrs: Mapping[str, Any], numbers: bool
) -> tuple[list[Any], dict[str, Any]] | None:
    """Distribute operands and attributes over an overload's arguments; None if they do not fit.

    With `numbers` an attribute may take a tensor's place.
    """
    left = list(operands)
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    tensors = [a.name for a in schema.arguments if "Tensor" in str(a.type)]
    for argument in schema.arguments:
        # Operands that follow a tensor list (index_put's values) are not part of it.
        after = len(tensors) - tensors.index(argument.name) - 1 if argument.name in tensors else 0
        try:
            value = _argument(argument, left, attrs, after, numbers)
        except LookupError:
            return None
        if value is _DEFAULT:
            continue
        if not argument.kwarg_only and len(positional) == _position(schema, argument):
            positional.append(value)
        else:
            keywords[argument.name] = value
    return None if any(o is not None for o in left) else (positional, keywords)


_DEFAULT = object()

_LEFT_OUT = {"train": False}
"""Arguments that a graph leaves out, and what they are."""

_LISTED = {"hx": 2}
"""How many tensors a list has that another list follows: an LSTM's states, before its weights."""


def _argument(
    argument: Any, left: list[Any], attrs: Mapping[str, Any], after: int, numbers: bool
) -> Any:
    """Return one argument's value, taking operands from `left`.

    Raises:
        LookupError: The overload wants something else in this place.
    """
    kind = str(argument.type)
    if "Tensor" not in kind:
        if argument.name in attrs:
            if left and left[0] is None:
                left.pop(0)
            return attrs[argument.name]
        if argument.has_default_value():
            return _DEFAULT
        return _LEFT_OUT[argument.name]
    if "List" in kind or "[]" in kind:
        count = _LISTED.get(argument.name, len(left) - after)
        taken, left[:] = left[:count], left[count:]
        return taken
    value = left.pop(0) if left else None
    if value is None and numbers and argument.name in attrs:
        return attrs[argument.name]
    if value is None and (argument.name in attrs or "Optional" not in kind):
        raise LookupError
    return value


def _position(schema: Any, argument: Any) -> int:
    return [a.name for a in schema.arguments].index(argument.name)
