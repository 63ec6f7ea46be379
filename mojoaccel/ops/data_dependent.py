"""Operators whose result's size depends on the data: refused by name, with what to do instead."""

from __future__ import annotations

from mojoaccel.ops.registry import Foreign, OpDef

_SIZE = "the size of its result depends on the data"
_BRANCH = "its answer decides in Python, while the model is traced"

REFUSED = {
    "nonzero": (("default",), _SIZE, "use nonzero_static, torch.where(mask, x, y) or topk"),
    "argwhere": (("default",), _SIZE, "use nonzero_static, torch.where(mask, x, y) or topk"),
    "masked_select": (("default",), _SIZE, "use torch.where, or multiply by the mask"),
    "_unique": (("default",), _SIZE, "sort, and compare neighbours"),
    "_unique2": (("default",), _SIZE, "sort, and compare neighbours"),
    "unique_dim": (("default",), _SIZE, "sort, and compare neighbours"),
    "unique_dim_consecutive": (("default",), _SIZE, "compare neighbours"),
    "unique_consecutive": (("default",), _SIZE, "compare neighbours"),
    "bincount": (("default",), _SIZE, "give minlength, one more than the largest value"),
    "equal": (("default",), _BRANCH, "use torch.eq(x, y).all() in a torch.where"),
    "allclose": (("default",), _BRANCH, "use torch.isclose(x, y).all() in a torch.where"),
    "is_nonzero": (("default",), _BRANCH, "use torch.where"),
}
"""ATen names: overloads, why they are refused, what to do instead."""

_STEPS = "the number of its steps depends on the data"

OPS = (
    *(
        OpDef(name, tuple(f"aten.{name}.{o}" for o in overloads), Foreign(why, hint))
        for name, (overloads, why, hint) in REFUSED.items()
    ),
    OpDef("while_loop", ("while_loop",), Foreign(_STEPS, "use a for loop of known length")),
)
