"""Flattens a call's arguments and rebuilds the structure that the module returned."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from mojoaccel.errors import error

Tree = Mapping[str, Any]


def flatten_call(
    tree: Tree, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """Return the tensors of a call in signature order.

    Args:
        tree: The signature's ``in_tree``.
        names: Names of the flattened inputs; a call may also give all of them by name.
        args: Positional arguments.
        kwargs: Keyword arguments.

    Raises:
        MojoaccelError: MA702, arguments are missing, unknown or of another structure.
    """
    if not kwargs and len(args) == plain_arguments(tree):
        return list(args)
    parameters = list(tree["names"])
    trees = dict(zip(parameters, [*tree["args"], *tree["kwargs"].values()], strict=False))
    trees.update(tree["kwargs"])
    given: dict[str, Any] = dict(zip(parameters, args, strict=False))
    if len(args) > len(parameters):
        raise error("MA702", f"{len(args)} arguments, the model takes {len(parameters)}")
    for name, value in kwargs.items():
        if name in given:
            raise error("MA702", f"argument {name} is given twice")
        given[name] = value
    if set(given) == set(names) and set(names) != set(parameters):
        return [given[n] for n in names]
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise error(
            "MA702", f"no input is called {unknown[0]}", notes=[f"inputs: {', '.join(names)}"]
        )
    found: dict[int, Any] = {}
    for name in parameters:
        if name not in given:
            if "const" in trees[name]:
                continue
            raise error("MA702", f"input {name} is missing", notes=[f"inputs: {', '.join(names)}"])
        _collect(trees[name], given[name], name, found)
    return [found[i] for i in range(len(names))]


def plain_arguments(tree: Tree) -> int:
    """Return how many tensors the model takes if it takes nothing else, in signature order; or -1.

    Most models do, and their arguments need no flattening.
    """
    parts = tree["args"]
    plain = all(part.get("tensor") == i for i, part in enumerate(parts))
    return len(parts) if plain and not tree["kwargs"] else -1


def _collect(tree: Tree, value: Any, name: str, found: dict[int, Any]) -> None:
    if "tensor" in tree:
        found[tree["tensor"]] = value
    elif "const" in tree:
        if not _same(value, tree["const"]):
            raise error("MA702", f"{name} was compiled in as {tree['const']!r}, got {value!r}")
    elif "dict" in tree:
        if not isinstance(value, Mapping) or set(value) != set(tree["dict"]):
            raise error("MA702", f"{name} must be a dict with keys {', '.join(tree['dict'])}")
        for key, part in tree["dict"].items():
            _collect(part, value[key], f"{name}[{key!r}]", found)
    else:
        parts = tree.get("tuple") or tree.get("list") or []
        if not isinstance(value, (tuple, list)) or len(value) != len(parts):
            raise error("MA702", f"{name} must be a sequence of {len(parts)}")
        for index, (part, item) in enumerate(zip(parts, value, strict=True)):
            _collect(part, item, f"{name}[{index}]", found)


def _same(value: Any, constant: Any) -> bool:
    """Whether a value is the constant that was compiled in; arrays never are."""
    if value is constant:
        return True
    return isinstance(value, (bool, int, float, str)) and bool(value == constant)


def rebuild(tree: Tree, leaves: Sequence[Any]) -> Any:
    """Return flattened results in the structure that the module returned.

    A class that cannot be imported here (a model output class, without its package) becomes a
    dict of its fields.
    """
    if "tensor" in tree:
        return leaves[tree["tensor"]]
    if "const" in tree:
        return tree["const"]
    if "tuple" in tree:
        return tuple(rebuild(t, leaves) for t in tree["tuple"])
    if "list" in tree:
        return [rebuild(t, leaves) for t in tree["list"]]
    fields = {k: rebuild(t, leaves) for k, t in tree["dict"].items()}
    return _instance(tree["object"], fields) if "object" in tree else fields


def _instance(path: str, fields: dict[str, Any]) -> Any:
    module, _, name = path.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
        return made(**fields)
    except (ImportError, AttributeError, TypeError):
        return fields
