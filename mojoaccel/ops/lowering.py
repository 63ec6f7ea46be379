"""Scheduling of one graph: turns nodes into fused groups over buffers.

`KernelContext` is what a `Kernel` record's `lower` sees. It holds every value as a `View` or a
`Lazy` (see `lazy`), materialises values when memory is needed, and appends fused groups in
execution order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mojoaccel.errors import SourceLoc, error
from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Graph, Node, Value
from mojoaccel.ir.plan import (
    Arg,
    Body,
    Buffer,
    Closure,
    FusionGroup,
    KernelCall,
    PackedWeight,
    Param,
    View,
)
from mojoaccel.ir.types import DType, TensorType
from mojoaccel.ops.complex_memory import part_of
from mojoaccel.ops.grouping import group_name, touched
from mojoaccel.ops.lazy import (
    Held,
    Lazy,
    PendingKernel,
    Program,
    as_lazy,
    contiguous_strides,
    is_contiguous,
    map_leaves,
    ordered_strides,
    used_leaves,
)
from mojoaccel.ops.pointwise_nest import pointwise_call, storage_order
from mojoaccel.ops.registry import PointwiseContext, compute_dtype
from mojoaccel.ops.tiles import TileTable

COSTLY = frozenset(
    """
    exp log tanh erf sigmoid gelu gelu_tanh silu softplus mish elu sin cos tan pow div
    erfc log1p expm1 sqrt rsqrt atan2 gather
    """.split()  # noqa: SIM905
)
"""Functions too slow to be computed again for every pass of a multi-pass kernel."""


@dataclass
class KernelContext:
    """The state of scheduling one graph.

    Attributes:
        graph: Graph being scheduled.
        simd_bytes: Register width of the target.
        fuse: Whether values may stay lazy (levels 2 and 3).
        dot_pairs: Whether the target multiplies pairs of bfloat16 (``maccel.pairs``).
        amx: Whether it has tile registers for that (``maccel.amx``).
        tiles: Answers to the kernels' questions about their tile parameters.
        buffers: Every buffer so far.
        groups: Fused groups in execution order.
        weights: Packed weights in order of first use.
        held: Where each value is.
        sources: Mojo files of the user's own that calls need, by name.
    """

    graph: Graph
    simd_bytes: int
    fuse: bool
    tiles: TileTable = field(default_factory=TileTable)
    dot_pairs: bool = False
    amx: bool = False
    buffers: dict[str, Buffer] = field(default_factory=dict)
    groups: list[FusionGroup] = field(default_factory=list)
    weights: dict[str, PackedWeight] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    output_names: dict[str, int] = field(default_factory=dict)
    weight_names: set[str] = field(default_factory=set)
    state_values: set[str] = field(default_factory=set)
    weight_sources: Mapping[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    _used_names: dict[str, int] = field(default_factory=dict)

    # -- reading values ---------------------------------------------------------------------

    def type(self, name: str | None) -> TensorType:
        """Return the type of a value."""
        assert name is not None
        return self.types[name]

    def lanes(self, dtype: DType) -> int:
        """Return how many elements of `dtype` a vector register holds."""
        return max(1, self.simd_bytes // dtype.size)

    def is_weight(self, name: str | None) -> bool:
        """Whether a value is a (folded) weight, known when the model is compiled."""
        return name in self.weight_names

    def get(self, name: str) -> Held:
        """Return a value as it is held."""
        held = self.held.get(name)
        if held is None:
            held = self.held[name] = self.weight(name)
        return held

    def view(
        self,
        name: str | None,
        *,
        accept: Callable[[View], bool] | None = None,
        order: Sequence[int] | None = None,
    ) -> View:
        """Return a value in memory, copied to axis `order` when `accept` rejects its strides."""
        assert name is not None
        view = self.realize(name, order)
        if accept is not None and not accept(view):
            view = self.copy(view, order)
        return view

    def contiguous(self, name: str | None) -> View:
        """Return a value in memory in row-major order."""
        return self.view(name, accept=is_contiguous)

    def weight(
        self,
        name: str,
        layout: str = "plain",
        params: Mapping[str, Param] | None = None,
        shape: Sequence[int] | None = None,
        sources: Sequence[str] = (),
    ) -> View:
        """Return a weight in memory, packed as `layout` (a function of the artifact's packing)."""
        t = self.types[name]
        args = tuple(sorted((params or {}).items()))
        label = "_".join(
            [name, *(() if layout == "plain" else (layout, *(str(v) for _, v in args)))]
        )
        packed_shape = tuple(int(str(s)) for s in (t.shape if shape is None else shape))
        if label not in self.weights:
            self.weights[label] = PackedWeight(label, name, layout, args, t.dtype, packed_shape)
            self.buffers[label] = Buffer(label, t.dtype, size_prod(packed_shape), "weight")
        return View(label, t.dtype, packed_shape, contiguous_strides(packed_shape))

    # -- making values ----------------------------------------------------------------------

    def new_buffer(self, name: str, t: TensorType, order: Sequence[int] | None = None) -> View:
        """Reserve memory for value `name`: its output buffer if it is one, else the arena."""
        index = self.output_names.get(name, -1)
        label = name
        while label in self.buffers:
            label += "_c"
        space = "output" if index >= 0 and label == name else "arena"
        self.buffers[label] = Buffer(label, t.dtype, t.numel, space, index)
        if space == "output" or order is None:
            order = range(t.rank)
        return View(label, t.dtype, t.shape, ordered_strides(t.shape, list(order)))

    def pointwise(
        self,
        node: Node,
        parts: Sequence[Held | None],
        build: Callable[[PointwiseContext], str],
        t: TensorType,
    ) -> Lazy:
        """Combine `parts` (broadcast to `t.shape`) into one lazy value."""
        parts = self._one_kernel(parts, t.shape)
        program = Program.empty()
        names = [None if p is None else program.include(p, t.shape) for p in parts]
        result = build(PointwiseContext(node, program.body, names, t))
        lazies = [p for p in parts if isinstance(p, Lazy)]
        kernel = next((p.kernel for p in lazies if p.kernel), None)
        nodes = tuple(dict.fromkeys([*(n for p in lazies for n in p.nodes), node]))
        lazy = program.finish(result, t.shape, t.dtype, kernel, nodes)
        return used_leaves(lazy)

    def pending(
        self,
        node: Node,
        build: Callable[[Closure], KernelCall],
        *,
        coords: Sequence[Sequence[int]],
        dtype: DType,
        work: Size,
        order: Sequence[int] | None = None,
        vector_coord: int = -1,
        shape: Sequence[Size] | None = None,
    ) -> Lazy:
        """Return the result of a kernel whose store closure is still open."""
        t = node.output.type
        domain = tuple(t.shape if shape is None else shape)
        kernel = PendingKernel(
            build,
            domain,
            tuple(tuple(c) for c in coords),
            vector_coord,
            dtype,
            tuple(range(len(domain)) if order is None else order),
            node,
            work,
        )
        program = Program.empty()
        value = program.body.cast(program.body.arg(0, dtype), compute_dtype(t.dtype))
        return program.finish(value, domain, t.dtype, kernel, (node,))

    def add_epilogue(
        self,
        lazy: Lazy,
        node: Node,
        others: Sequence[Held | None],
        build: Callable[[PointwiseContext], str],
    ) -> Lazy:
        """Continue a pending kernel with a scalar program (bias, scale, activation)."""
        return self.pointwise(node, [lazy, *others], build, TensorType(lazy.dtype, lazy.shape))

    def define(self, node: Node, *results: Held) -> None:
        """Set the values of a node's outputs; results many nodes read are put in memory."""
        for value, held in zip(node.outputs, results, strict=True):
            self.held[value.name] = held
            self.settle(value.name)

    def settle(self, name: str) -> None:
        """Store value `name` now if several nodes read it (or nothing may be fused)."""
        if not self._users:
            self._users = self.graph.users()
        held = self.held[name]
        count = len(self._users.get(name, ())) + (name in self.output_names)
        count += name in self.state_values
        free = isinstance(held, Lazy) and held.recomputable
        if isinstance(held, Lazy) and (not self.fuse or (count > 1 and not free)):
            self.realize(name)

    _users: dict[str, list[Node]] = field(default_factory=dict)

    def _one_kernel(self, parts: Sequence[Held | None], shape: Sequence[Size]) -> list[Held | None]:
        """Store all pending kernels among `parts` but the last one that spans `shape`."""
        kernels: list[PendingKernel] = []
        for part in parts:
            if isinstance(part, Lazy) and part.kernel and part.kernel not in kernels:
                kernels.append(part.kernel)
        keep = next((k for k in reversed(kernels) if k.domain == tuple(shape)), None)
        done: list[Held | None] = []
        for part in parts:
            late = isinstance(part, Lazy) and part.kernel is not None
            if late and (part.kernel != keep or part.shape != tuple(shape)):  # type: ignore[union-attr]
                assert isinstance(part, Lazy)
                done.append(self.realize_held(part))
            else:
                done.append(part)
        return done

    # -- putting values in memory -----------------------------------------------------------

    def realize(self, name: str, order: Sequence[int] | None = None) -> View:
        """Put value `name` in memory and return where it is."""
        held = self.get(name)
        if isinstance(held, Lazy):
            t = TensorType(held.dtype, held.shape)
            into = self.new_buffer(name, t, order or self._order(held))
            self.store(held, into)
            held = self.held[name] = into
        return held

    def realize_held(self, held: Held, order: Sequence[int] | None = None) -> View:
        """Put an unnamed value in memory."""
        if isinstance(held, View):
            return held
        for name, other in self.held.items():
            if other is held:
                return self.realize(name, order)
        base = held.nodes[-1].output.name if held.nodes else "value"
        t = TensorType(held.dtype, held.shape)
        label = f"{base}_t"
        while label in self.buffers:
            label += "t"
        into = self.new_buffer(label, t, order or self._order(held))
        self.store(held, into)
        return into

    def copy(self, view: View, order: Sequence[int] | None = None, name: str = "") -> View:
        """Copy a window to dense memory with axes in `order` (row-major by default)."""
        t = TensorType(view.dtype, view.shape)
        into = self.new_buffer(name or f"{view.buffer}_copy", t, order)
        self.move(view, into)
        return into

    def move(self, view: View, into: View) -> None:
        """Append the groups that copy a window to another of its shape."""
        parts = [(view, into)]
        if view.dtype.kind == "c":
            parts = [(part_of(view, k), part_of(into, k)) for k in (0, 1)]
        for source, target in parts:
            self.store(as_lazy(source), target)

    def _order(self, lazy: Lazy) -> Sequence[int]:
        if lazy.kernel is not None:
            return lazy.kernel.order
        return storage_order(lazy)

    def store(self, lazy: Lazy, into: View) -> None:
        """Append the group that computes `lazy` and writes it to `into`."""
        lazy = used_leaves(lazy)
        body = Body(lazy.ops, (lazy.result,))
        if lazy.kernel is None:
            call = pointwise_call(lazy, into, body, self.simd_bytes)
            self.append([call], lazy.nodes, size_prod(into.shape) * max(1, len(lazy.ops)) // 4)
            return
        kernel = lazy.kernel
        closure = Closure(
            "store", kernel.domain, kernel.coords, lazy.leaves, (into,), body, kernel.vector_coord
        )
        self.append([kernel.build(closure)], lazy.nodes, kernel.work)

    def load_closure(
        self,
        name: str | None,
        coords: Sequence[Sequence[int]],
        *,
        dtype: DType | None = None,
        passes: int = 1,
        shape: Sequence[Size] | None = None,
        vector_coord: int = -1,
        scale: Callable[[PointwiseContext], str] | None = None,
    ) -> Closure:
        """Return a closure through which a kernel reads value `name`, computing it on the fly.

        Args:
            name: The value.
            coords: Domain axes that each coordinate flattens.
            dtype: Type handed to the kernel; the value's computing type by default.
            passes: How often the kernel reads each element; costly values are stored first.
            shape: Broadcast shape of the domain.
            vector_coord: Coordinate along which elements are read together.
            scale: Further scalar steps on the value (operand 0).
        """
        assert name is not None
        held = self.get(name)
        domain = tuple(held.shape if shape is None else shape)
        if isinstance(held, Lazy):
            costly = sum(op.function in COSTLY for op in held.ops)
            if held.kernel is not None or (passes > 1 and costly):
                held = self.realize(name)
        program = Program.empty()
        value = program.include(held, domain)
        node = Node("load", (), (), (Value(name, self.types[name]),))
        want = dtype or compute_dtype(self.types[name].dtype)
        if scale is not None:
            value = scale(PointwiseContext(node, program.body, [value], TensorType(want, domain)))
        value = program.body.cast(value, want)
        lazy = used_leaves(program.finish(value, domain, want, None, ()))
        return Closure(
            "load",
            domain,
            tuple(tuple(c) for c in coords),
            lazy.leaves,
            (),
            Body(lazy.ops, (lazy.result,)),
            vector_coord,
        )

    def store_closure(
        self, into: View, coords: Sequence[Sequence[int]], dtype: DType, vector_coord: int = -1
    ) -> Closure:
        """Return a closure that writes a kernel's value to `into` unchanged."""
        program = Program.empty()
        value = program.body.cast(program.body.arg(0, dtype), compute_dtype(into.dtype))
        body = Body(tuple(program.body.ops), (value,))
        axes = tuple(tuple(c) for c in coords)
        return Closure("store", into.shape, axes, (), (into,), body, vector_coord)

    def append(self, calls: Sequence[KernelCall], nodes: Sequence[Node], work: Size) -> None:
        """Append a fused group."""
        reads, writes = touched(calls)
        ops = tuple(n.op for n in nodes) or ("copy",)
        locs: list[SourceLoc] = []
        for node in nodes:
            if node.loc is not None and node.loc not in locs:
                locs.append(node.loc)
        name = group_name(ops)
        count = self._used_names[name] = self._used_names.get(name, 0) + 1
        self.groups.append(
            FusionGroup(f"{name}_{count}", tuple(calls), reads, writes, tuple(locs), ops, work)
        )

    def reject(self, node: Node, why: str, hint: str = "") -> Exception:
        """Build the error for a form of an operator that has no lowering."""
        return error("MA302", f"{node.op}: {why}", loc=node.loc, hint=hint)

    def apply_view(self, node: Node, change: Callable[[View], View | None]) -> Held:
        """Apply a view operator to input 0 of `node`."""
        name = node.inputs[0]
        assert name is not None
        held = self.get(name)
        if isinstance(held, Lazy):
            mapped = map_leaves(held, change)
            if mapped is not None:
                return replace(mapped, nodes=(*mapped.nodes, node))
            held = self.realize(name)
        view = change(held)
        if view is None:
            view = change(self.copy(held))
        assert view is not None, f"{node.op} of a contiguous tensor must be a view"
        return view


__all__ = ["Arg", "KernelContext"]
