"""Rows chosen by a mask, as many as there could be at most.

``x[mask]``, ``torch.where(mask)`` and the like make as many rows as the mask has true places, which
only the data tells. Where a model treats these rows one by one and puts them back, as mixtures of
experts do, their number makes no difference: here there are as many rows as the mask has places,
and those beyond the count repeat the first one. What adds rows up leaves the repeated ones out.
A use that does depend on the number stays as it is, and is refused later.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mojoaccel.errors import MojoaccelError
from mojoaccel.trace.importer import bind_arguments
from mojoaccel.trace.masking import put_rows
from mojoaccel.trace.row_rules import (
    SHAPED,
    clear,
    is_size,
    mask_of,
    name_of,
    operands,
    shape,
    symbols,
    unknown,
)

aten = torch.ops.aten


def bounded(program: Any, decompose: Callable[[Any], Any]) -> Any:
    """Return a decomposed program with as many rows as its masks have places, where it may be."""
    if not any(unknown(n) for n in program.graph.nodes):
        return program
    return rewritten(program, Rows(copy.deepcopy(program.graph)), decompose)


def rewritten(program: Any, found: Any, decompose: Callable[[Any], Any]) -> Any:
    """Return a program after the changes that reading a copy of its graph finds, if it is clear."""
    try:
        found.read()
        if not found.changes:
            return program
        for change in found.changes:
            change()
        drop_checks(found.graph)
        changed = copy.copy(program)
        changed._graph_module = torch.fx.GraphModule(program.graph_module, found.graph)
        return decompose(changed)
    except (Unclear, MojoaccelError):  # rows met what has as many as the data happens to have
        return program


def drop_checks(graph: Any) -> None:
    """Remove what only checks sizes, and the calls that only such checks needed."""
    for fx in reversed(graph.nodes):
        if str(fx.target) in CHECKS:
            graph.erase_node(fx)
    graph.eliminate_dead_code()


CHECKS = frozenset(
    {
        "aten._assert_scalar.default",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
    }
)
"""Calls that check numbers and return nothing."""

# -- what takes the place of the calls ----------------------------------------------------------


def places(mask: Tensor) -> Tensor:
    """Return places of true values, [places of the mask, axes]; beyond their number the first's."""
    found = torch.nonzero_static(mask, size=mask.numel(), fill_value=-1)
    return torch.where(found < 0, found[:1].clamp(min=0), found)


def rows(x: Tensor, mask: Tensor, axis: int = 0) -> Tensor:
    """Return ``x[mask]``, the mask standing for the axes from `axis` on."""
    return x[(*(slice(None),) * axis, *places(mask).unbind(1))]


def counted(x: Tensor, mask: Tensor, axis: int) -> Tensor:
    """Return rows along `axis` with those beyond the mask's count set to zero."""
    inside = torch.arange(x.shape[axis], device=x.device) < (mask != 0).sum()
    return torch.where(inside.reshape(-1, *(1,) * (x.dim() - axis - 1)), x, 0).to(x.dtype)


def mean_rows(
    x: Tensor, mask: Tensor, axis: int, dim: Sequence[int], keepdim: bool, dtype: Any
) -> Tensor:
    """Return the mean over axes of which one is that of the rows."""
    axes = [d % x.dim() for d in dim] or list(range(x.dim()))
    count = (mask != 0).sum()
    for a in axes:
        count = count if a == axis else count * x.shape[a]
    return counted(x, mask, axis).sum(axes, keepdim, dtype=dtype) / count


def written(values: Any, mask: Tensor, x: Tensor, index: Sequence[Tensor | None]) -> Tensor:
    """Return values to write into ``x[index]``: what is there if no row was chosen."""
    there = x[tuple(slice(None) if i is None else i for i in index)]
    return torch.where((mask != 0).any(), values, there)


def of_blocks(x: Tensor, mask: Tensor, blocks: int, index: int) -> Tensor:
    """Return one row of each of as many equal blocks as the rows are cut into."""
    length = (mask != 0).sum() // blocks
    place = torch.arange(blocks, device=x.device) * length + index + (length if index < 0 else 0)
    return x.index_select(0, place.clamp(0, mask.numel() - 1))


# -- where rows come from, and where they go ----------------------------------------------------


class Unclear(Exception):
    """A call's result may depend on the number of rows."""


class Rows:
    """The values of a program that have rows of an unknown number.

    Attributes:
        graph: The program's FX graph, decomposed.
        masks: The mask whose true places a number counts, by the number's symbol.
        blocks: Rows that are cut into a known number of blocks: rows, mask, number.
        changes: What to do to the graph, if every use turns out to be clear.
    """

    def __init__(self, graph: Any) -> None:
        """Take the graph."""
        self.graph = graph
        self.masks: dict[Any, Any] = {}
        self.blocks: dict[Any, tuple[Any, ...]] = {}
        self.changes: list[Callable[[], None]] = []

    def read(self) -> None:
        """Follow the rows through the graph.

        Raises:
            Unclear: Some call may not be read with more rows than there are.
        """
        measured = only_sized(self.graph)
        for fx in self.graph.nodes:
            known = not unknown(fx) and not any(map(unknown, fx.all_input_nodes))
            if known or (fx.op == "call_function" and is_size(fx)) or fx in measured:
                continue
            if fx.op != "call_function":
                raise Unclear
            self._call(fx)

    def _call(self, fx: Any) -> None:
        name = name_of(fx)
        if self._is_source(fx) or self._in_blocks(fx):
            return
        if any(unknown(n) and is_size(n) for n in fx.all_input_nodes) and name not in SHAPED:
            raise Unclear  # the number itself is data
        if clear(fx):
            return
        if name not in ENDS:
            raise Unclear
        ENDS[name](self, fx)

    def _is_source(self, fx: Any) -> bool:
        """Note a call that chooses rows, and what is to be called instead."""
        if fx.target == aten.nonzero.default:
            mask, new, args = fx.args[0], places, fx.args
        elif fx.target == aten.masked_select.default and shape(fx.args[0]) == shape(fx.args[1]):
            mask, new, args = fx.args[1], rows, fx.args
        elif fx.target == aten.index.Tensor and mask_of(fx) is not None:
            axis, mask = mask_of(fx)  # type: ignore[misc]
            new, args = rows, (fx.args[0], mask, axis)
        else:
            return False
        sizes = [s.node.expr for s in fx.meta["val"].shape if symbols(s)]
        if len(sizes) != 1 or not sizes[0].is_Symbol or any(map(unknown, operands(fx))):
            raise Unclear
        if not shape(mask):
            raise Unclear
        self.masks.setdefault(sizes[0], mask)
        self.replace(fx, new, args)
        return True

    def _in_blocks(self, fx: Any) -> bool:
        """Read rows that are cut into equal blocks, of each of which one row is taken.

        Classifiers of BART and T5 take the last end of a sentence so.
        """
        name, source = name_of(fx), fx.args[0] if fx.args else None
        cut = any(n in self.blocks for n in fx.all_input_nodes)
        if name in ("view", "reshape") and unknown(source) == [0] and unknown(fx) == [1]:
            if shape(source)[1:] != shape(fx)[2:]:
                return False
            self.blocks[fx] = (source, self.mask(source)[0], fx.args[1][0])
            return True
        if not cut:
            return False
        if name == "slice" and shape(fx) == shape(source):
            self.blocks[fx] = self.blocks[source]
        elif name == "select" and fx.args[1] == 1 and isinstance(fx.args[2], int):
            self.replace(fx, of_blocks, (*self.blocks[source], fx.args[2]))
        else:
            raise Unclear
        return True

    def mask(self, fx: Any) -> tuple[Any, int]:
        """Return the mask and the axis of the rows of a value that has them along one axis."""
        axes = unknown(fx)
        size = shape(fx)[axes[0]] if axes else None
        if len(axes) != 1 or size not in self.masks:
            raise Unclear
        return self.masks[size], axes[0]

    def replace(self, fx: Any, new: Callable[..., Tensor], args: Sequence[Any]) -> None:
        """Let another function be called, with other arguments."""

        def change() -> None:
            fx.target, fx.args, fx.kwargs = new, tuple(args), {}

        self.changes.append(change)

    def wrap(self, fx: Any, place: int, new: Callable[..., Tensor], *args: Any) -> None:
        """Let an argument of a call go through a function first."""

        def change() -> None:
            with self.graph.inserting_before(fx):
                made = self.graph.call_function(new, (fx.args[place], *args))
            fx.args = (*fx.args[:place], made, *fx.args[place + 1 :])

        self.changes.append(change)


def only_sized(graph: Any) -> set[Any]:
    """Return the calls of which nobody reads more than the size of what they return."""
    found: set[Any] = set()
    for fx in reversed(graph.nodes):
        reads = (u.op == "call_function" and (is_size(u) or u in found) for u in fx.users)
        if fx.op == "call_function" and all(reads):
            found.add(fx)
    return found


def put(found: Rows, fx: Any) -> None:
    """Read ``index_put``: by places, or by the mask that the rows were chosen by."""
    x, index, values = fx.args[:3]
    adds = len(fx.args) > 3 and fx.args[3]
    given = [i for i in index if i is not None]
    if unknown(x) or any(unknown(i) not in ([], [0]) for i in given):
        raise Unclear
    if mask_of(fx) is not None:
        axis, flags = mask_of(fx)  # type: ignore[misc]
        after = len(shape(x)) - axis - len(shape(flags))
        if found.mask(values)[1] != len(shape(values)) - after - 1:
            raise Unclear
        found.replace(fx, put_rows, (x, flags, values, axis, adds))
        return
    mask = found.mask(next((i for i in given if unknown(i)), values))[0]
    if not adds:
        found.wrap(fx, 2, written, mask, x, index)
    else:
        found.wrap(fx, 2, counted, *found.mask(values))


def add(found: Rows, fx: Any) -> None:
    """Read ``index_add`` and ``scatter_add``: the rows that are too many add nothing."""
    x, dim, index, source = fx.args[:4]
    mask, axis = found.mask(source)
    if unknown(x) or unknown(index) != [axis % len(shape(index))] or axis != dim % len(shape(x)):
        raise Unclear
    found.wrap(fx, 3, counted, mask, axis)


def scatter_by_mask(found: Rows, fx: Any) -> None:
    """Read ``masked_scatter``, which takes as many rows as its mask needs."""
    x, mask, source = fx.args
    if unknown(x) or unknown(mask) or unknown(source) != [0]:
        raise Unclear


def total(found: Rows, fx: Any) -> None:
    """Read ``sum`` over the rows."""
    found.wrap(fx, 0, counted, *found.mask(fx.args[0]))


def average(found: Rows, fx: Any) -> None:
    """Read ``mean`` over the rows."""
    bound = bind_arguments(fx)
    dim, keepdim = bound.get("dim") or [], bound.get("keepdim", False)
    args = (fx.args[0], *found.mask(fx.args[0]), dim, keepdim, bound["dtype"])
    found.replace(fx, mean_rows, args)


def copied(found: Rows, fx: Any) -> None:
    """Read ``index_copy``: what is there is written where no row was chosen."""
    x, dim, index, source = fx.args
    mask, axis = found.mask(source)
    if unknown(x) or unknown(index) != [0] or axis != dim % len(shape(x)):
        raise Unclear
    found.wrap(fx, 3, written, mask, x, [None] * axis + [index])


ENDS: dict[str, Callable[[Rows, Any], None]] = {
    "index_put": put,
    "index_copy": copied,
    "index_add": add,
    "scatter_add": add,
    "masked_scatter": scatter_by_mask,
    "sum": total,
    "mean": average,
}
"""Calls that bring rows together, and how each is read."""
