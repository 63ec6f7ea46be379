"""Which axes of a model's inputs carry a sequence whose length its code leaves free.

torch.export is asked: every axis that may be a sequence is marked ``Dim.AUTO``; a length that it
takes for a constant is fixed by the model's own code. Recurrent layers stay whole meanwhile, as in
the compiler: torch.export would unroll them over their steps.
"""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARES = (1.0, 0.7, 0.4)
"""Of the example's length."""

LONGER = (1.0, 1.4, 2.0)
"""The same for a model that takes no shorter sequence."""

BLOCK = re.compile(r"Guard failed: .*(?:%|//) (\d+)")
"""A condition on the length that holds for some of the lengths in each block only."""

PLACE = re.compile(r"args_(\d+)\.size\(\)\[(\d+)\]")
"""Input and axis in such a condition."""

STEPS = 10
"""Lengths between the shortest and the longest at which a model is asked whether it takes them."""


@dataclass(frozen=True)
class Length:
    """One length, which several axes may have.

    Attributes:
        axes: Input and axis of each.
        sizes: What it is tried at.
        block: The code goes by blocks: lengths are its multiples, and `rest` more.
        rest: See `block`.
    """

    axes: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    block: int = 1
    rest: int = 0

    def between(self, part: int, parts: int) -> int:
        """Return a length some parts of the way from the shortest to the longest."""
        low, high = (size // self.block for size in (min(self.sizes), max(self.sizes)))
        return (low + (high - low) * part // parts) * self.block + self.rest


def candidate_axes(args: tuple[Any, ...], family: str) -> list[tuple[int, ...]]:
    """Return the axes of each input that may be sequences: of tokens, frames or a wave."""
    audio = family == "audio"
    tokens = {v.shape[1] for v in args if v.dim() == 2 and not v.is_floating_point()}
    made: list[tuple[int, ...]] = []
    for value in args:
        if value.dim() == 2 and (audio or value.shape[1] in tokens):
            made.append((1,))
        elif value.dim() == 3 and audio:
            made.append((1, 2))
        else:
            made.append((1,) if value.dim() == 3 and value.shape[1] in tokens else ())
    return made


def dynamic_shapes(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], axes: list[dict[int, Any]]
) -> dict[str, Any]:
    """Return torch.export's ``dynamic_shapes`` for the positional inputs' axes."""
    signature = inspect.signature(module.forward)
    shapes = dict(signature.bind(*axes, **dict.fromkeys(kwargs)).arguments)
    for name, kind in ((n, p.kind) for n, p in signature.parameters.items()):
        if kind is inspect.Parameter.VAR_KEYWORD and name in shapes:
            shapes |= shapes.pop(name)
    return shapes


def free_lengths(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], family: str
) -> list[Length] | str:
    """Return the lengths that the model's code leaves free, or why there are none."""
    import torch

    candidates = candidate_axes(args, family)
    if not any(candidates):
        return "it takes no sequence"
    hints = [dict.fromkeys(places, torch.export.Dim.AUTO) for places in candidates]
    try:
        program = exported(module, args, kwargs, dynamic_shapes(module, args, kwargs, hints))
    except Exception as problem:
        return f"torch.export has none: {str(problem).splitlines()[0][:200]}"
    nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    inputs = [nodes[name].meta["val"] for name in program.graph_signature.user_inputs]
    found: dict[Any, list[tuple[int, int]]] = {}
    for index, axes in enumerate(candidates):
        for axis in axes:
            size = inputs[index].shape[axis]
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                found.setdefault(size.node.expr, []).append((index, axis))
    if not found:
        return "its code fixes the length: torch.export takes it for a constant"
    least: dict[int, int] = {}
    for symbol, ((index, axis), *_) in found.items():
        size, low = args[index].shape[axis], int(program.range_constraints[symbol].lower)
        least[size] = max(low, least.get(size, 2))
    lengths = []
    for places in found.values():
        size = args[places[0][0]].shape[places[0][1]]
        shares = SHARES if max(2, int(SHARES[-1] * size)) >= least[size] else LONGER
        lengths.append(Length(tuple(places), tuple(max(2, int(s * size)) for s in shares)))
    problem = refusal(program, module, args, kwargs, lengths)
    if problem and (block := BLOCK.search(problem)):
        named = {(int(i), int(axis)) for i, axis in PLACE.findall(problem)}
        lengths = [
            in_blocks(n, args, int(block[1])) if named.intersection(n.axes) else n for n in lengths
        ]
        try:
            spec = declared(module, args, kwargs, lengths)
            program = exported(module, args, kwargs, spec)
        except Exception:
            return problem
        problem = refusal(program, module, args, kwargs, lengths)
    return problem or lengths


def in_blocks(length: Length, args: tuple[Any, ...], block: int) -> Length:
    """Return the same length where only the number of blocks in it is free."""
    index, axis = length.axes[0]
    count, rest = divmod(args[index].shape[axis], block)
    sizes = tuple(n * block + rest for n in (count, count + 1, 2 * count + 1))
    return Length(length.axes, sizes, block, rest)


def exported(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], spec: dict[str, Any]
) -> Any:
    """Export a model with some axes of its inputs free."""
    import torch

    from mojoaccel.trace.recurrent import whole_recurrences

    logging.getLogger("torch").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings(), whole_recurrences():
        warnings.simplefilter("ignore")
        return torch.export.export(module, args, dict(kwargs), dynamic_shapes=spec, strict=False)


def refusal(
    program: Any,
    module: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    lengths: list[Length],
) -> str:
    """Return at which lengths in the range PyTorch, or its program, does not run, and why."""
    import torch

    for name, call in (("PyTorch", module), ("torch.export's program", program.module())):
        for part in range(STEPS + 1):
            sizes = [n.between(part, STEPS) for n in lengths]
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    call(*resized(args, lengths, sizes), **kwargs)
            except Exception as problem:
                return f"{name} does not take lengths {sizes}: {str(problem)[:160]}"
    return ""


def declared(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], lengths: list[Length]
) -> dict[str, Any]:
    """Return dynamic shapes with a named dim for each length, as far as it is tried."""
    import torch

    axes: list[dict[int, Any]] = [{} for _ in args]
    for number, length in enumerate(lengths):
        low, high = (size // length.block for size in (min(length.sizes), max(length.sizes)))
        dim = torch.export.Dim(f"s{number}", min=low, max=high)
        if length.block > 1:
            dim = length.block * dim + length.rest if length.rest else length.block * dim
        for index, axis in length.axes:
            axes[index][axis] = dim
    return dynamic_shapes(module, args, kwargs, axes)


def resized(args: tuple[Any, ...], lengths: list[Length], sizes: Sequence[int]) -> tuple[Any, ...]:
    """Return inputs of other lengths: the example cut short, or repeated."""
    import torch

    made = list(args)
    for length, size in zip(lengths, sizes, strict=True):
        for index, axis in length.axes:
            places = torch.arange(size) % args[index].shape[axis]
            made[index] = made[index].index_select(axis, places)
    return tuple(made)
