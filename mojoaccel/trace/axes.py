"""The dims that were declared of inputs, in torch.export's terms and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from mojoaccel.errors import error
from mojoaccel.example import Example
from mojoaccel.ir.dims import Axis, Dim, Size, exact_div
from mojoaccel.trace.structure import Leaves
from mojoaccel.trace.symbolic import SizeReader

Declared = Mapping[str, Mapping[int, Axis]]
"""Axes by the input's name."""


def check_axes(leaves: Leaves, dims: Declared) -> dict[str, dict[int, Axis]]:
    """Hold the declarations against the example inputs; return them with axes from the front.

    Raises:
        MojoaccelError: MA903, there is no such input or axis, or no value of the dim gives the
            example's size.
    """
    unknown = [n for n in dims if n not in leaves.names]
    if unknown:
        known = ", ".join(leaves.names)
        raise error("MA903", f"no input is called {unknown[0]}", notes=[f"inputs: {known}"])
    found: dict[str, dict[int, Axis]] = {}
    for name, axes in dims.items():
        shape = leaves.tensors[leaves.names.index(name)].shape
        for place, axis in axes.items():
            if not -len(shape) <= place < len(shape):
                raise error("MA903", f"input {name} has no axis {place}: it has {len(shape)}")
            if axis.solve(shape[place]) is None:
                message = f"input {name}, axis {place}: the example's size is {shape[place]}"
                raise error("MA903", f"{message}, which no whole {axis.dim.name} makes of {axis}")
            found.setdefault(name, {})[place % len(shape)] = axis
    return found


def named_dims(dims: Declared) -> dict[str, dict[int, Any]]:
    """Return the declared axes as torch.export's dims, equal names as one."""
    made: dict[str, Any] = {}
    declared = [axis for axes in dims.values() for axis in axes.values()]
    reduced = {axis.dim.name for axis in declared if axis.plus < 0}  # torch insists on sizes >= 0
    for dim in (axis.dim for axis in declared):
        low = None if dim.min <= 1 and dim.name not in reduced else dim.min
        made.setdefault(dim.name, torch.export.Dim(dim.name, min=low, max=dim.max))
    return {n: {p: _derived(made[a.dim.name], a) for p, a in x.items()} for n, x in dims.items()}


def _derived(dim: Any, axis: Axis) -> Any:
    if axis.times != 1:
        dim = axis.times * dim
    return dim + axis.plus if axis.plus else dim


def enlarge(example: Example, leaves: Leaves, dims: Declared) -> Example:
    """Repeat example inputs along axes whose dim is 1, and copy those that share memory.

    torch.export takes a size of 0 or 1 for a constant, so a dynamic dim is traced at 2 or more.
    It takes inputs that are one tensor in the example for one, and reads only the last of them.
    """
    made = {}
    for label, tensor in zip(leaves.names, leaves.tensors, strict=True):
        larger = tensor
        for place, axis in dims.get(label, {}).items():
            if axis.solve(tensor.shape[place]) == 1:
                rows = torch.arange(axis.at(2)) % tensor.shape[place]
                larger = larger.index_select(place, rows.to(tensor.device))
        made[id(tensor)] = larger

    seen: set[int] = set()

    def change(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        larger = made.get(id(value), value)
        place = larger.untyped_storage().data_ptr()
        if larger.numel() and place in seen:
            return larger.clone()
        seen.add(place)
        return larger

    args, kwargs = torch.utils._pytree.tree_map(change, (tuple(example.args), dict(example.kwargs)))
    return replace(example, args=args, kwargs=kwargs)


def read_symbols(
    specs: list[Any],
    placeholders: Mapping[str, Any],
    tensors: Mapping[str, Any],
    dims: Declared,
    ranges: Mapping[Any, Any],
) -> tuple[SizeReader, dict[str, int]]:
    """Match the program's symbols with the declared axes, those that are a symbol alone first.

    Returns:
        What reads the program's sizes, and each dim in the example inputs.

    Raises:
        MojoaccelError: MA205, a declared axis became a constant; MA903, it is a multiple.
    """
    sizes: dict[str, Size] = {}
    known: dict[str, Dim] = {}
    values: dict[str, int] = {}
    found = []
    for s, label in zip(specs, tensors, strict=True):
        for place, size in enumerate(placeholders[s.arg.name].meta["val"].shape):
            axis = dims.get(label, {}).get(place)
            if not isinstance(size, int):
                found.append((size.node.expr, label, place, axis))
            elif axis is not None:
                message = f"dim {axis.dim.name} ({label}, axis {place}) became the constant {size}"
                raise error("MA205", message)
    for expression, label, place, given in sorted(found, key=lambda f: not f[0].is_Symbol):
        own, *others = sorted(expression.free_symbols, key=str)
        if own.name in sizes or others:
            continue
        times, plus = int(expression.coeff(own)), int(expression.subs(own, 0))
        axis = given or Axis(undeclared_dim(f"{label}_{place}", ranges.get(own)), times, plus)
        solved = exact_div(axis.size - plus, times)
        example = axis.solve(int(tensors[label].shape[place]))
        if solved is None or example is None:
            message = f"axis {place} of {label} is {expression} in the program, not {axis}"
            raise error("MA903", message, hint=f"declare it as {times}*{axis.dim.name}")
        sizes[own.name] = solved
        known.setdefault(axis.dim.name, axis.dim)
        values.setdefault(axis.dim.name, example)
    return SizeReader(sizes, known), values


def undeclared_dim(name: str, limits: Any) -> Dim:
    """Return the dim of an exported program's own symbol, with the range it was exported for."""
    if limits is None:
        return Dim(name)
    high = int(limits.upper) if limits.upper.is_Integer and int(limits.upper) < 2**31 else None
    return Dim(name, max(1, int(limits.lower)), high)
