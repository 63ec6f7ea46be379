"""Plans as text: one JSON document, readable in a diff, that reads back to an equal plan.

Dataclasses become objects whose ``@`` names the class; fields at their default are left out.
Sizes over dims are ``{"$": "b*s"}``, element types ``{"dtype": "f32"}``, tuples are lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from mojoaccel.errors import SourceLoc, error
from mojoaccel.ir import graph, plan
from mojoaccel.ir.dims import Dim, Expr, parse_size
from mojoaccel.ir.types import DTYPES, DType, TensorType

CLASSES: dict[str, Any] = {
    c.__name__: c
    for c in (
        SourceLoc,
        Dim,
        TensorType,
        graph.Value,
        graph.Node,
        graph.Graph,
        plan.Buffer,
        plan.View,
        plan.ScalarOp,
        plan.Body,
        plan.Closure,
        plan.Arg,
        plan.KernelCall,
        plan.FusionGroup,
        plan.PackedWeight,
        plan.MemoryPlan,
        plan.Plan,
    )
}


def encode(value: Any) -> Any:
    """Return `value` as JSON data."""
    if isinstance(value, Expr):
        return {"$": str(value)}
    if isinstance(value, DType):
        return {"dtype": value.name}
    if is_dataclass(value) and not isinstance(value, type):
        data: dict[str, Any] = {"@": type(value).__name__}
        for f in fields(value):
            item = getattr(value, f.name)
            if f.default is MISSING or item != f.default:
                data[f.name] = encode(item)
        return data
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    return value


def decode(data: Any) -> Any:
    """Return what `encode` was given."""
    if isinstance(data, list):
        return tuple(decode(v) for v in data)
    if not isinstance(data, dict):
        return data
    if "$" in data:
        return parse_size(data["$"])
    if "dtype" in data and len(data) == 1:
        return DTYPES[data["dtype"]]
    if "@" in data:
        cls = CLASSES[data["@"]]
        return cls(**{k: decode(v) for k, v in data.items() if k != "@"})
    return {k: decode(v) for k, v in data.items()}


def plan_to_text(value: plan.Plan) -> str:
    """Print a plan, one group, buffer or weight a line."""
    data = encode(value)
    lines = ["{"]
    for key, item in data.items():
        if isinstance(item, list) and item:
            lines.append(f"{json.dumps(key)}: [")
            lines.extend(f"  {json.dumps(v)}," for v in item[:-1])
            lines.extend([f"  {json.dumps(item[-1])}", "],"])
        elif key == "buffers":
            lines.append('"buffers": {')
            rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in item.items()]
            lines.extend([",\n".join(rows), "},"])
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(item)},")
    lines[-1] = lines[-1].removesuffix(",")
    return "\n".join([*lines, "}", ""])


def parse_plan(text: str) -> plan.Plan:
    """Read a plan printed by `plan_to_text`.

    Raises:
        MojoaccelError: MA208, the text is not a plan.
    """
    try:
        value = decode(json.loads(text))
    except (ValueError, KeyError, TypeError) as e:
        raise error("MA208", f"not a plan: {e}") from e
    if not isinstance(value, plan.Plan):
        raise error("MA208", "the document holds no plan")
    return value
