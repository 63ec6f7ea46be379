"""The plan: fused groups over strided buffers, packed weights and one memory arena.

A plan is what `emit` prints as Mojo. Everything in it is decided: which kernel computes what,
in which order, from which addresses. Sizes may still depend on the dynamic dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from mojoaccel.errors import SourceLoc
from mojoaccel.ir.dims import Dim, Size
from mojoaccel.ir.graph import Graph, Value
from mojoaccel.ir.types import DType

Param = Union[bool, int, float, str, DType]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A piece of memory.

    Attributes:
        name: Unique name (a value name).
        dtype: Element type.
        numel: Elements.
        space: ``input`` | ``output`` | ``weight`` | ``state`` | ``arena``.
        index: Position among the inputs, outputs or states; -1 otherwise.
    """

    name: str
    dtype: DType
    numel: Size
    space: str
    index: int = -1


@dataclass(frozen=True, slots=True)
class View:
    """A strided window on a buffer, in elements.

    Attributes:
        buffer: Name of the buffer.
        dtype: Element type of the buffer.
        shape: Logical shape.
        strides: Elements between neighbours along each logical dim (0 broadcasts).
        offset: Elements from the buffer's start.
    """

    buffer: str
    dtype: DType
    shape: tuple[Size, ...]
    strides: tuple[Size, ...]
    offset: Size = 0


@dataclass(frozen=True, slots=True)
class ScalarOp:
    """One step of a fused body.

    Attributes:
        name: Result name, unique in the body.
        function: ``load`` | ``const`` | ``index`` | ``arg`` | ``cast`` | a function of
            ``maccel.math``.
        args: Names of earlier results; for ``load`` the operand number, for ``gather`` the operand
            number and (index result, stride, extent or None) triples, for ``wrap`` and ``check``
            an index and its extent (negative ones count from the end, or are wrong), for
            ``const`` the value, for ``arg`` the kernel value's number.
        dtype: Type of the result while computing (``bool`` for masks).
    """

    name: str
    function: str
    args: tuple[Any, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Body:
    """A straight-line scalar program evaluated at each point of a domain.

    Attributes:
        ops: Steps in order.
        results: Names of the values that are stored (or returned to the kernel).
    """

    ops: tuple[ScalarOp, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closure:
    """A load or store closure handed to a kernel.

    Attributes:
        kind: ``load`` returns the body's result to the kernel; ``store`` receives kernel values
            (``arg`` steps) and writes the body's results; ``touch`` brings to the cache what a
            ``store`` of the same views will read and write.
        domain: Sizes of the logical index space the body runs over.
        coords: For each coordinate the kernel passes, the run of domain axes it flattens.
        operands: Views read, their shape being the domain.
        outputs: Views written, their shape being the domain (store only).
        body: What is computed.
        vector_coord: Position of the coordinate along which `w` elements are consecutive.
    """

    kind: str
    domain: tuple[Size, ...]
    coords: tuple[tuple[int, ...], ...]
    operands: tuple[View, ...]
    outputs: tuple[View, ...]
    body: Body
    vector_coord: int = -1


@dataclass(frozen=True, slots=True)
class Arg:
    """One run-time argument of a kernel call.

    Attributes:
        kind: ``ptr`` (first element of a view that is read) | ``out`` (of one that is written) |
            ``size`` | ``float`` | ``closure`` | ``status`` (address of the status word) |
            ``struct`` (a Mojo struct made of other arguments).
        value: View, Size, float, Closure or (module, name, arguments) accordingly.
    """

    kind: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A call of one kernel-library function.

    Attributes:
        module: Mojo module, e.g. ``maccel.linear``.
        function: Function name.
        params: Compile-time parameters in order, (name, value); names are printed as keywords; a
            Mojo type is written ``module:Name``.
        args: Run-time arguments after ``team``, in order.
        scratch: Bytes of scratch each thread needs.
        flops: Floating-point operations, for reports.
        question: What its tile parameters depend on (`ops.tiles`), if they can be chosen.
    """

    module: str
    function: str
    params: tuple[tuple[str, Param], ...]
    args: tuple[Arg, ...]
    scratch: Size = 0
    flops: Size = 0
    question: str = ""


@dataclass(frozen=True, slots=True)
class FusionGroup:
    """What runs between one fork and its join.

    Attributes:
        name: Readable, from the operators in it; unique.
        calls: Kernel calls of the group; with several, a barrier stands between them.
        reads: Buffers read.
        writes: Buffers written.
        locs: PyTorch lines it came from.
        ops: Names of the operators fused, in order.
        work: Rough number of elementary operations, to choose the number of threads.
    """

    name: str
    calls: tuple[KernelCall, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    locs: tuple[SourceLoc, ...] = ()
    ops: tuple[str, ...] = ()
    work: Size = 0


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """How a weight is laid out in weights.bin.

    Attributes:
        buffer: Name of the weight buffer.
        source: Name of the weight (a graph weight or an output of the weight graph).
        layout: ``plain`` or the name of a packing function in `artifact.packing`.
        params: Arguments of the packing function.
        dtype: Stored element type.
        shape: Shape after packing.
    """

    buffer: str
    source: str
    layout: str
    params: tuple[tuple[str, Param], ...]
    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """One arena for all temporaries.

    Attributes:
        offsets: Byte offset of each arena buffer (64-byte aligned).
        size: Bytes of the arena.
        scratch: Bytes of scratch per thread (maximum over the groups).
    """

    offsets: tuple[tuple[str, Size], ...]
    size: Size
    scratch: Size


@dataclass(frozen=True, slots=True)
class Plan:
    """The decided schedule of a model.

    Attributes:
        name: The model's name.
        dims: Dynamic dims.
        inputs: User inputs.
        outputs: Output values in order.
        buffers: Every buffer by name.
        weights: Packed weights in the order they lie in weights.bin.
        groups: Fused groups in execution order.
        states: (state buffer, value that becomes its next content); the copies are groups.
        memory: The arena.
        passes: (pass name, times it changed something) in the order they ran.
        optimization: Level 0..3.
        weight_graph: What computes folded weights from the original ones, when packaging.
        sources: Names and texts of the user's own Mojo files that kernel calls import.
    """

    name: str
    dims: tuple[Dim, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    buffers: Mapping[str, Buffer]
    weights: tuple[PackedWeight, ...]
    groups: tuple[FusionGroup, ...]
    memory: MemoryPlan
    states: tuple[tuple[str, str], ...] = ()
    passes: tuple[tuple[str, int], ...] = ()
    optimization: int = 2
    weight_graph: Graph | None = None
    sources: tuple[tuple[str, str], ...] = ()
