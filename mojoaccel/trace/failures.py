"""Says in the user's terms why torch.export failed."""

from __future__ import annotations

import re

from mojoaccel.errors import MojoaccelError, SourceLoc, error
from mojoaccel.trace.source import error_location

KNOWN = {
    "one_hot": "pass num_classes",
    "tensor_split": "pass the positions as Python numbers",
    "split": "pass the sizes as Python numbers, of the factory for instance",
    "bincount": "give minlength, one more than the largest value",
    "unique": "sort, and compare neighbours",
    "unique_consecutive": "compare neighbours",
    "nonzero": "use nonzero_static, torch.where(mask, x, y) or topk",
    "masked_select": "use torch.where, or multiply by the mask",
    "ctc_loss": "compute the loss outside of the model",
    "repeat_interleave": "pass output_size",
    "pad_packed_sequence": "call the layer on padded sequences, and mask what lies beyond",
    "pack_padded_sequence": "call the layer on padded sequences, and mask what lies beyond",
    "tolist": "keep the numbers in the tensor, or make them an argument of the factory",
    "item": "keep the number in the tensor, or make it an argument of the factory",
}
"""Calls that read values from tensors, and what to do instead."""


def explain(e: Exception) -> MojoaccelError:
    """Turn torch.export's exception into a diagnostic with the user's line."""
    text = str(e)
    loc = error_location(e)
    first = next((line for line in text.splitlines() if line.strip()), type(e).__name__)
    kind = type(e).__name__
    data = ("GuardOnDataDependent", "DataDependent", "DynamicOutputShape")
    if any(d in kind for d in data) or "data-dependent" in text or "Could not guard" in text:
        return decided_by_data(first, loc)
    if "specialized" in text or "ConstraintViolation" in kind or "Constraints violated" in text:
        hint = multiple_hint(text)
        return error("MA205", first, loc=loc, notes=text.splitlines()[1:6], hint=hint)
    if "Cannot create Dim with inconsistent" in text:
        message = "torch.export finds no range of sizes that the model's code takes"
        hint = "if the code cuts the axis into blocks of 8, declare it as 8*name"
        return error("MA205", message, loc=loc, hint=hint)
    if "UserError" in kind:
        return error("MA204", first, loc=loc)
    if "torch" in kind.lower() or "Unsupported" in kind or "export" in text.lower():
        return error("MA202", f"{kind}: {first}", loc=loc)
    return error("MA207", f"{kind}: {first}", loc=loc)


def multiple_hint(text: str) -> str:
    """Return how to declare a size that torch.export finds must be a multiple, if it says so."""
    found = re.search(r"^\s+(\w+) = (\d+)\*_\1$", text, re.MULTILINE)
    return f"it must be a multiple: declare it as {found[2]}*{found[1]}" if found else ""


def decided_by_data(first: str, loc: SourceLoc | None) -> MojoaccelError:
    """Name the call of the user's line that needs values of tensors, and what to do instead."""
    called = re.findall(r"(\w+)\(", loc.text if loc is not None else "")
    name = next((c for c in called if c in KNOWN), "")
    if not name:
        return error("MA204", first, loc=loc)
    message = f"{name} needs values that are only known when the model runs"
    return error("MA204", message, loc=loc, notes=[first], hint=KNOWN[name])
