"""Images as kernels take them: channels last, one row or more, padded and strided alike.

What convolutions of every form share; those of `ops.convolution` and the poolings call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mojoaccel.ir.dims import Size, exact_div
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, Closure, KernelCall, Param, View
from mojoaccel.ir.types import DType
from mojoaccel.ops.lazy import Lazy
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.prefetch import prefetch_pays, touch_of


def channels_last(view: View) -> bool:
    """Whether neighbouring channels are neighbours in memory."""
    return view.strides[1] == 1 or view.shape[1] == 1


def even_strides(view: View) -> bool:
    """Whether every pixel of a channels-last image begins with the first of a pair of elements."""
    spatial = [s for axis, s in enumerate(view.strides) if axis != 1]
    return all(exact_div(s, 2) is not None for s in spatial)


def channels_last_order(rank: int) -> tuple[int, ...]:
    """Return the axis order N, spatial..., C."""
    return (0, *range(2, rank), 1)


def pair(value: object, rank: int) -> tuple[int, ...]:
    """Return an int-or-list attribute with one entry per spatial dim."""
    items = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(int(v) for v in (items * rank if len(items) == 1 else items))


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return the left padding of ``padding='same'``."""
    return tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))


def with_height(values: Sequence[int], fill: int) -> tuple[int, int]:
    """Put a height in front of one-dimensional settings."""
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])


def image(view: View) -> Arg:
    """Return the ``ImageView`` of a channels-last [N, C, H, W] or [N, C, W] window."""
    if len(view.shape) == 3:
        (n, _, w), (sn, _, sw) = view.shape, view.strides
        sizes: list[Size] = [n, 1, w, sn, 0, sw]
    else:
        (n, _, h, w), (sn, _, sh, sw) = view.shape, view.strides
        sizes = [n, h, w, sn, sh, sw]
    fields = (Arg("ptr", view), *(Arg("size", s) for s in sizes))
    return Arg("struct", ("maccel.image", "ImageView", fields))


def output_hw(node: Node) -> tuple[Arg, Arg]:
    """Return the output's height and width."""
    shape = node.output.type.shape
    return (Arg("size", 1 if len(shape) == 3 else shape[2]), Arg("size", shape[-1]))


def image_kernel(
    ctx: KernelContext,
    node: Node,
    module: str,
    function: str,
    params: Sequence[tuple[str, Param]],
    args: Sequence[Arg],
    *,
    dtype: DType,
    scratch: Size,
    macs: Size,
    question: str = "",
    ahead: bool = False,
) -> Lazy:
    """Return a pending kernel whose epilogue is called with (n, pixel, channel).

    With `ahead` it also takes a closure that prefetches for the epilogue, if that pays.
    """
    touching = ahead and prefetch_pays(node)
    rank = node.output.type.rank

    def build(store: Closure) -> KernelCall:
        touch = touch_of(store)
        if not touching:
            touch = replace(touch, operands=(), outputs=())
        closures = [Arg("closure", c) for c in ([store, touch] if ahead else [store])]
        return KernelCall(
            module,
            function,
            (("acc", dtype), *params),
            (*args, *output_hw(node), *closures),
            scratch=scratch,
            flops=macs * 2,
            question=question,
        )

    return ctx.pending(
        node,
        build,
        coords=((0,), tuple(range(2, rank)), (1,)),
        dtype=dtype,
        work=macs // 16,
        order=channels_last_order(rank),
        vector_coord=2,
    )
