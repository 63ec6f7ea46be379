"""Runs torch.export with a decomposition table that keeps what a kernel does better whole."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.export._trace  # on demand it would be imported in the middle of the first export

from mojoaccel.config import TraceOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example, parse_dynamic
from mojoaccel.ir.dims import Axis
from mojoaccel.ir.graph import Graph, Value
from mojoaccel.products import Signature, StateSpec, TracedModel, WeightRef, Weights, digest_array
from mojoaccel.trace.aliases import unify_aliases
from mojoaccel.trace.axes import check_axes, enlarge, named_dims, read_symbols
from mojoaccel.trace.bounded import bounded
from mojoaccel.trace.composites import decided_composites
from mojoaccel.trace.convolution import replace_spatial
from mojoaccel.trace.decompositions import decomposition_table, quick_torch
from mojoaccel.trace.failures import explain
from mojoaccel.trace.guards import broken_conditions, hint_of
from mojoaccel.trace.higher_order import written_out
from mojoaccel.trace.importer import Importer
from mojoaccel.trace.loader import LoadedModel
from mojoaccel.trace.pieces import whole
from mojoaccel.trace.quiet import quiet_torch
from mojoaccel.trace.recurrent import whole_recurrences
from mojoaccel.trace.structure import flatten_inputs, structure_json, to_numpy, value_range


def trace(loaded: LoadedModel, options: TraceOptions) -> tuple[TracedModel, Weights]:
    """Trace a model.

    Raises:
        MojoaccelError: MA202 export failed, MA203 unsupported operators, MA204 data-dependent
            control flow, MA205 a dynamic dim was specialised.
    """
    example = as_traced(loaded.example, options)
    dims = check_axes(flatten_inputs(example), merge_dynamic(example, options))
    program = replace_spatial(unify_aliases(loaded.program or export(example, dims)))
    plain = whole(decompose(program), decompose)
    return read_program(loaded.name, bounded(plain, decompose), example, dims)


def decompose(program: Any) -> Any:
    """Run the decompositions; explain a form of a call that has none."""
    try:
        with warnings.catch_warnings(), whole_recurrences(), written_out(), quick_torch():
            warnings.simplefilter("ignore")
            return program.run_decompositions(decomposition_table())
    except MojoaccelError:
        raise
    except Exception as e:
        raise explain(e) from e


def as_traced(example: Example, options: TraceOptions) -> Example:
    """Return the example in the types it is traced in."""
    return to_bfloat16(example) if options.dtype == "bf16" else example


def to_bfloat16(example: Example) -> Example:
    """Cast weights and floating inputs, as ``module.to(torch.bfloat16)`` users do."""

    def cast(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.to(torch.bfloat16)
        return value

    module = copy.deepcopy(example.module).to(torch.bfloat16)
    args, kwargs = torch.utils._pytree.tree_map(cast, (tuple(example.args), dict(example.kwargs)))
    return replace(example, module=module, args=args, kwargs=kwargs)


def merge_dynamic(example: Example, options: TraceOptions) -> dict[str, dict[int, Axis]]:
    """Join the factory's dynamic dims with those of the command line."""
    dims = {name: dict(axes) for name, axes in example.dims().items()}
    for name, axes in parse_dynamic(options.dynamic).items():
        dims.setdefault(name, {}).update(axes)
    return dims


def export(example: Example, dims: Mapping[str, Mapping[int, Axis]]) -> Any:
    """Run torch.export; explain its failures."""
    leaves = flatten_inputs(example)
    module = separate(example.module.eval())
    example = enlarge(example, leaves, dims)
    try:
        shapes = leaves.dynamic_shapes(named_dims(dims)) if dims else None
        return run_export(module, example, shapes)
    except MojoaccelError:
        raise
    except Exception as e:
        problem = explain(e)
        unproven = ("Constraints violated", "Cannot create Dim with inconsistent")
        if not any(text in str(e) for text in unproven):
            raise problem from e
        return export_unproven(module, example, leaves, dims, problem)


def run_export(module: Any, example: Example, shapes: Any) -> Any:
    """Run torch.export."""
    with (
        torch.no_grad(),
        warnings.catch_warnings(),
        quiet_torch(),
        whole_recurrences(),
        decided_composites(),
        written_out(),
    ):
        # torch warns about its own deprecated parts; the user cannot act on that.
        warnings.simplefilter("ignore")
        return torch.export.export(
            module,
            tuple(example.args),
            dict(example.kwargs),
            dynamic_shapes=shapes,
            strict=False,
        )


def export_unproven(
    module: Any,
    example: Example,
    leaves: Any,
    dims: Mapping[str, Mapping[int, Axis]],
    problem: MojoaccelError,
) -> Any:
    """Export a model whose conditions on sizes torch cannot prove, and try them out (`guards`).

    Raises:
        MojoaccelError: `problem`, if a size became constant or a condition does not hold.
    """
    hints = {n: {a: hint_of(d) for a, d in x.items()} for n, x in dims.items()}
    try:
        program = run_export(module, example, leaves.dynamic_shapes(hints))
    except Exception:
        raise problem from None
    holders = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    found = [
        (holders[name].meta["val"].shape[place], axis)
        for name, label in zip(program.graph_signature.user_inputs, leaves.names, strict=False)
        if name in holders and hasattr(holders[name].meta["val"], "shape")
        for place, axis in dims.get(label, {}).items()
    ]
    symbols: dict[str, str] = {}
    for size, axis in found:
        if isinstance(size, int) or symbols.setdefault(str(axis), str(size)) != str(size):
            raise problem
    if broken_conditions(program, found):
        raise problem
    return program


def separate(module: Any) -> Any:
    """Copy a module, but none of its tensors.

    Models keep what they compute (YOLO its anchors) in attributes; what they compute while they
    are traced are torch's fake tensors, which would break every later call.
    """
    kept = {id(t): t for t in (*module.parameters(), *module.buffers())}
    try:
        return copy.deepcopy(module, kept)
    except Exception:  # something in it cannot be copied
        return module


def read_program(
    name: str, program: Any, example: Example, dims: Mapping[str, Mapping[int, Axis]]
) -> tuple[TracedModel, Weights]:
    """Import a decomposed program."""
    leaves = flatten_inputs(example)
    placeholders = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    spec = program.graph_signature
    user = [s for s in spec.input_specs if s.kind.name == "USER_INPUT"]
    tensors = [s for s in user if type(s.arg).__name__ == "TensorArgument"]
    labelled = dict(zip(leaves.names, leaves.tensors, strict=True))
    sizes, values = read_symbols(tensors, placeholders, labelled, dims, program.range_constraints)
    reader = Importer(program, sizes)
    inputs = [
        reader.define(s.arg.name, label, placeholders[s.arg.name].meta["val"])
        for s, label in zip(tensors, leaves.names, strict=True)
    ]
    weights, references, arrays = read_weights(reader, program, placeholders)
    reader.read_calls()
    findings = reader.findings()
    outputs, states = read_outputs(reader, spec, references)
    found = {v.name: v for v in (*inputs, *weights, *(o for n in reader.nodes for o in n.outputs))}
    graph = Graph(
        name,
        "torch",
        tuple(sizes.dims.values()),
        (*inputs, *reader.cuts),
        tuple(weights),
        tuple(reader.nodes),
        tuple(outputs),
    )
    if findings:
        raise MojoaccelError(tuple(findings), partial=without_refused(graph, references))
    labels = structure_json(program.call_spec.out_spec, len(outputs))
    signature = Signature(
        tuple(inputs),
        tuple(Value(n, found[o].type) for n, o in zip(labels.names, outputs, strict=True)),
        json.dumps(leaves.tree),
        json.dumps(labels.tree),
    )
    ranges = tuple(
        (n, value_range(t))
        for n, t in zip(leaves.names, leaves.tensors, strict=True)
        if not t.is_floating_point() and not t.is_complex() and t.numel()
    )
    changed = {s.target for s in spec.output_specs if s.kind.name == "USER_INPUT_MUTATION"}
    traced = TracedModel(
        graph,
        signature,
        tuple(references),
        tuple(states),
        tuple(sorted(values.items())),
        ranges,
        tuple(n for s, n in zip(tensors, leaves.names, strict=True) if s.arg.name in changed),
    )
    return traced, arrays


def without_refused(graph: Graph, references: list[WeightRef]) -> TracedModel:
    """Return what is left of a model around its refused calls, so that lowering can be tried.

    Every value that nobody reads is an output: nothing is dead because its reader was refused.
    """
    read = {i for node in graph.nodes for i in node.inputs}
    ends = [v for node in graph.nodes for v in node.outputs if v.name not in read]
    whole = replace(graph, outputs=tuple(v.name for v in ends))
    signature = Signature(graph.inputs, tuple(ends), "", "")
    return TracedModel(whole, signature, tuple(references), (), (), ())


def read_weights(
    reader: Importer, program: Any, placeholders: Mapping[str, Any]
) -> tuple[list[Value], list[WeightRef], dict[str, np.ndarray[Any, Any]]]:
    """Import parameters, buffers and constants with their arrays."""
    weights: list[Value] = []
    references: list[WeightRef] = []
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    digests: dict[tuple[int, Any, Any], str] = {}
    for s in program.graph_signature.input_specs:
        kind = {"PARAMETER": "param", "BUFFER": "buffer", "CONSTANT_TENSOR": "constant"}.get(
            s.kind.name
        )
        if kind is None:
            continue
        source = program.constants if kind == "constant" else program.state_dict
        tensor = source[s.target] if s.target in source else program.constants[s.target]
        value = reader.define(
            s.arg.name, s.target.replace(".", "_"), placeholders[s.arg.name].meta["val"]
        )
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if key not in digests or tensor.numel() == 0:
            array = to_numpy(tensor)
            digests[key] = digest_array(array)
            arrays[digests[key]] = array
        weights.append(value)
        references.append(WeightRef(value.name, digests[key], f"{kind}:{s.target}"))
    return weights, references, arrays


def read_outputs(
    reader: Importer, spec: Any, references: list[WeightRef]
) -> tuple[list[str], list[StateSpec]]:
    """Return the names of user outputs, and the mutated buffers."""
    outputs, states = [], []
    by_source = {r.source.split(":", 1)[1]: r.value for r in references}
    for s in spec.output_specs:
        if s.kind.name == "USER_OUTPUT":
            if type(s.arg).__name__ == "TensorArgument" and s.arg.name in reader.names:
                outputs.append(reader.names[s.arg.name])
        elif (
            s.kind.name in ("BUFFER_MUTATION", "PARAMETER_MUTATION") and s.arg.name in reader.names
        ):
            states.append(StateSpec(by_source[s.target], reader.names[s.arg.name]))
    return outputs, states
