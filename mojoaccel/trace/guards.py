"""Holds what torch.export assumed of dynamic sizes against their declared ranges.

torch.export proves that a model's conditions on sizes hold for the whole range of a named ``Dim``,
and refuses what it cannot prove: of speech models' lengths, for one, which are divided with
rounding again and again. Exported with hints instead, the program keeps its conditions; here they
are computed for the ends of every range and for sizes drawn between.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mojoaccel.ir.dims import Axis, Dim

DRAWS = 512
"""Sets of sizes that the conditions are computed for."""

UNBOUNDED = 1 << 20
"""What stands for the end of a range without one."""


def hint_of(axis: Axis) -> Any:
    """Return the hint that leaves an axis's conditions in the program."""
    import torch

    low, high = axis.dim.min, axis.dim.max
    return torch.export.Dim.DYNAMIC(
        min=max(axis.at(low), 1), max=None if high is None else axis.at(high)
    )


def broken_conditions(program: Any, declared: Sequence[tuple[Any, Axis]]) -> list[str]:
    """Return the conditions that do not hold for some sizes in the declared ranges.

    Args:
        program: An exported program.
        declared: Sizes of its inputs, as torch has them, with what was declared of each.
    """
    from torch.utils._sympy.printers import PythonPrinter

    axes = {
        str(size.node.expr): axis
        for size, axis in declared
        if getattr(size, "node", None) is not None
    }
    if not axes:
        return []
    environment = next(size.node.shape_env for size, _ in declared if hasattr(size, "node"))
    printer = PythonPrinter()
    # Of two sizes that must be equal only one has a name left in the program.
    held = (environment.replace(guard.expr) for guard in environment.guards)
    texts = dict.fromkeys(printer.doprint(condition) for condition in held)
    conditions = {text: compile(text, "condition", "eval") for text in texts}
    dims = {axis.dim.name: axis.dim for axis in axes.values()}
    draws = [
        {text: axis.at(sizes[axis.dim.name]) for text, axis in axes.items()}
        for sizes in draw_sizes(dims)
    ]
    return [text for text, code in conditions.items() if not holds(code, draws)]


def holds(condition: Any, draws: Sequence[Mapping[str, int]]) -> bool:
    """Whether a condition holds for every set of sizes; one that cannot be computed does not."""
    try:
        return all(eval(condition, {"math": math}, dict(sizes)) for sizes in draws)
    except Exception:
        return False


def draw_sizes(ranges: Mapping[str, Dim]) -> Iterator[dict[str, int]]:
    """Yield sets of sizes: both ends of all ranges, then sizes between, small ones more often.

    Like torch, this takes a size of 1 for a matter of broadcasting, not of conditions.
    """
    lows = {name: max(2, dim.min) for name, dim in ranges.items()}
    highs = {n: max(lows[n], dim.max or UNBOUNDED) for n, dim in ranges.items()}
    yield lows
    yield highs
    generator = random.Random(0)
    for _ in range(DRAWS):
        yield {
            name: generator.choice(
                (
                    lows[name],
                    highs[name],
                    min(highs[name], lows[name] + generator.randrange(64)),
                    round(lows[name] * (highs[name] / lows[name]) ** generator.random()),
                )
            )
            for name in ranges
        }
