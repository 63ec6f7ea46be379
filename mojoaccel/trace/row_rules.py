"""Which calls treat the rows of an unknown number one by one (see `bounded`)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch

from mojoaccel.trace.importer import bind_arguments

Rule = Callable[[Any, list[Any]], bool]
"""Judges a call and those of its operands that have such rows."""

MADE = {
    "full", "zeros", "ones", "new_full", "new_zeros", "new_ones", "empty", "new_empty", "expand",
}  # fmt: skip
"""Calls whose rows may come from sizes alone: all of them are equal."""

SHAPED = MADE | {"view", "reshape"}
"""Calls that take sizes, and use them for nothing else than their result's shape."""


def clear(fx: Any) -> bool:
    """Whether a call treats each row of its operands by itself."""
    taken = [n for n in operands(fx) if unknown(n)]
    if not taken:  # only sizes tell of rows
        return name_of(fx) in MADE
    if torch.Tag.pointwise in getattr(fx.target, "tags", ()):
        return True
    rule = RULES.get(name_of(fx))
    return rule is not None and rule(fx, taken)


def keeps_rows(fx: Any, taken: list[Any]) -> bool:
    """Whether a view leaves the axis of rows as it is."""
    (before,) = taken
    source, result = shape(before), shape(fx)
    a, b = unknown(before), unknown(fx)
    return (
        len(a) == len(b) == 1
        and source[a[0]] == result[b[0]]
        and prod(source[: a[0]]) == prod(result[: b[0]])
    )


def looks_up(fx: Any, taken: list[Any]) -> bool:
    """Whether rows are places in something else."""
    return fx.args[0] not in taken and (name_of(fx) == "embedding" or mask_of(fx) is None)


def multiplies(fx: Any, taken: list[Any]) -> bool:
    """Whether a product of the last two arguments does not sum over rows."""
    a, b = fx.args[-2:]
    return len(shape(a)) - 1 not in unknown(a) and max(len(shape(b)) - 2, 0) not in unknown(b)


def beside(fx: Any, taken: list[Any]) -> bool:
    """Whether the axes that a call works along, given as `dim`, are none of rows."""
    bound = bind_arguments(fx)
    dim = bound.get("dim", bound.get("dims"))
    if dim is None or dim == []:  # all of them
        return False
    dims = dim if isinstance(dim, (list, tuple)) else [dim]
    return not any(d % len(shape(n)) in unknown(n) for n in taken for d in dims)


def takes(fx: Any, taken: list[Any]) -> bool:
    """Whether places are looked up in the same row: ``gather`` of row k reads row k."""
    return taken == list(operands(fx)) and beside(fx, taken)


def selects(fx: Any, taken: list[Any]) -> bool:
    """Whether rows are places in something else, or keep their order."""
    return fx.args[0] not in taken or beside(fx, [fx.args[0]])


def before_last(count: int) -> Rule:
    """Whether the last `count` axes of the first operand, and all others, are without rows."""

    def judge(fx: Any, taken: list[Any]) -> bool:
        first = fx.args[0]
        return taken == [first] and unknown(first)[-1] < len(shape(first)) - count

    return judge


def normalizes(fx: Any, taken: list[Any]) -> bool:
    """Whether as many of the last axes as the second argument has sizes are without rows."""
    return before_last(len(fx.args[1]))(fx, taken)


def by_sample(fx: Any, taken: list[Any]) -> bool:
    """Whether the rows are the samples of the first operand."""
    return taken == [fx.args[0]] and unknown(fx.args[0]) == [0]


def attends(fx: Any, taken: list[Any]) -> bool:
    """Whether attention is within each row."""
    return all(axis < len(shape(n)) - 2 for n in taken for axis in unknown(n))


def _rules(table: dict[str, Rule]) -> dict[str, Rule]:
    return {name: rule for names, rule in table.items() for name in names.split()}


RULES = _rules(
    {
        "clone _to_copy alias detach contiguous permute transpose t unsqueeze expand full_like "
        "zeros_like ones_like empty_like lift_fresh_copy getitem": lambda fx, taken: True,
        "view reshape": keeps_rows,
        "embedding index": looks_up,
        "mm bmm matmul addmm baddbmm": multiplies,
        "softmax _softmax log_softmax _log_softmax cumsum cumprod glu select "
        "argmax argmin sort topk slice split split_with_sizes unbind flip roll amax amin mean var "
        "std any all prod logsumexp max min linalg_vector_norm sum cat squeeze": beside,
        "gather": takes,
        "index_select": selects,
        "linear": before_last(1),
        "conv1d": before_last(2),
        "conv2d max_pool2d avg_pool2d adaptive_avg_pool2d pixel_shuffle": before_last(3),
        "conv3d": before_last(4),
        "layer_norm rms_norm": normalizes,
        "group_norm _native_batch_norm_legit_no_training": by_sample,
        "scaled_dot_product_attention": attends,
    }
)
"""Calls of one or more operands with rows, by name."""


# -- reading the graph --------------------------------------------------------------------------


def name_of(fx: Any) -> str:
    """Return the plain name of what is called."""
    if fx.target is operator.getitem:
        return "getitem"
    return str(fx.target).removeprefix("aten.").split(".")[0]


def symbols(size: Any) -> list[Any]:
    """Return the symbols in a size, as torch has it, that only the data tells."""
    if not isinstance(size, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return []
    unbacked = size.node.shape_env.is_unbacked_symint
    return [s for s in size.node.expr.free_symbols if unbacked(s)]


def shape(fx: Any) -> list[Any]:
    """Return a value's sizes, as numbers and sympy expressions."""
    sizes = getattr(fx.meta.get("val"), "shape", ())
    return [s.node.expr if isinstance(s, torch.SymInt) else s for s in sizes]


def unknown(fx: Any) -> list[int]:
    """Return the axes of a value whose size only the data tells ([0] of such a size itself)."""
    value = fx.meta.get("val") if isinstance(fx, torch.fx.Node) else None
    if isinstance(value, torch.Tensor):
        return [axis for axis, size in enumerate(value.shape) if symbols(size)]
    if isinstance(value, (tuple, list)):
        sizes = [s for v in value for s in getattr(v, "shape", ())]
        return [0] if any(map(symbols, sizes)) else []
    return [0] if symbols(value) else []


def is_size(fx: Any) -> bool:
    """Whether a call returns a number, or nothing."""
    value = fx.meta.get("val")
    kinds = (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)
    return value is None or isinstance(value, kinds)


def operands(fx: Any) -> Iterator[Any]:
    """Yield the tensors that a call takes."""
    return (node for node in fx.all_input_nodes if not is_size(node))


def mask_of(fx: Any) -> tuple[int, Any] | None:
    """Return the axis of the only index of a call, and the index, if that is a mask."""
    given = [(axis, i) for axis, i in enumerate(fx.args[1]) if i is not None]
    masks = [i for _, i in given if i.meta["val"].dtype in (torch.bool, torch.uint8)]
    return given[0] if len(given) == len(masks) == 1 else None
