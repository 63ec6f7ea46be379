"""Scaled dot-product attention, kept whole: scores never reach memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mojoaccel.ir.dims import Size, exact_div, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, View
from mojoaccel.ir.types import BOOL, DType
from mojoaccel.ops.lazy import Held, broadcast_view
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype
from mojoaccel.ops.registry import Kernel, OpDef, PointwiseContext


def unit_last(view: View) -> bool:
    """Whether the last axis is dense."""
    return view.strides[-1] == 1 or view.shape[-1] == 1


def lower_attention(ctx: KernelContext, node: Node) -> None:
    """``aten.scaled_dot_product_attention``: softmax(scale * q @ k.T + mask) @ v.

    Leading dims of the operands broadcast against each other; with `enable_gqa` several heads of
    the queries share one of the keys.
    """
    q, k, v, *rest = node.inputs
    mask = rest[0] if rest else None
    t = node.output.type
    if float(node.attr("dropout_p") or 0) != 0:
        raise ctx.reject(node, "dropout inside attention", "call the model with eval()")
    lead = t.shape[:-3]
    head_count = t.shape[-3] if t.rank >= 3 else 1
    views = [ctx.view(name, accept=unit_last) for name in (q, k, v)]
    shared = bool(node.attr("enable_gqa", False)) or views[1].shape[-3:-2] == (1,)
    key_heads = heads_of(views[1])
    if heads_of(views[2]) != key_heads or not shared:
        if node.attr("enable_gqa", False) and heads_of(views[2]) != key_heads:
            raise ctx.reject(node, "keys and values of different numbers of heads")
        key_heads = head_count
    vq, vk, vv = (
        four(ctx, view, lead, heads)
        for view, heads in zip(views, (head_count, key_heads, key_heads), strict=True)
    )
    acc = accumulate_dtype(vq.dtype)
    batch, heads, q_len, depth = vq.shape
    k_len, value_depth = vk.shape[2], vv.shape[3]
    if not isinstance(depth, int) or not isinstance(value_depth, int):
        raise ctx.reject(node, "attention with a dynamic head size")
    group = exact_div(heads, key_heads)
    if group is None:
        raise ctx.reject(node, "the number of heads is no multiple of the key heads")
    scale = node.attr("scale")
    scale = (1.0 / math.sqrt(depth) if depth else 1.0) if scale is None else float(scale)
    causal = bool(node.attr("is_causal", False))
    rank = t.rank
    axes = tuple(range(rank))
    coords: tuple[tuple[int, ...], ...] = (
        axes[: rank - 3] if rank >= 4 else (),
        (axes[rank - 3],) if rank >= 3 else (),
        (axes[rank - 2],),
        (axes[rank - 1],),
    )
    bias = mask_closure(ctx, mask, (*t.shape[:-1], k_len), coords, acc)
    work = size_prod([batch, heads, q_len, k_len, depth + value_depth])

    def build(store: Closure) -> KernelCall:
        return KernelCall(
            "maccel.attention",
            "attention",
            (
                ("acc", acc),
                ("D", depth),
                ("DV", value_depth),
                ("causal", causal),
                ("has_mask", mask is not None),
            ),
            (
                *(Arg("size", s) for s in (batch, heads, q_len, k_len, group)),
                *_operand(vq),
                *_operand(vk),
                *_operand(vv),
                Arg("float", scale),
                Arg("closure", bias),
                Arg("closure", store),
            ),
            scratch=attention_scratch(ctx, depth, value_depth, acc),
            flops=work * 2,
        )

    order = (0, 2, 1, 3) if rank == 4 else axes
    ctx.define(
        node,
        ctx.pending(
            node,
            build,
            coords=coords,
            dtype=acc,
            work=work // 8,
            # [batch, query, head, depth]: what the transpose and reshape after attention want.
            order=order,
            vector_coord=3,
        ),
    )


def _operand(view: View) -> tuple[Arg, ...]:
    return (Arg("ptr", view), *(Arg("size", s) for s in view.strides[:3]))


def heads_of(view: View) -> Size:
    """Return the number of heads of an operand of any rank."""
    return view.shape[-3] if len(view.shape) >= 3 else 1


def four(ctx: KernelContext, view: View, lead: Sequence[Size], heads: Size) -> View:
    """View an operand as [batch, heads, length, depth], its leading dims broadcast and merged."""
    missing = 3 - len(view.shape)
    if missing > 0:
        view = replace(
            view, shape=(*(1,) * missing, *view.shape), strides=(*(0,) * missing, *view.strides)
        )
    view = broadcast_view(view, (*lead, heads, *view.shape[-2:]))
    merged = merge_lead(view)
    if merged is None:
        merged = merge_lead(ctx.copy(view))
    assert merged is not None
    return merged


def merge_lead(view: View) -> View | None:
    """Merge all but the last three axes into one; None where their strides do not allow it."""
    size: Size = 1
    stride: Size = 0
    for n, s in reversed(list(zip(view.shape[:-3], view.strides[:-3], strict=True))):
        if n == 1:
            continue
        if size == 1:
            size, stride = n, s
        elif s == stride * size:
            size = size * n
        else:
            return None
    return replace(view, shape=(size, *view.shape[-3:]), strides=(stride, *view.strides[-3:]))


def mask_closure(
    ctx: KernelContext,
    mask: str | None,
    scores: tuple[Size, ...],
    axes: Sequence[Sequence[int]],
    acc: DType,
) -> Closure:
    """Return the additive mask; a boolean mask becomes 0 where true and -inf where false."""
    if mask is None:
        return _constant_closure(scores, axes, acc)
    boolean = ctx.type(mask).dtype == BOOL

    def additive(p: PointwiseContext) -> str:
        if not boolean:
            return p.operand(0)
        zero, off = p.const(0.0), p.const(-math.inf)
        assert p.operands[0] is not None
        return p.call("select", p.operands[0], zero, off, dtype=p.dtype)

    held: Held = ctx.get(mask)
    if not isinstance(held, View) and len(held.ops) > 12:
        ctx.realize(mask)
    return ctx.load_closure(
        mask, axes, dtype=acc, passes=1, shape=scores, vector_coord=3, scale=additive
    )


def _constant_closure(
    scores: tuple[Size, ...], axes: Sequence[Sequence[int]], acc: DType
) -> Closure:
    from mojoaccel.ir.plan import Body, ScalarOp

    body = Body((ScalarOp("v0", "const", (0.0,), acc),), ("v0",))
    return Closure("load", scores, tuple(tuple(a) for a in axes), (), (), body, 3)


def attention_scratch(ctx: KernelContext, depth: int, value_depth: int, acc: DType) -> int:
    """Return the scratch bytes per thread of ``maccel.attention`` (its `Buffers.elements`)."""
    keys = rows = 256
    panel = 2 * ctx.lanes(acc)
    tile = 6 if ctx.simd_bytes == 32 else 12
    if ctx.amx:
        tile = 32
    padded = -(-value_depth // panel) * panel
    elements = keys * depth + (keys + rows) * padded + tile * keys + 2 * rows
    return (elements + -(-rows * depth // 16) * 16) * acc.size


OPS = (
    OpDef(
        "scaled_dot_product_attention",
        ("aten.scaled_dot_product_attention.default",),
        Kernel(lower_attention),
    ),
)
