"""Values that are not in memory yet: fused scalar programs over strided operands.

While a graph is scheduled every value is either a `View` (it lies in a buffer) or a `Lazy`: a
scalar program over views, possibly waiting for a kernel whose epilogue it will become. A `Lazy`
costs nothing until something needs it in memory; consumers inline it, so chains of pointwise
operators, prologues and epilogues fuse without pattern matching.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Union

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Body, Closure, KernelCall, ScalarOp, View
from mojoaccel.ir.types import I64, DType
from mojoaccel.ops.registry import BodyBuilder, compute_dtype

IOTA = "@iota"
"""Buffer name of a leaf that is not read but computed: offset + sum(index * stride)."""


@dataclass(frozen=True)
class PendingKernel:
    """A kernel whose result has not been stored.

    Attributes:
        build: Makes the call once the store closure is known.
        domain: Logical shape of the result; the store closure runs over it.
        coords: Domain axes that each coordinate of the store closure flattens.
        vector_coord: Coordinate along which stored elements are consecutive.
        dtype: Type of the value the kernel hands over.
        order: Physical order of the axes for a result buffer (outermost first).
        node: Where it comes from.
        work: Elementary operations, to choose the number of threads.
    """

    build: Callable[[Closure], KernelCall]
    domain: tuple[Size, ...]
    coords: tuple[tuple[int, ...], ...]
    vector_coord: int
    dtype: DType
    order: tuple[int, ...]
    node: Node
    work: Size


@dataclass(frozen=True)
class Lazy:
    """A scalar program over `shape`, not computed yet.

    Attributes:
        shape: Logical shape.
        dtype: Element type if it were stored.
        ops: Steps.
        result: Name of the step that is the value, in ``compute_dtype(dtype)``.
        leaves: Views the ``load`` and ``gather`` steps read, each of shape `shape`.
        kernel: The kernel that the ``arg`` step belongs to, if any.
        nodes: Operators in it, for names and source lines.
    """

    shape: tuple[Size, ...]
    dtype: DType
    ops: tuple[ScalarOp, ...]
    result: str
    leaves: tuple[View, ...]
    kernel: PendingKernel | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def reads_memory(self) -> bool:
        """Whether any leaf lies in a buffer."""
        return any(v.buffer != IOTA for v in self.leaves)

    @property
    def recomputable(self) -> bool:
        """Whether every reader may compute the value for itself: from positions alone, exactly.

        A product of floats is none: where a sum follows, the compiler contracts the two, so that
        readers would disagree in the last bit, and about its integer part altogether.
        """
        exact = not any(op.function == "mul" and op.dtype.is_float for op in self.ops)
        return exact and self.kernel is None and not self.reads_memory


Held = Union[View, Lazy]


def contiguous_strides(shape: Sequence[Size]) -> tuple[Size, ...]:
    """Return row-major strides in elements."""
    return tuple(size_prod(shape[i + 1 :]) for i in range(len(shape)))


def ordered_strides(shape: Sequence[Size], order: Sequence[int]) -> tuple[Size, ...]:
    """Return the strides of a dense buffer whose axes lie in memory in `order`."""
    strides: list[Size] = [0] * len(shape)
    step: Size = 1
    for axis in reversed(order):
        strides[axis] = step
        step = step * shape[axis]
    return tuple(strides)


def broadcast_view(view: View, shape: Sequence[Size]) -> View:
    """Expand `view` to `shape` by PyTorch's rules (stride 0 along stretched dims)."""
    pad = len(shape) - len(view.shape)
    strides: list[Size] = [0] * pad
    for size, stride, want in zip(view.shape, view.strides, shape[pad:], strict=True):
        strides.append(0 if size == 1 and want != 1 else stride)
    return replace(view, shape=tuple(shape), strides=tuple(strides))


def is_contiguous(view: View) -> bool:
    """Whether the elements lie in row-major order without gaps."""
    want = contiguous_strides(view.shape)
    return all(n == 1 or a == b for n, a, b in zip(view.shape, view.strides, want, strict=True))


@dataclass
class Program:
    """A body under construction together with its leaves."""

    body: BodyBuilder
    leaves: list[View]

    @staticmethod
    def empty() -> Program:
        """Return a program without steps."""
        return Program(BodyBuilder(), [])

    def leaf(self, view: View) -> int:
        """Return the number of `view` among the leaves, adding it if it is new."""
        if view not in self.leaves:
            self.leaves.append(view)
        return self.leaves.index(view)

    def include(self, held: Held, shape: Sequence[Size]) -> str:
        """Inline `held`, broadcast to `shape`; return the name of its value."""
        if isinstance(held, View):
            return self.body.load(self.leaf(broadcast_view(held, shape)), held.dtype)
        names: dict[str, str] = {}
        for op in held.ops:
            args = tuple(self._rename(op, i, a, names, held, shape) for i, a in enumerate(op.args))
            names[op.name] = self.body._push(op.function, args, op.dtype)
        return names[held.result]

    def _rename(
        self,
        op: ScalarOp,
        position: int,
        arg: object,
        names: dict[str, str],
        held: Lazy,
        shape: Sequence[Size],
    ) -> object:
        if op.function in ("load", "gather") and position == 0:
            assert isinstance(arg, int)
            return self.leaf(broadcast_view(held.leaves[arg], shape))
        if op.function == "gather":
            assert isinstance(arg, tuple)
            return (names[arg[0]], *arg[1:])
        if op.function in ("const", "arg"):
            return arg
        return names[arg] if isinstance(arg, str) else arg

    def finish(
        self,
        result: str,
        shape: tuple[Size, ...],
        dtype: DType,
        kernel: PendingKernel | None,
        nodes: tuple[Node, ...],
    ) -> Lazy:
        """Return the program as a lazy value; ``index`` steps become iota leaves."""
        ops = []
        for op in self.body.ops:
            if op.function == "index":
                axis = op.args[0]
                strides = tuple(int(i == axis) for i in range(len(shape)))
                leaf = self.leaf(View(IOTA, I64, shape, strides))
                ops.append(ScalarOp(op.name, "load", (leaf,), I64))
            else:
                ops.append(op)
        return Lazy(
            shape,
            dtype,
            tuple(ops),
            self.body.cast(result, compute_dtype(dtype)) if not ops else result,
            tuple(self.leaves),
            kernel,
            nodes,
        )


def as_lazy(view: View, nodes: tuple[Node, ...] = ()) -> Lazy:
    """Return the program that just loads `view`."""
    program = Program.empty()
    result = program.include(view, view.shape)
    return program.finish(result, view.shape, view.dtype, None, nodes)


def load_of(
    held: Held,
    domain: tuple[Size, ...],
    coords: Sequence[Sequence[int]],
    dtype: DType,
    vector_coord: int,
) -> Closure:
    """Return the closure through which a kernel reads `held`, broadcast to `domain`.

    Args:
        held: A value without a pending kernel.
        domain: Logical index space.
        coords: Domain axes that each coordinate of the kernel flattens.
        dtype: Type handed to the kernel.
        vector_coord: Coordinate along which elements are read together.
    """
    program = Program.empty()
    value = program.body.cast(program.include(held, domain), dtype)
    lazy = used_leaves(program.finish(value, domain, dtype, None, ()))
    body = Body(lazy.ops, (lazy.result,))
    axes = tuple(tuple(c) for c in coords)
    return Closure("load", domain, axes, lazy.leaves, (), body, vector_coord)


def map_leaves(lazy: Lazy, change: Callable[[View], View | None]) -> Lazy | None:
    """Apply a view change to every leaf; None if any leaf cannot express it."""
    leaves = [change(leaf) for leaf in lazy.leaves]
    if lazy.kernel is not None or not leaves or any(v is None for v in leaves):
        return None
    done = tuple(v for v in leaves if v is not None)
    return replace(lazy, shape=done[0].shape, leaves=done)


def used_leaves(lazy: Lazy) -> Lazy:
    """Drop steps and leaves that the result does not depend on."""
    needed, kept = {lazy.result}, []
    for op in reversed(lazy.ops):
        if op.name in needed:
            kept.append(op)
            needed.update(_names(op))
    order: list[int] = []
    ops = []
    for op in reversed(kept):
        args = op.args
        if op.function in ("load", "gather"):
            if args[0] not in order:
                order.append(args[0])
            args = (order.index(args[0]), *args[1:])
        ops.append(replace(op, args=args))
    return replace(lazy, ops=tuple(ops), leaves=tuple(lazy.leaves[i] for i in order))


def _names(op: ScalarOp) -> list[str]:
    if op.function in ("const", "arg", "load"):
        return []
    if op.function == "gather":
        return [a[0] for a in op.args[1:]]
    return [a for a in op.args if isinstance(a, str)]
