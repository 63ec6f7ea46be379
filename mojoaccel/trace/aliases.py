"""One place for a tensor that an exported program holds twice.

A module may reach one tensor both as a buffer and as an attribute of some object (transformers'
static cache registers what its layers hold). torch.export then makes a constant of the second
way, and cannot decompose a program that writes to a buffer which is also a constant.
"""

from __future__ import annotations

from typing import Any

import torch


def unify_aliases(program: Any) -> Any:
    """Let constants that are a buffer's very tensor be read as that buffer.

    Args:
        program: An exported program; changed in place.
    """
    signature = program.graph_signature
    placeholders = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    buffers = {}
    for spec in signature.input_specs:
        if spec.kind.name == "BUFFER":
            tensor = program.state_dict.get(spec.target, program.constants.get(spec.target))
            if isinstance(tensor, torch.Tensor):
                buffers.setdefault(_place(tensor), placeholders[spec.arg.name])
    kept = []
    for spec in signature.input_specs:
        twin = None
        if spec.kind.name == "CONSTANT_TENSOR":
            tensor = program.constants.get(spec.target)
            twin = buffers.get(_place(tensor)) if isinstance(tensor, torch.Tensor) else None
        if twin is None:
            kept.append(spec)
            continue
        node = placeholders[spec.arg.name]
        node.replace_all_uses_with(twin)
        program.graph.erase_node(node)
        program.constants.pop(spec.target)
    if len(kept) < len(signature.input_specs):
        signature.input_specs[:] = kept
        program.graph_module.recompile()
    return program


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.numel())
