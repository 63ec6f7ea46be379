"""Fourier transforms: one kernel call per transformed axis."""

from __future__ import annotations

from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Body, Closure, KernelCall, ScalarOp, View
from mojoaccel.ir.types import BOOL, I64, DType, TensorType
from mojoaccel.ops.complex_memory import part_dtype, part_of
from mojoaccel.ops.creation import make
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype
from mojoaccel.ops.registry import Kernel, OpDef, PointwiseContext

LARGEST_RADIX = 61
SIDE_BY_SIDE = 4096
"""As in ``maccel.fft``."""


def fft_scratch(n: Size, lanes: int, acc: DType) -> Size:
    """Return the scratch bytes per thread of ``maccel.fft.fft`` for lines of `n` points."""
    if not isinstance(n, int):
        return n * 272 + 2 * n * acc.size + n * (4 * lanes * acc.size)
    if largest_factor(n) > LARGEST_RADIX:
        m = 1
        while m < 2 * n - 1:
            m *= 2
        return 8 * (8 * m + 2 * n)
    side = lanes if n <= SIDE_BY_SIDE else 1
    return (2 * n + 4 * n * side) * acc.size


def largest_factor(n: int) -> int:
    """Return the largest prime factor of `n`, at least 1."""
    largest, divisor = 1, 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            largest, n = divisor, n // divisor
        divisor += 1
    return max(largest, n)


def lower_fft(ctx: KernelContext, node: Node) -> None:
    """``aten._fft_c2c``: axes one after the other, all but the first in place."""
    source = ctx.view(node.inputs[0])
    into = ctx.new_buffer(node.output.name, node.output.type)
    axes = [int(d) % max(len(source.shape), 1) for d in node.attr("dim")]
    points = size_prod(source.shape[a] for a in axes)
    calls = []
    for position, axis in enumerate(axes):
        calls.append(
            complex_call(
                ctx,
                source if position == 0 else into,
                into,
                axis,
                forward=bool(node.attr("forward")),
                norm=int(node.attr("normalization")) if position == 0 else 0,
                points=points,
            )
        )
    run_calls(ctx, node, calls, source, into)


def lower_real_fft(ctx: KernelContext, node: Node) -> None:
    """``aten._fft_r2c``: the last of the axes from real values, then the others."""
    name = node.inputs[0]
    t = ctx.type(name)
    acc = accumulate_dtype(t.dtype)
    into = ctx.new_buffer(node.output.name, node.output.type)
    axes = [int(d) % t.rank for d in node.attr("dim")]
    axis = axes[-1]
    coords = line_coords(t.rank, axis)
    points = size_prod(t.shape[a] for a in axes)
    first = line_call(
        ctx,
        n=t.shape[axis],
        lines=size_prod(t.shape[a] for a in coords[0]),
        outputs=into.shape[axis],
        acc=acc,
        flags=(("forward", True), ("hermitian", False), ("real_output", False)),
        norm=int(node.attr("normalization")),
        points=points,
        loads=(
            ctx.load_closure(name, coords, dtype=acc),
            zero_closure(t.shape, coords, acc),
        ),
        stores=tuple(ctx.store_closure(part_of(into, k), coords, acc) for k in (0, 1)),
    )
    rest = [
        complex_call(ctx, into, into, a, forward=True, norm=0, points=points) for a in axes[:-1]
    ]
    run_calls(ctx, node, [first, *rest], None, into)


def lower_inverse_real_fft(ctx: KernelContext, node: Node) -> None:
    """``aten._fft_c2r``: all axes but the last as complex numbers, then the last to real ones."""
    source = ctx.view(node.inputs[0])
    t = node.output.type
    acc = part_dtype(source.dtype)
    axes = [int(d) % t.rank for d in node.attr("dim")]
    axis = axes[-1]
    into = ctx.new_buffer(node.output.name, t)
    points = size_prod([*(source.shape[a] for a in axes[:-1]), t.shape[axis]])
    calls = []
    half = source
    if len(axes) > 1:
        half = ctx.new_buffer(f"{node.output.name}_half", ctx.type(node.inputs[0]))
    for position, a in enumerate(axes[:-1]):
        start = source if position == 0 else half
        calls.append(complex_call(ctx, start, half, a, forward=False, norm=0, points=points))
    coords = line_coords(t.rank, axis)
    store = ctx.store_closure(into, coords, acc)
    calls.append(
        line_call(
            ctx,
            n=t.shape[axis],
            lines=size_prod(t.shape[a] for a in coords[0]),
            outputs=t.shape[axis],
            acc=acc,
            flags=(("forward", False), ("hermitian", True), ("real_output", True)),
            norm=int(node.attr("normalization")),
            points=points,
            loads=tuple(reading(part_of(half, k), coords) for k in (0, 1)),
            stores=(store, store),
        )
    )
    run_calls(ctx, node, calls, source, into)


def run_calls(
    ctx: KernelContext, node: Node, calls: list[KernelCall], source: View | None, into: View
) -> None:
    """Append the calls as groups; without any axis the result is a copy."""
    if not calls:
        assert source is not None
        parts = zip((part_of(source, k) for k in (0, 1)), (0, 1), strict=True)
        for part, k in parts:
            held = ctx.pointwise(
                node, [part], lambda p: p.operand(0), TensorType(part.dtype, part.shape)
            )
            ctx.store(held, part_of(into, k))
    for call in calls:
        ctx.append([call], [node], size_prod(into.shape) * 16)
    ctx.define(node, into)


def complex_call(
    ctx: KernelContext,
    source: View,
    into: View,
    axis: int,
    *,
    forward: bool,
    norm: int,
    points: Size,
) -> KernelCall:
    """Return the call that transforms complex lines along one axis."""
    acc = part_dtype(source.dtype)
    coords = line_coords(len(source.shape), axis)
    return line_call(
        ctx,
        n=source.shape[axis],
        lines=size_prod(source.shape[a] for a in coords[0]),
        outputs=source.shape[axis],
        acc=acc,
        flags=(("forward", forward), ("hermitian", False), ("real_output", False)),
        norm=norm,
        points=points,
        loads=tuple(reading(part_of(source, k), coords) for k in (0, 1)),
        stores=tuple(ctx.store_closure(part_of(into, k), coords, acc) for k in (0, 1)),
    )


def line_call(
    ctx: KernelContext,
    *,
    n: Size,
    lines: Size,
    outputs: Size,
    acc: DType,
    flags: tuple[tuple[str, bool], ...],
    norm: int,
    points: Size,
    loads: tuple[Closure, ...],
    stores: tuple[Closure, ...],
) -> KernelCall:
    """Return a call of ``maccel.fft.fft``."""
    return KernelCall(
        "maccel.fft",
        "fft",
        (("acc", acc), *flags, ("norm", norm)),
        (
            *(Arg("size", s) for s in (lines, n, outputs, points)),
            *(Arg("closure", c) for c in (*loads, *stores)),
        ),
        scratch=fft_scratch(n, ctx.lanes(acc), acc),
        flops=lines * n * 40,
    )


def line_coords(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes that number the lines, and the axis along them."""
    return tuple(a for a in range(rank) if a != axis), (axis,)


def reading(view: View, coords: tuple[tuple[int, ...], ...]) -> Closure:
    """Return a closure that reads a view in memory."""
    body = Body((ScalarOp("v0", "load", (0,), view.dtype),), ("v0",))
    return Closure("load", view.shape, coords, (view,), (), body, 1)


def zero_closure(
    shape: tuple[Size, ...], coords: tuple[tuple[int, ...], ...], acc: DType
) -> Closure:
    """Return a closure that reads zeros."""
    body = Body((ScalarOp("v0", "const", (0.0,), acc),), ("v0",))
    return Closure("load", shape, coords, (), (), body, 1)


def frequencies(p: PointwiseContext) -> str:
    """``aten.fft_fftfreq``, ``fft_rfftfreq``: k / (n d), the upper half negative."""
    n, d = int(p.node.attr("n")), float(p.node.attr("d", 1.0))
    index = p.body.index(0)
    if p.node.op == "fft_fftfreq":
        upper = p.call("ge", index, p.body.const((n + 1) // 2, I64), dtype=BOOL)
        index = p.call(
            "select", upper, p.call("sub", index, p.body.const(n, I64)), index, dtype=I64
        )
    return p.call("mul", p.body.cast(index, p.dtype), p.const(1.0 / (n * d)))


OPS = (
    OpDef("_fft_c2c", ("aten._fft_c2c.default",), Kernel(lower_fft)),
    OpDef("_fft_r2c", ("aten._fft_r2c.default",), Kernel(lower_real_fft)),
    OpDef("_fft_c2r", ("aten._fft_c2r.default",), Kernel(lower_inverse_real_fft)),
    make("fft_fftfreq", frequencies),
    make("fft_rfftfreq", frequencies),
)
