"""Lets an imported ONNX graph compute sizes with numbers.

ONNX computes shapes with tensors (Shape, Gather, Concat, Reshape), where torch.export loses sight
of them: what is read from a tensor is data. So small constants, and what is computed of them and
of shapes, are held as `Sizes` while the graph runs; they become tensors where an operator that has
no rule here takes them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

LARGEST = 16
"""Elements of a constant that may stand for sizes."""

AS_NUMBERS = frozenset(
    [
        *("CumSum", "Pad", "Resize", "Split", "Squeeze", "TopK", "Trilu", "Unsqueeze", "Upsample"),
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Slice"),
    ]
)
"""Operators whose further inputs the importer takes as numbers and lists of them."""

OPERATORS = {
    torch.unsqueeze: "Unsqueeze",
    torch.squeeze: "Squeeze",
    torch.minimum: "Min",
    torch.maximum: "Max",
}
"""Names of what the importer makes several nodes of, which are not all labelled."""


@dataclass(frozen=True)
class Sizes:
    """A small vector, or a scalar, whose values are known: numbers, or sizes of the inputs.

    Attributes:
        values: What it holds.
        scalar: Whether it has no axes.
        dtype: As a tensor.
        tensor: That tensor, for a constant.
    """

    values: tuple[Any, ...]
    scalar: bool = False
    dtype: torch.dtype = torch.int64
    tensor: Any = None

    @property
    def integral(self) -> bool:
        """Whether it may be computed with here."""
        return not self.dtype.is_floating_point

    def numbers(self) -> Any:
        """Return a number, or a list."""
        return self.values[0] if self.scalar else list(self.values)


def computing_sizes(module: fx.GraphModule) -> fx.GraphModule:
    """Rewrite a graph of onnx2fx's in place, and return it."""
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "get_attr":
            tensor = getattr(module, node.target)
            if tensor.dim() <= 1 and tensor.numel() <= LARGEST and not tensor.is_complex():
                with graph.inserting_after(node):
                    values = tensor.reshape(-1).tolist()
                    held = graph.call_function(constant, (node, values, tensor.dtype))
                node.replace_all_uses_with(held, delete_user_cb=lambda user, new=held: user != new)
        elif node.op == "call_function":
            label = OPERATORS.get(node.target, node.meta.get("onnx_op_type", ""))
            node.target = with_sizes(label, node.target)
        elif node.op == "output":
            with graph.inserting_before(node):
                node.args = (fx.map_arg(node.args[0], lambda n: graph.call_function(plain, (n,))),)
    graph.lint()
    module.recompile()
    return module


def constant(tensor: Tensor, values: Sequence[Any], dtype: torch.dtype) -> Sizes:
    """Hold a constant whose values were read when the graph was made."""
    return Sizes(tuple(values), tensor.dim() == 0, dtype, tensor)


def plain(value: Any) -> Any:
    """Return a value as a tensor if it is `Sizes`."""
    if not isinstance(value, Sizes):
        return value
    if value.tensor is not None:
        return value.tensor
    if not value.values:
        return torch.empty(0, dtype=value.dtype)
    parts = [torch.scalar_tensor(v, dtype=value.dtype) for v in value.values]
    return parts[0] if value.scalar else torch.stack(parts)


def with_sizes(label: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what an importer's function does, with the rule of its operator for `Sizes`."""
    rule = RULES.get(label)

    def run(*args: Any, **kwargs: Any) -> Any:
        leaves = pytree.tree_leaves((args, kwargs))
        if label not in ("Shape", "Size", "Cast") and not any(isinstance(v, Sizes) for v in leaves):
            return original(*args, **kwargs)
        found = rule(*args, **kwargs) if rule is not None else None
        if found is not None:
            return found
        if label in AS_NUMBERS:
            further = [v.numbers() if isinstance(v, Sizes) else v for v in args[1:]]
            return original(plain(args[0]), *further, **kwargs)
        args, kwargs = pytree.tree_map(plain, (args, kwargs))
        return original(*args, **kwargs)

    run.__name__ = label or "run"
    return run


def known(*values: Any) -> bool:
    """Whether all of some inputs are integers that can be computed with."""
    return all(isinstance(v, Sizes) and v.integral for v in values)


def shape_of(x: Any, start: int = 0, end: int | None = None) -> Sizes:
    """Shape."""
    shape = (() if x.scalar else (len(x.values),)) if isinstance(x, Sizes) else tuple(x.shape)
    return Sizes(shape[start:end])


def size_of(x: Any) -> Sizes:
    """Size."""
    return Sizes((len(x.values) if isinstance(x, Sizes) else x.numel(),), scalar=True)


def cast(x: Any, dtype: torch.dtype) -> Any:
    """Cast; where PyTorch runs in float64, as the referee, float32 is that."""
    if known(x) and not dtype.is_floating_point and dtype != torch.bool:
        return Sizes(x.values, x.scalar, dtype)
    return plain(x).to(widest(dtype))


def widest(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for float32 where that is the default type."""
    return torch.get_default_dtype() if dtype == torch.float32 else dtype


def gather(data: Any, index: Any, axis: int = 0) -> Sizes | None:
    """Gather."""
    if not known(data, index) or not all(isinstance(i, int) for i in index.values):
        return None
    return Sizes(tuple(data.values[i] for i in index.values), index.scalar, data.dtype)


def concat(parts: Sequence[Any], dim: int = 0) -> Sizes | None:
    """Concat."""
    if not known(*parts):
        return None
    return Sizes(tuple(v for p in parts for v in p.values), dtype=parts[0].dtype)


def unsqueeze(x: Any, axes: Any = None, dim: Any = None) -> Sizes | None:
    """Unsqueeze."""
    return replace(x, scalar=False, tensor=None) if known(x) and x.scalar else None


def squeeze(x: Any, axes: Any = None, dim: Any = None) -> Sizes | None:
    """Squeeze."""
    return replace(x, scalar=True, tensor=None) if known(x) and len(x.values) == 1 else None


def elementwise(compute: Callable[..., Any], dtype: torch.dtype | None = None) -> Any:
    """Return the rule of an operator that computes every element by itself."""

    def rule(*given: Any) -> Sizes | None:
        if not known(*given):
            return None
        count = max(len(g.values) for g in given)
        columns = [g.values * count if len(g.values) == 1 else g.values for g in given]
        values = tuple(compute(*row) for row in zip(*columns, strict=True))
        return Sizes(values, all(g.scalar for g in given), dtype or given[-1].dtype)

    return rule


def quotient(a: Any, b: Any) -> Any:
    """Divide, rounding to zero as ONNX does; sizes are never negative."""
    signed = isinstance(a, int) and isinstance(b, int) and (a < 0) != (b < 0)
    return -(-a // b) if signed else a // b


def reduce_prod(x: Any, *_: Any) -> Sizes | None:
    """ReduceProd over all elements."""
    if not known(x):
        return None
    product: Any = 1
    for value in x.values:
        product = product * value
    return Sizes((product,), x.scalar, x.dtype)


def reshape(x: Any, shape: Any, allowzero: int = 0) -> Any:
    """Reshape; a 0 keeps the size of the input's axis."""
    if not known(shape):
        return None
    if known(x) and len(x.values) == 1 and len(shape.values) <= 1:
        return replace(x, scalar=not shape.values, tensor=None)
    x = plain(x)
    kept = [isinstance(v, int) and v == 0 and not allowzero for v in shape.values]
    pairs = zip(shape.values, kept, strict=True)
    return torch.reshape(x, [x.shape[i] if keep else v for i, (v, keep) in enumerate(pairs)])


def expand(x: Any, shape: Any) -> Any:
    """Expand: the sizes of 1 on either side give way."""
    if not known(shape):
        return None
    x, wanted = plain(x), list(shape.values)
    ones = [1] * max(0, x.dim() - len(wanted))
    wanted = ones + wanted
    own = [1] * (len(wanted) - x.dim()) + list(x.shape)
    sizes = [o if isinstance(w, int) and w == 1 else w for o, w in zip(own, wanted, strict=True)]
    return x.expand(sizes)


def constant_of_shape(shape: Any, value: Any, dtype: torch.dtype) -> Any:
    """ConstantOfShape; a small vector of integers is `Sizes`."""
    if not known(shape):
        return None
    small = all(isinstance(v, int) and v <= LARGEST for v in shape.values)
    if small and len(shape.values) <= 1 and not dtype.is_floating_point:
        return Sizes((value,) * sum(shape.values), not shape.values, dtype)
    return torch.full(list(shape.values), value, dtype=widest(dtype))


def range_of(start: Any, limit: Any, delta: Any) -> Tensor | None:
    """Range of integers."""
    if not known(start, limit, delta):
        return None
    first, end, step = (v.values[0] for v in (start, limit, delta))
    return torch.arange(first, end, step, dtype=start.dtype)


def slice_of(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    """Slice forwards."""
    given = [v for v in (starts, ends, axes, steps) if v is not None]
    if not known(*given):
        return None
    count = len(starts.values)
    places = axes.values if axes is not None else tuple(range(count))
    strides = steps.values if steps is not None else (1,) * count
    if any(s <= 0 for s in strides):
        return None
    rows = list(zip(places, starts.values, ends.values, strides, strict=True))
    if isinstance(x, Sizes):
        _, first, end, step = rows[0]
        simple = known(x) and all(isinstance(v, int) for v in (first, end, step))
        return Sizes(x.values[first:end:step], False, x.dtype) if simple else None
    for axis, first, end, step in rows:
        x = torch.ops.aten.slice.Tensor(x, axis, first, end, step)
    return x


def tile(x: Any, repeats: Any) -> Any:
    """Tile."""
    return plain(x).repeat(list(repeats.values)) if known(repeats) else None


RULES: dict[str, Callable[..., Any]] = {
    "Add": elementwise(operator.add),
    "Cast": cast,
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "Div": elementwise(quotient),
    "Equal": elementwise(operator.eq, torch.bool),
    "Expand": expand,
    "Gather": gather,
    "Max": elementwise(torch.sym_max),
    "Min": elementwise(torch.sym_min),
    "Mul": elementwise(operator.mul),
    "Neg": elementwise(operator.neg),
    "Range": range_of,
    "ReduceProd": reduce_prod,
    "Reshape": reshape,
    "Shape": shape_of,
    "Size": size_of,
    "Slice": slice_of,
    "Squeeze": squeeze,
    "Sub": elementwise(operator.sub),
    "Tile": tile,
    "Unsqueeze": unsqueeze,
    "Where": elementwise(lambda condition, a, b: a if condition else b),
}
"""What an operator does with `Sizes`; None leaves it to the importer."""
