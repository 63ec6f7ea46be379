"""Rows cut into pieces as long as the data says, and put together again.

A mixture of experts may sort its rows by expert and cut them by ``x.split(counts.tolist())``. Where
the experts treat rows one by one and what they make is concatenated in the same order, each row of
the result is made by the expert in whose piece it lies: here every expert gets all rows, and each
row of the result is taken from its own. Any other use of such pieces stays as it is, and is refused
later.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mojoaccel.trace.bounded import Unclear, rewritten
from mojoaccel.trace.importer import bind_arguments
from mojoaccel.trace.row_rules import clear, is_size, name_of, operands, shape, symbols

aten = torch.ops.aten


def whole(program: Any, decompose: Callable[[Any], Any]) -> Any:
    """Return a decomposed program that cuts nothing into pieces of unknown sizes, if it may."""
    if not any(lengths(n) for n in program.graph.nodes):
        return program
    return rewritten(program, Pieces(copy.deepcopy(program.graph)), decompose)


def lengths(fx: Any) -> list[Any]:
    """Return the numbers read from the data that a call cuts by, [] if it does not."""
    if fx.op != "call_function" or fx.target != aten.split_with_sizes.default:
        return []
    read = [n for n in fx.args[1] if isinstance(n, torch.fx.Node) and symbols(n.meta.get("val"))]
    known = all(n.target == aten._local_scalar_dense.default for n in read)
    return read if known and len(set(read)) == len(fx.args[1]) else []


def joined(pieces: Sequence[Tensor], counts: Sequence[Tensor], axis: int) -> Tensor:
    """Return `counts` rows of each of the pieces in turn, along `axis`, from the same places."""
    place = torch.arange(pieces[0].shape[axis], device=pieces[0].device)
    ends = torch.stack([c.reshape(()) for c in counts]).cumsum(0)
    owner = (place[:, None] >= ends).sum(1).reshape(-1, *(1,) * (pieces[0].dim() - axis - 1))
    result = pieces[0]
    for number, piece in enumerate(pieces[1:], 1):
        result = torch.where(owner == number, piece, result)
    return result


class Pieces:
    """The values of a program that are pieces of something.

    Attributes:
        graph: The program's FX graph, decomposed.
        cuts: The numbers that something was cut by, by their symbols.
        totals: What these add up to.
        known: The symbols of all of them.
        changes: What to do to the graph, if every use turns out to be clear.
    """

    def __init__(self, graph: Any) -> None:
        """Take the graph."""
        self.graph = graph
        self.cuts: dict[tuple[Any, ...], list[Any]] = {}
        self.changes: list[Callable[[], None]] = []
        for node in graph.nodes:
            if numbers := lengths(node):
                self.cuts[tuple(n.meta["val"].node.expr for n in numbers)] = numbers
        self.totals = {sum(sizes) for sizes in self.cuts}
        self.known = {size for sizes in self.cuts for size in sizes}

    def read(self) -> None:
        """Follow the pieces through the graph.

        Raises:
            Unclear: Some call depends on where they were cut.
        """
        for fx in self.graph.nodes:
            if fx.op == "call_function" and is_size(fx):
                continue
            pieces = [n for n in operands(fx) if self.axes(n)]
            sized = any(is_size(n) and self._counted(n.meta["val"]) for n in fx.all_input_nodes)
            if not (pieces or sized or self.axes(fx)):
                continue
            if fx.op != "call_function":
                raise Unclear
            if lengths(fx):
                self._cut(fx)
            elif sized or not (name_of(fx) == "getitem" or self._joins(fx) or clear(fx)):
                raise Unclear

    def axes(self, fx: Any) -> list[int]:
        """Return the axes along which a value is a piece ([0] of several values)."""
        value = fx.meta.get("val")
        if isinstance(value, (tuple, list)):
            return [0] if any(self._counted(s) for v in value for s in v.shape) else []
        sizes = getattr(value, "shape", ())
        return [axis for axis, size in enumerate(sizes) if self._counted(size)]

    def _counted(self, size: Any) -> bool:
        """Whether a size, as torch has it, depends on where something is cut."""
        return not self.known.isdisjoint(symbols(size)) and size.node.expr not in self.totals

    def _cut(self, fx: Any) -> None:
        if self.axes(fx.args[0]):
            raise Unclear

        def change() -> None:
            for piece in list(fx.users):
                piece.replace_all_uses_with(fx.args[0])

        self.changes.append(change)

    def _joins(self, fx: Any) -> bool:
        """Whether a call puts all pieces together; note what is to be called instead."""
        if name_of(fx) != "cat":
            return False
        parts, axis = fx.args[0], bind_arguments(fx)["dim"] % len(shape(fx))
        if any(self.axes(n) != [axis] for n in parts):
            return False
        numbers = self.cuts.get(tuple(shape(n)[axis] for n in parts))
        if numbers is None:
            return False

        def change() -> None:
            fx.target, fx.args, fx.kwargs = joined, (parts, [n.args[0] for n in numbers], axis), {}

        self.changes.append(change)
        return True
