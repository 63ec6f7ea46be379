"""Prefetching what epilogues will read and write, while a large result is summed."""

from __future__ import annotations

import math
from dataclasses import replace

from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Body, Closure

PREFETCHED_BYTES = 4 << 20
"""Results larger than this are prefetched while they are summed."""


def prefetch_pays(node: Node) -> bool:
    """Whether a result is too large to be in the cache before it is written.

    Measured on ResNet-50: 8 % less time at batch 8; linear layers with results of 12 MB: 2 to 4 %.
    Where results are small, prefetches that find their line in the cache cost MobileNetV2 in
    bfloat16 3 %. A dynamic size counts as 8.
    """
    t = node.output.type
    elements = math.prod(n if isinstance(n, int) else 8 for n in t.shape)
    return elements * t.dtype.size > PREFETCHED_BYTES


def touch_of(store: Closure) -> Closure:
    """Return the closure that brings to the cache what `store` will read and write."""
    return replace(store, kind="touch", body=Body((), ()))
