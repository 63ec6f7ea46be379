"""Convolutions that have no kernel: weights computed at run time, transposed volumes, no batch.

They are written with torch: zeros put between inputs, windows as views, one batched product. An
exported program that needs them has the calls replaced before it is decomposed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mojoaccel.trace.bytes_resampling import OF_BYTES
from mojoaccel.trace.composites import VIEWS
from mojoaccel.trace.pooling import per_axis

aten = torch.ops.aten


def spread(x: Tensor, axis: int, stride: int) -> Tensor:
    """Put stride - 1 zeros between neighbours along an axis."""
    if stride == 1:
        return x
    n = x.shape[axis]
    apart = x.unsqueeze(axis + 1)
    pads = [0, 0] * (apart.dim() - axis - 2) + [0, stride - 1]
    return F.pad(apart, pads).flatten(axis, axis + 1).narrow(axis, 0, (n - 1) * stride + 1)


def frame(x: Tensor, before: list[int], after: list[int]) -> Tensor:
    """Pad (or, where negative, crop) the last axes with zeros."""
    for axis, (low, high) in enumerate(zip(before, after, strict=True), x.dim() - len(before)):
        if low < 0 or high < 0:
            x = x.narrow(axis, max(-low, 0), x.shape[axis] - max(-low, 0) - max(-high, 0))
    pads = [v for pair in zip(before[::-1], after[::-1], strict=True) for v in pair]
    return F.pad(x, [max(v, 0) for v in pads]) if any(v > 0 for v in pads) else x


def mirror(w: Tensor, groups: int) -> Tensor:
    """Turn the weight of a transposed convolution into that of an ordinary one."""
    parts = w.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return parts.flip(list(range(2, w.dim())))


def windows_product(x: Tensor, w: Tensor, stride: Any, dilation: Any, groups: int) -> Tensor:
    """Convolve a framed input: [N, C, ...] with [O, C/groups, ...]."""
    rank = w.dim() - 2
    kernel = w.shape[2:]
    for a in range(rank):
        x = x.unfold(2 + a, dilation[a] * (kernel[a] - 1) + 1, stride[a])
        x = x[..., :: dilation[a]]
    places = x.shape[2 : 2 + rank]
    x = x.permute(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    x = x.flatten(2 + rank).unflatten(1, (groups, -1)).flatten(2, -2)
    product = torch.matmul(w.flatten(1).unflatten(0, (groups, -1)), x)
    return product.flatten(1, 2).unflatten(2, tuple(places))


def convolve(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    fixed: bool = False,
) -> Tensor:
    """Convolve in any form; with a `fixed` weight a kernel does the ordinary convolution."""
    rank = w.dim() - 2
    if x.dim() == rank + 1:
        whole = (x.unsqueeze(0), w, b, stride, padding, dilation, transposed, output_padding)
        return convolve(*whole, groups, fixed).squeeze(0)
    s, d = per_axis(stride, rank), per_axis(dilation, rank)
    reach = [d[a] * (int(w.shape[2 + a]) - 1) for a in range(rank)]
    if padding in ("same", "valid"):
        before = [r // 2 if padding == "same" else 0 for r in reach]
        after = [r - low if padding == "same" else 0 for r, low in zip(reach, before, strict=True)]
    else:
        before = after = per_axis(padding, rank)
    if transposed:
        more = per_axis(output_padding, rank)
        for a in range(rank):
            x = spread(x, 2 + a, s[a])
        after = [r - p + o for r, p, o in zip(reach, before, more, strict=True)]
        before = [r - p for r, p in zip(reach, before, strict=True)]
        w, s = mirror(w, groups), [1] * rank
    x = frame(x, before, after)
    if fixed:
        return aten.convolution.default(x, w, b, s, [0] * rank, d, False, [0] * rank, groups)
    y = windows_product(x, w, s, d, groups)
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


def ordinary(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """``aten.conv1d`` to ``conv3d`` with a weight computed at run time."""
    return convolve(input, weight, bias, stride, padding, dilation, False, 0, groups)


def ordinary_fixed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """``aten.conv1d`` to ``conv3d`` of an input without a batch."""
    return convolve(input, weight, bias, stride, padding, dilation, False, 0, groups, True)


def transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """``aten.conv_transpose1d`` to ``3d`` with a weight computed at run time."""
    return convolve(input, weight, bias, stride, padding, dilation, True, output_padding, groups)


def transposed_fixed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """``aten.conv_transpose1d`` to ``3d`` as an ordinary convolution of spread inputs."""
    more = (True, output_padding, groups, True)
    return convolve(input, weight, bias, stride, padding, dilation, *more)


def general(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """``aten.convolution`` with a weight computed at run time."""
    more = (transposed, output_padding, groups)
    return convolve(input, weight, bias, stride, padding, dilation, *more)


def general_fixed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """``aten.convolution`` of an input without a batch, or of a transposed volume."""
    more = (transposed, output_padding, groups, True)
    return convolve(input, weight, bias, stride, padding, dilation, *more)


def time_first(x: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """``aten.conv_tbc`` ([time, batch, channels]) with a weight computed at run time."""
    return ordinary(x.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad).permute(2, 0, 1)


FORMS: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    aten.conv1d.default: (ordinary, ordinary_fixed),
    aten.conv1d.padding: (ordinary, ordinary_fixed),
    aten.conv2d.default: (ordinary, ordinary_fixed),
    aten.conv2d.padding: (ordinary, ordinary_fixed),
    aten.conv3d.default: (ordinary, ordinary_fixed),
    aten.conv3d.padding: (ordinary, ordinary_fixed),
    aten.conv_transpose1d.default: (transposed, transposed_fixed),
    aten.conv_transpose2d.input: (transposed, transposed_fixed),
    aten.conv_transpose3d.input: (transposed, transposed_fixed),
    aten.convolution.default: (general, general_fixed),
    aten.conv_tbc.default: (time_first, time_first),
}
"""What replaces an overload with a weight computed at run time, and with a fixed one."""


def without_batch(target: Any) -> Callable[..., Any]:
    """Return a function that gives `target`, a pool, a batch of one."""

    def batch_of_one(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        result = target(x.unsqueeze(0), *args, **kwargs)
        if isinstance(result, Tensor):
            return result.squeeze(0)
        return tuple(r.squeeze(0) for r in result)

    batch_of_one.__name__ = f"batch_of_one_{target.__name__.replace('.', '_')}"
    return batch_of_one


def by_planes(target: Any) -> Callable[..., Any]:
    """Return a function that gives `target` every channel as an image of its own.

    The kernels want the number of channels when they are compiled; here it depends on a dim.
    """

    def every_plane(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        result = target(x.reshape(-1, 1, *x.shape[2:]), *args, **kwargs)
        many = [result] if isinstance(result, Tensor) else list(result)
        many = [r.reshape(*x.shape[:2], *r.shape[2:]) for r in many]
        return many[0] if isinstance(result, Tensor) else tuple(many)

    every_plane.__name__ = f"every_plane_{target.__name__.replace('.', '_')}"
    return every_plane


POOLS = {
    target: rank
    for rank, names in (
        (1, ("max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "max_pool1d_with_indices")),
        (1, ("adaptive_max_pool1d",)),
        (2, ("max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "adaptive_avg_pool2d")),
        (2, ("_adaptive_avg_pool2d",)),
    )
    for target in (getattr(aten, name).default for name in names)
}
"""Pools whose kernels want a batch, and how many axes they pool over."""

UPSAMPLES = {
    getattr(getattr(aten, name), overload)
    for name in (
        *("upsample_nearest1d", "upsample_nearest2d", "upsample_linear1d", "upsample_bilinear2d"),
        *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "upsample_bicubic2d"),
    )
    for overload in ("default", "vec")
}
"""Resampling that has a kernel."""


def replacement(node: Any, changing: set[str]) -> Callable[..., Any] | None:
    """Return what replaces a call, given the names of what is not the same in every run."""
    if node.target in FORMS:
        varying, fixed = FORMS[node.target]
        x, w = node.args[0], node.args[1]
        rank = w.meta["val"].dim() - 2
        turned = node.target in (aten.conv_transpose3d.input,) or (
            node.target is aten.convolution.default and node.args[6] and rank == 3
        )
        if w.name in changing:
            return varying
        return fixed if turned or x.meta["val"].dim() == rank + 1 else None
    if node.target in OF_BYTES and node.args[0].meta["val"].dtype == torch.uint8:
        return OF_BYTES[node.target]
    return VIEWS.get(node.target) or pool_replacement(node)


def pool_replacement(node: Any) -> Callable[..., Any] | None:
    """Return what replaces a pool or a resampling whose form has no kernel."""
    if node.target in POOLS and node.args[0].meta["val"].dim() == POOLS[node.target] + 1:
        return without_batch(node.target)
    planes = node.target in POOLS or node.target in UPSAMPLES
    if planes and isinstance(node.args[0].meta["val"].shape[1], torch.SymInt):
        return by_planes(node.target)
    return None


def replacements(program: Any) -> dict[str, Callable[..., Any]]:
    """Return what replaces which node of an exported program."""
    signature = program.graph_signature
    changing = set(signature.user_inputs) | set(signature.buffers_to_mutate.values())
    changing |= {p for p, b in signature.inputs_to_buffers.items() if b in changing}
    found: dict[str, Callable[..., Any]] = {}
    for node in program.graph.nodes:
        if any(n.name in changing for n in node.all_input_nodes):
            changing.add(node.name)
        if node.op != "call_function":
            continue
        replaced = replacement(node, changing)
        if replaced is not None:
            found[node.name] = replaced
    return found


def replace_spatial(program: Any) -> Any:
    """Replace the convolutions and pools that have no kernel; the program given stays as it is."""
    found = replacements(program)
    if not found:
        return program
    program = copy.deepcopy(program)
    for node in program.graph.nodes:
        if node.name in found:
            node.target = found[node.name]
    program.graph_module.recompile()
    return program
