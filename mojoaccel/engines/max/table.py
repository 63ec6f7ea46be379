"""The lowering of every operator that the MAX engine takes."""

from __future__ import annotations

from mojoaccel.engines.max import contraction, pointwise, reduction, shape
from mojoaccel.engines.max.lowering import Lowering

TABLE: dict[str, Lowering] = {
    **pointwise.LOWERINGS,
    **shape.LOWERINGS,
    **reduction.LOWERINGS,
    **contraction.LOWERINGS,
}
"""By the names of `mojoaccel.ops`."""
