"""A digest of everything a trace depends on, made without tracing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from importlib import metadata
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mojoaccel.config import TraceOptions
from mojoaccel.products import digest_array, digest_bytes, digest_json
from mojoaccel.trace.loader import LoadedModel, user_sources
from mojoaccel.trace.structure import to_numpy, value_range

DEEPEST = 4
"""Nesting of settings that is followed."""

PRINTED = (complex, bytes, range, slice, Enum, torch.dtype, torch.device, torch.layout)
"""Types whose text says all about a value."""

SKIPPED = frozenset({"_parameters", "_buffers", "_modules", "training"})


def fingerprint(model: LoadedModel, options: TraceOptions) -> dict[str, Any]:
    """Return key material: code, package versions, module tree, weights, examples, dims.

    The user's own files count by content, installed packages by version. Weights are hashed in
    parallel (hashlib releases the interpreter lock).
    """
    module = model.example.module
    leaves = pytree.tree_leaves((tuple(model.example.args), dict(model.example.kwargs)))
    sources = {s.name: digest_bytes(s.read_bytes()) for s in user_sources()}
    if isinstance(module, torch.fx.GraphModule):  # of a .pt2 or .onnx file
        sources |= {s.name: digest_bytes(s.read_bytes()) for s in model.sources}
    return {
        "sources": sources,
        "packages": package_versions(module),
        "modules": digest_json([[n, describe(m)] for n, m in module.named_modules()]),
        "weights": weight_digests(module),
        "inputs": [describe_leaf(leaf) for leaf in leaves],
        "dims": {
            n: {str(a): str(d) for a, d in x.items()} for n, x in model.example.dims().items()
        },
        "dtype": options.dtype,
    }


def package_versions(module: Any) -> dict[str, str]:
    """Return the versions of torch and of the packages the module's classes come from."""
    tops = {type(m).__module__.split(".")[0] for m in module.modules()} | {"torch"}
    found = {}
    for top in sorted(tops):
        for name in {top, top.replace("_", "-")}:
            try:
                found[top] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
    return found


def weight_digests(module: Any) -> dict[str, str]:
    """Return a digest of every parameter and buffer by name; shared tensors are hashed once."""
    tensors = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    distinct = {(t.data_ptr(), t.shape, t.dtype): t for t in tensors.values()}
    with ThreadPoolExecutor() as pool:
        digests = dict(
            zip(
                distinct,
                pool.map(lambda t: digest_array(to_numpy(t)), distinct.values()),
                strict=True,
            )
        )
    return {n: digests[(t.data_ptr(), t.shape, t.dtype)] for n, t in tensors.items()}


def describe(module: Any) -> list[Any]:
    """Return a module's class and plain settings."""
    kind = type(module)
    settings = {k: stable(v) for k, v in vars(module).items() if k not in SKIPPED}
    return [f"{kind.__module__}.{kind.__qualname__}", settings]


def stable(value: Any, depth: int = 0) -> Any:
    """Return a description of a setting that is equal in every process."""
    if isinstance(value, (bool, int, float, str, type(None))) or depth > DEEPEST:
        return value if depth <= DEEPEST else type(value).__name__
    if isinstance(value, torch.Tensor):
        return digest_array(to_numpy(value))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return digest_array(value)
    if isinstance(value, PRINTED):
        return repr(value)
    if isinstance(value, (partial, FunctionType)):
        return describe_function(value, depth + 1)
    return _nested(value, depth + 1)


def _nested(value: Any, depth: int) -> Any:
    """Describe a container, or an object by its class and what it holds."""
    if hasattr(value, "to_dict"):  # transformers configurations
        value = value.to_dict()
    if isinstance(value, (list, tuple)):
        return [stable(v, depth) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(stable(v, depth)) for v in value)
    if isinstance(value, Mapping):
        return {str(k): stable(v, depth) for k, v in value.items()}
    named = value if hasattr(value, "__qualname__") else type(value)
    # Methods of built-in types tell no module.
    name = f"{getattr(named, '__module__', type(named).__name__)}.{named.__qualname__}"
    if named is value or isinstance(value, torch.nn.Module):
        return name
    return [name, {k: stable(v, depth) for k, v in _attributes(value).items()}]


def _attributes(value: Any) -> dict[str, Any]:
    """Return what an object of a class of the user's own holds: a configuration, as a rule."""
    slots = [n for kind in type(value).__mro__ for n in vars(kind).get("__slots__", ())]
    held = {n: getattr(value, n) for n in slots if hasattr(value, n)}
    return held | dict(getattr(value, "__dict__", {}))


def describe_function(function: FunctionType | partial[Any], depth: int) -> list[Any]:
    """Describe a function by its name, its code and what it has bound.

    Names alone do not tell lambdas apart.
    """
    if isinstance(function, partial):
        return ["partial", stable([function.func, function.args, function.keywords], depth)]
    cells = [c.cell_contents for c in function.__closure__ or () if c != CellType()]
    bound = [function.__defaults__, function.__kwdefaults__, cells]
    name = f"{function.__module__}.{function.__qualname__}"
    return [name, describe_code(function.__code__), stable(bound, depth)]


def describe_code(code: CodeType) -> list[Any]:
    """Describe compiled code, that of the functions made in it included."""

    def constant(value: Any) -> Any:
        if isinstance(value, CodeType):
            return describe_code(value)
        if isinstance(value, frozenset):  # in an order of its own in every process
            return sorted(map(repr, value))
        return repr(value)

    constants = [constant(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def describe_leaf(leaf: Any) -> Any:
    """Return an example input's type and shape, or a constant's value."""
    if isinstance(leaf, torch.Tensor):
        return [str(leaf.dtype), list(leaf.shape), _range(leaf)]
    return stable(leaf)


def _range(leaf: Any) -> list[float]:
    if leaf.numel() == 0 or leaf.is_floating_point() or leaf.is_complex():
        return []
    return list(value_range(leaf))
