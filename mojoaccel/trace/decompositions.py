"""The table by which torch takes operators apart, and torch doing so without waste.

torch lists every composite operator anew for each program, and overrides each of them (a thousand
operators, ten dispatch keys) through a method that builds its type annotations at every call:
together nearly half of the time that a small model takes to trace. Here both are done once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch._C import DispatchKey
from torch._decomp import get_decompositions
from torch._ops import OperatorBase
from torch.export import decomp_utils, exported_program

from mojoaccel.ops.registry import Foreign, by_aten
from mojoaccel.trace.binning import BINNING
from mojoaccel.trace.composites import COMPOSITES
from mojoaccel.trace.masking import MASKING
from mojoaccel.trace.pooling import POOLS
from mojoaccel.trace.sampling import SAMPLERS
from mojoaccel.trace.sequences import SEQUENCES

_FROM_TORCH = [
    torch.ops.aten.grid_sampler_2d.default,
    torch.ops.aten.native_layer_norm.default,
    torch.ops.aten.native_group_norm.default,
    torch.ops.aten._native_batch_norm_legit.no_stats,
    torch.ops.aten._batch_norm_with_update_functional.default,
    torch.ops.aten.upsample_trilinear3d.default,
]
"""Operators without a record that torch can decompose but keeps whole unless asked."""


_DECOMPOSED = frozenset({"aten.batch_norm.default"})


def decomposition_table() -> dict[Any, Any]:
    """Return torch's default decompositions without the operators that have a record."""
    recorded = {n for n, op in by_aten().items() if not isinstance(op.lowering, Foreign)}
    return dict(_table(_declared(), frozenset(recorded)))


@cache
def _table(_declared: frozenset[str], recorded: frozenset[str]) -> dict[Any, Any]:
    table = dict(torch.export.default_decompositions())
    for overload in list(table):
        name = str(overload)
        if name in recorded and name not in _DECOMPOSED:
            del table[overload]
    return {
        **table,
        **get_decompositions(_FROM_TORCH),
        **POOLS,
        **SAMPLERS,
        **SEQUENCES,
        **COMPOSITES,
        **BINNING,
        **MASKING,
    }


def _declared() -> frozenset[str]:
    """Return the composite operators that torch knows by now; libraries may declare more."""
    found = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
    return frozenset(found)


@contextmanager
def quick_torch() -> Iterator[None]:
    """Spare torch the work that it repeats for each program."""
    modules: Any = (exported_program, decomp_utils)
    listed, override = exported_program._collect_all_valid_cia_ops, OperatorBase.py_impl
    known = _composites(_declared(), listed)

    def py_impl(operator: OperatorBase, key: Any) -> Callable[[Any], Any]:
        if not isinstance(key, DispatchKey) or key == DispatchKey.Python:
            return override(operator, key)

        def keep(function):  # type: ignore[no-untyped-def]  # annotations are what costs
            if key in operator.py_kernels:
                raise RuntimeError(f"a second kernel for {key} of {operator.name()}")
            operator.py_kernels[key] = function
            operator._dispatch_cache.clear()
            return function

        return keep

    try:
        for module in modules:
            module._collect_all_valid_cia_ops = lambda: set(known)
        OperatorBase.py_impl = py_impl  # type: ignore[method-assign]
        yield
    finally:
        OperatorBase.py_impl = override  # type: ignore[method-assign]
        for module in modules:
            module._collect_all_valid_cia_ops = listed


@cache
def _composites(_declared: frozenset[str], listed: Callable[[], Any]) -> frozenset[Any]:
    return frozenset(listed())
