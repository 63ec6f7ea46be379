"""Runs a model on other inputs with PyTorch, in its own types or in float64.

Either the user's module, or the traced graph where no module is at hand (a saved ``graph.ir``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mojoaccel.example import Example
from mojoaccel.ir.dims import evaluate, free_dims
from mojoaccel.ir.graph import Graph, Value
from mojoaccel.ops.interpret import run_graph
from mojoaccel.products import TracedModel, Weights
from mojoaccel.trace.structure import flatten_inputs


def module_runner(
    example: Example, *, double: bool = False
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return a function from flattened inputs to flattened outputs, as numpy arrays.

    As `tensor_runner`; bfloat16 leaves as uint16 too.
    """
    call = tensor_runner(example, double=double)
    return lambda inputs: [to_array(t) for t in call(inputs)]


def tensor_runner(
    example: Example, *, double: bool = False
) -> Callable[[Sequence[np.ndarray]], list[torch.Tensor]]:
    """Return a function from flattened inputs, as numpy arrays, to flattened outputs.

    Buffers that the module changes are put back after each call. bfloat16 arrives as uint16;
    with `double` every floating weight and input becomes float64 and so do the outputs.
    """
    module = in_double(example.module) if double else example.module
    if not isinstance(module, torch.fx.GraphModule):  # an exported program's refuses eval()
        module.eval()
    tensors = flatten_inputs(example).tensors
    leaves, spec = pytree.tree_flatten((tuple(example.args), dict(example.kwargs)))
    # The program may take keyword inputs in another order than they were given in.
    places = [
        next(i for i, t in enumerate(tensors) if t is leaf) if _is(leaf) else -1 for leaf in leaves
    ]
    kinds = [t.dtype for t in tensors]

    def run(inputs: Sequence[np.ndarray]) -> list[torch.Tensor]:
        given = [to_tensor(a, k, double) for a, k in zip(inputs, kinds, strict=True)]
        fresh = [leaf if p < 0 else given[p] for leaf, p in zip(leaves, places, strict=True)]
        args, kwargs = pytree.tree_unflatten(fresh, spec)
        before = [(m, name, b, b.clone()) for m, name, b in _buffers(module)]
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64 if double else usual)
        try:
            with torch.no_grad():
                result = module(*args, **kwargs)
        finally:
            torch.set_default_dtype(usual)
            with torch.no_grad():
                for owner, name, buffer, content in before:
                    # A module may have put another tensor in its place, of another shape too.
                    owner._buffers[name] = buffer
                    buffer.copy_(content)
        return [t for t in pytree.tree_leaves(result) if _is(t)]

    return run


def _buffers(module: Any) -> Iterator[tuple[Any, str, torch.Tensor]]:
    """Yield the buffers with the modules that hold them and their names there."""
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            yield owner, name, buffer


def in_double(module: Any) -> Any:
    """Return a copy of a module in float64 and complex128, which `Module.double` leaves out."""
    wide = copy.deepcopy(module).double()
    for tensor in (*wide.parameters(), *wide.buffers()):
        if tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)
    return wide


def graph_runner(
    traced: TracedModel, weights: Weights, *, double: bool = False
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return what `module_runner` does, by interpreting the traced graph."""
    graph = traced.graph
    held = weight_tensors(graph, {w.value: weights[w.digest] for w in traced.weights})

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        dims = match_dims(graph.inputs, inputs)
        given = {
            v.name: to_tensor(a, getattr(torch, v.type.dtype.torch), double)
            for v, a in zip(graph.inputs, inputs, strict=True)
        }
        with torch.no_grad():
            found = run_graph(graph, {**held, **given}, dims, wide=double)
        return [to_array(found[name]) for name in graph.outputs]

    return run


def fold_weights(graph: Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Evaluate a graph that depends on weights alone and return its outputs."""
    with torch.no_grad():
        found = run_graph(graph, weight_tensors(graph, arrays), {})
    return {name: to_array(found[name]) for name in graph.outputs}


def weight_tensors(graph: Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the graph's weights as tensors of their own types."""
    return {
        w.name: to_tensor(arrays[w.name], getattr(torch, w.type.dtype.torch), False)
        for w in graph.weights
    }


def match_dims(values: Sequence[Value], inputs: Sequence[np.ndarray]) -> dict[str, int]:
    """Return the sizes of the dims in the inputs' shapes, alone or in multiples."""
    found: dict[str, int] = {}
    for value, array in zip(values, inputs, strict=True):
        for size, actual in zip(value.type.shape, array.shape, strict=True):
            for name in free_dims(size) if len(free_dims(size)) == 1 else ():
                plus, once = (evaluate(size, {name: n}) for n in (0, 1))
                found.setdefault(name, (int(actual) - plus) // (once - plus))
    return found


def example_arrays(example: Example) -> list[np.ndarray]:
    """Return the example inputs as flattened arrays."""
    return [to_array(t) for t in flatten_inputs(example).tensors]


def to_tensor(array: np.ndarray, dtype: torch.dtype, double: bool) -> torch.Tensor:
    """Return an input array as a tensor of its own type (float64 with `double`)."""
    data = np.ascontiguousarray(array).copy()
    tensor = torch.from_numpy(data.view(np.int16) if dtype == torch.bfloat16 else data)
    if dtype == torch.bfloat16:
        tensor = tensor.view(torch.bfloat16)
    tensor = tensor.reshape(array.shape)
    if double and dtype.is_complex:
        return tensor.to(torch.complex128)
    return tensor.double() if double and dtype.is_floating_point else tensor


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a result as an array that owns its memory; bfloat16 as uint16."""
    data = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if data.dtype == torch.bfloat16:
        return data.view(torch.int16).numpy().view(np.uint16).copy()
    return data.numpy().copy()


def _is(value: Any) -> bool:
    return isinstance(value, torch.Tensor)
