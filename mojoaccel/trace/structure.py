"""Names the leaves of a model's arguments and results, and records their structure as JSON."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mojoaccel.example import Example


@dataclass(frozen=True)
class Leaves:
    """Flattened inputs.

    Attributes:
        names: One name per tensor, in the order the program takes them.
        tensors: The example tensors.
        tree: JSON structure of the call.
        arguments: Top-level arguments by parameter name; those of ``*args`` are numbered.
        variadic: Name of the ``*args`` parameter, if the module has one.
    """

    names: list[str]
    tensors: list[Any]
    tree: dict[str, Any]
    arguments: dict[str, Any]
    variadic: str = ""

    def dynamic_shapes(self, dims: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
        """Return torch.export's dynamic_shapes for dims given by leaf name."""
        cursor = iter(self.names)

        def shape_of(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return None
            return dict(dims.get(next(cursor), {}))

        shapes = {n: pytree.tree_map(shape_of, v) for n, v in self.arguments.items()}
        if self.variadic:
            numbered = [n for n in shapes if n.startswith(f"{self.variadic}_")]
            shapes[self.variadic] = tuple(shapes.pop(n) for n in numbered)
        return shapes


def flatten_inputs(example: Example) -> Leaves:
    """Name every tensor among the example inputs after the parameter it belongs to."""
    forward = getattr(example.module, "forward", example.module)
    try:
        bound = inspect.signature(forward).bind(*example.args, **example.kwargs).arguments
    except (TypeError, ValueError):
        bound = {f"arg{i}": a for i, a in enumerate(example.args)} | dict(example.kwargs)
    arguments: dict[str, Any] = {}
    variadic = ""
    kinds = inspect.signature(forward).parameters if callable(forward) else {}
    for name, value in bound.items():
        kind = kinds[name].kind if name in kinds else None
        if kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            variadic = name
            arguments.update({f"{name}_{i}": v for i, v in enumerate(value)})
        else:
            arguments[name] = value
    names: list[str] = []
    tensors: list[Any] = []
    trees = {name: _tree(value, name, names, tensors) for name, value in arguments.items()}
    keyword = [k for k in arguments if k in example.kwargs]
    tree = {
        "args": [trees[k] for k in arguments if k not in keyword],
        "kwargs": {k: trees[k] for k in keyword},
        "names": [*(k for k in arguments if k not in keyword), *keyword],
    }
    return Leaves(names, tensors, tree, arguments, variadic)


def _tree(value: Any, name: str, names: list[str], tensors: list[Any]) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        names.append(name)
        tensors.append(value)
        return {"tensor": len(names) - 1}
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_tree(v, f"{name}_{i}", names, tensors) for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"dict": {str(k): _tree(v, f"{name}_{k}", names, tensors) for k, v in value.items()}}
    return {
        "const": value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
    }


@dataclass(frozen=True)
class Labels:
    """Flattened outputs: one name per tensor, and the structure."""

    names: list[str]
    tree: dict[str, Any]


def structure_json(spec: Any, count: int) -> Labels:
    """Describe a result's structure.

    Args:
        spec: torch.export's output TreeSpec.
        count: Number of tensors in the result.
    """
    names: list[str] = []

    def walk(s: Any, name: str) -> dict[str, Any]:
        if s.is_leaf():
            if len(names) >= count:
                return {"const": None}
            names.append(name or "output")
            return {"tensor": len(names) - 1}
        children = s.children() if callable(getattr(s, "children", None)) else s.children_specs
        if s.type in (tuple, list):
            kind = s.type.__name__
            return {kind: [walk(c, f"{name or 'output'}_{i}") for i, c in enumerate(children)]}
        keys = _keys(s, len(children))
        items = {
            k: walk(c, f"{name}_{k}" if name else k) for k, c in zip(keys, children, strict=True)
        }
        if s.type is dict:
            return {"dict": items}
        return {"object": f"{s.type.__module__}.{s.type.__qualname__}", "dict": items}

    return Labels(names, walk(spec, ""))


def _keys(spec: Any, count: int) -> list[str]:
    context = spec.context
    if isinstance(context, (list, tuple)) and len(context) == count:
        return [str(k) for k in context]
    if isinstance(context, (list, tuple)):
        for part in context:
            if isinstance(part, (list, tuple)) and len(part) == count:
                return [str(k) for k in part]
    return [str(i) for i in range(count)]


def value_range(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the least and the largest of some integers."""
    array = to_numpy(tensor)  # torch has neither for the wide unsigned types
    return int(array.min()), int(array.max())


def to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """Return a tensor's content; bfloat16 as uint16."""
    data = tensor.detach().contiguous().cpu()
    if data.dtype == torch.bfloat16:
        return np.asarray(data.view(torch.int16).numpy().view(np.uint16))
    return np.asarray(data.numpy())
