"""The operator record and the registry: one operator, one `OpDef`, in one place.

A record says which ATen overloads it stands for, how it is lowered, what inputs test it and how
exact it is. Import, verification, emission, tests and the support table follow from it. Records
are plain module-level tuples (`OPS`) that `load_registry` gathers; nothing registers itself by
being imported.

Operands: a node's inputs follow the tensor arguments of the record's first overload, in schema
order. An argument that another overload passes as a number is None among the inputs and an
attribute under its schema name (``aten.add.Scalar(x, 2)`` is ``add(x, None) {other: 2}``). A
tensor list (``cat``, ``index``) takes the rest of the inputs. All other arguments are attributes
under their schema names, defaults filled in.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Union

from mojoaccel.ir.graph import GraphBuilder, Node
from mojoaccel.ir.plan import ScalarOp, View
from mojoaccel.ir.types import BF16, BOOL, F16, F32, DType, TensorType

if TYPE_CHECKING:
    from mojoaccel.ops.lowering import KernelContext

Scalar = str
"""Name of a `ScalarOp` result."""


@dataclass
class BodyBuilder:
    """Builds the scalar program of a pointwise operator (or of a chain of them).

    Attributes:
        ops: Steps so far.
        dtypes: Computing type of each result.
    """

    ops: list[ScalarOp] = field(default_factory=list)
    dtypes: dict[Scalar, DType] = field(default_factory=dict)

    def _push(self, function: str, args: tuple[Any, ...], dtype: DType) -> Scalar:
        for op in self.ops:  # equal steps are computed once
            if op.function == function and op.args == args and op.dtype == dtype:
                return op.name
        name = f"v{len(self.ops)}"
        self.ops.append(ScalarOp(name, function, args, dtype))
        self.dtypes[name] = dtype
        return name

    def load(self, operand: int, dtype: DType) -> Scalar:
        """Read operand number `operand` (stored as `dtype`), in its computing type."""
        return self.cast(self._push("load", (operand,), dtype), compute_dtype(dtype))

    def arg(self, number: int, dtype: DType) -> Scalar:
        """Use value `number` that the kernel passes in."""
        return self._push("arg", (number,), dtype)

    def index(self, axis: int) -> Scalar:
        """Use the position along domain axis `axis` as int64."""
        from mojoaccel.ir.types import I64

        return self._push("index", (axis,), I64)

    def const(self, value: Any, dtype: DType) -> Scalar:
        """Use a constant of type `dtype` (a number, or a size over the dims)."""
        return self._push("const", (value,), dtype)

    def guard(self, kind: str, index: Scalar, extent: Any) -> Scalar:
        """Check int64 positions against `extent`; ``wrap`` counts negative ones from the end."""
        assert kind in ("wrap", "check")
        return self._push(kind, (index, extent), self.dtypes[index])

    def cast(self, value: Scalar, dtype: DType) -> Scalar:
        """Convert as PyTorch's `to` does (truncation to integers, != 0 to bool)."""
        return value if self.dtypes[value] == dtype else self._push("cast", (value,), dtype)

    def call(self, function: str, *args: Scalar, dtype: DType | None = None) -> Scalar:
        """Call `maccel.math.<function>`; the result has `dtype`, by default the first operand's."""
        return self._push(function, args, dtype or self.dtypes[args[0]])


def compute_dtype(dtype: DType) -> DType:
    """Type in which values stored as `dtype` are computed: halves in f32, others as they are."""
    return F32 if dtype in (BF16, F16) else dtype


@dataclass
class PointwiseContext:
    """What a pointwise record sees of its node.

    Attributes:
        node: The node.
        body: The program being built.
        operands: Result name of each tensor operand, in its own computing type; None if absent.
        result: Type of the node's output.
    """

    node: Node
    body: BodyBuilder
    operands: Sequence[Scalar | None]
    result: TensorType

    @property
    def dtype(self) -> DType:
        """Computing type of the result."""
        return compute_dtype(self.result.dtype)

    def operand(self, position: int, attr: str | None = None, dtype: DType | None = None) -> Scalar:
        """Return tensor operand `position`, or attribute `attr` as a constant, cast to `dtype`.

        `dtype` defaults to the result's computing type.
        """
        want = dtype or self.dtype
        name = self.operands[position] if position < len(self.operands) else None
        if name is not None:
            return self.body.cast(name, want)
        assert attr is not None, f"{self.node.op} misses operand {position}"
        return self.body.const(self.node.attr(attr), want)

    def const(self, value: Any, dtype: DType | None = None) -> Scalar:
        """Return a constant in the result's computing type."""
        return self.body.const(value, dtype or self.dtype)

    def call(self, function: str, *args: Scalar, dtype: DType | None = None) -> Scalar:
        """Call a function of ``maccel.math``."""
        return self.body.call(function, *args, dtype=dtype)


@dataclass(frozen=True, slots=True)
class Pointwise:
    """One output element depends on one element of each operand (after broadcasting).

    `build` returns the name of the result, in the result's computing type. With `reads` False the
    operands give only shape and type (``full_like``).
    """

    build: Callable[[PointwiseContext], Scalar]
    reads: bool = True


@dataclass(frozen=True, slots=True)
class ViewOp:
    """The result is another window on the operand's memory.

    `view` returns the new window, or None when strides cannot express it (the operand is then
    copied to contiguous memory first and `view` is asked again).
    """

    view: Callable[[Node, View], View | None]


@dataclass(frozen=True, slots=True)
class Decompose:
    """Rewritten as other operators; `rewrite` returns the names of the results."""

    rewrite: Callable[[GraphBuilder, Node], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Computed by hand-written kernels; `lower` schedules the calls."""

    lower: Callable[[KernelContext, Node], None]


@dataclass(frozen=True, slots=True)
class Foreign:
    """Known and refused: compiling it is error MA203.

    Attributes:
        why: What stands in the way.
        hint: What the user can do instead.
    """

    why: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Of complex numbers alone: `passes.split_complex` replaces it (see `ops.complex_rules`)."""


Lowering = Union[Pointwise, ViewOp, Decompose, Kernel, Foreign, Split]


@dataclass(frozen=True, slots=True)
class Sample:
    """One test call of an operator.

    Attributes:
        shapes: Shape and dtype of each tensor operand (None where absent).
        attrs: Other arguments by schema name.
        note: What is special about it.
        low: Smallest value of random integer operands.
        high: One more than the largest.
        make: Optional function of a torch.Generator that returns the operands itself.
    """

    shapes: tuple[TensorType | None, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    low: int = -5
    high: int = 6
    make: Callable[[Any], Sequence[Any]] | None = None


@dataclass(frozen=True, slots=True)
class OpDef:
    """Everything mojoaccel knows about one operator.

    Attributes:
        name: Name in the graph.
        aten: ATen overloads it stands for, e.g. ``aten.add.Tensor``; the first one defines the
            operand order and is its reference meaning.
        lowering: How it becomes code.
        samples: Test calls (made when asked, so that importing stays cheap).
        tolerance: Allowed error against float64 as a multiple of PyTorch's own.
        reason: Why the tolerance is above the default.
    """

    name: str
    aten: tuple[str, ...]
    lowering: Lowering
    samples: Callable[[], Sequence[Sample]] = tuple
    tolerance: float = 4.0
    reason: str = ""


ROOMS = (
    "elementwise",
    "special",
    "bits",
    "creation",
    "shape",
    "reduction",
    "statistics",
    "matmul",
    "products",
    "convolution",
    "pooling",
    "resampling",
    "normalization",
    "attention",
    "indexing",
    "scattering",
    "lookup",
    "window_scatter",
    "placement",
    "sorting",
    "recurrent",
    "complex",
    "fft",
    "linalg",
    "factoring",
    "random",
    "data_dependent",
)


_CUSTOM: dict[str, OpDef] = {}


def register(op: OpDef) -> None:
    """Add an operator of the user's own, or replace it."""
    _CUSTOM[op.name] = op
    load_registry.cache_clear()
    by_aten.cache_clear()


@cache
def load_registry() -> Mapping[str, OpDef]:
    """Gather the `OPS` of every room, by operator name, in a fixed order, and the user's own."""
    found: dict[str, OpDef] = {}
    for room in ROOMS:
        for op in importlib.import_module(f"mojoaccel.ops.{room}").OPS:
            assert op.name not in found, f"two records for {op.name}"
            found[op.name] = op
    return {**found, **_CUSTOM}


@cache
def by_aten() -> Mapping[str, OpDef]:
    """Map every ATen overload to its record."""
    return {overload: op for op in load_registry().values() for overload in op.aten}


def is_bool(dtype: DType) -> bool:
    """Whether `dtype` is torch.bool."""
    return dtype == BOOL
