"""Reads an ONNX file as a module of PyTorch, through the importer onnx2fx.

The names of the file's inputs and outputs are kept, and its named dims become the artifact's
dynamic dims. What the importer makes is compared with ONNX's own evaluator (onnxruntime where it is
installed) on the example inputs before anything is compiled.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from mojoaccel.errors import Diagnostic, MojoaccelError, error
from mojoaccel.example import Example
from mojoaccel.trace.onnx_sizes import computing_sizes

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Operators that the importer runs in Python, one branch of which is no graph."""

CLOSENESS = 1e-3
"""How far the import may be from ONNX's evaluator, of the largest value: they round differently,
and what the importer takes for another operator differs by more."""

LENGTHS = {1: (2,), 2: (2, 16), 3: (2, 16, 16), 4: (2, 3, 64, 64)}
"""Sizes of example inputs where the file names dims, by rank."""


def load_onnx(path: Path) -> Example:
    """Read an ONNX file.

    Raises:
        MojoaccelError: MA202 the file or the import is broken, MA203 operators that are not
            imported, MA209 a package is missing.
    """
    for package in ("onnx", "onnx2fx"):
        if importlib.util.find_spec(package) is None:
            hint = "pip install 'mojoaccel[onnx]'"
            raise error("MA209", f"{path.name} needs the package {package}", hint=hint)
    import onnx.inliner
    import onnx2fx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        model = onnx.inliner.inline_local_functions(model)
    except Exception as e:  # protobuf's, onnx's, or of the file with the weights
        raise error("MA202", f"{path.name} cannot be read: {type(e).__name__}: {e}") from e
    refuse_unsupported(model, path)
    try:
        module = computing_sizes(onnx2fx.convert(model, base_dir=str(path.parent)))
    except Exception as e:
        message = f"{path.name} cannot be imported: {type(e).__name__}: {e}"
        raise error("MA202", message) from e
    name_outputs(module, [v.name for v in model.graph.output])
    example = example_of(module.eval(), model)
    compare_with_onnx(example, model, path)
    return example


def refuse_unsupported(model: Any, path: Path) -> None:
    """Refuse a model with operators that are not imported, all of them at once.

    Raises:
        MojoaccelError: MA203, one diagnostic an operator with the names of its nodes.
    """
    import onnx2fx

    versions = {o.domain: o.version for o in model.opset_import}
    nodes: dict[tuple[str, str], list[str]] = {}
    for node in nodes_of(model.graph):
        version = versions.get(node.domain, 1)
        supported = onnx2fx.is_supported(node.op_type, node.domain, version)
        if not supported or node.op_type in CONTROL_FLOW:
            named = node.name or ", ".join(node.output)
            nodes.setdefault((node.domain, node.op_type), []).append(named)
    found = []
    for (domain, operator), names in nodes.items():
        version = versions.get(domain, 1)
        places = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        label = f"{domain}.{operator}" if domain else operator
        hint = "export the model with another opset, or compile the PyTorch model itself"
        if operator in CONTROL_FLOW:
            hint = "export the model without control flow, for one of its branches"
        message = f"ONNX operator {label} (opset {version}) is not imported; {path.name}: {places}"
        found.append(Diagnostic("MA203", message, hint=hint))
    if found:
        raise MojoaccelError(tuple(found))


def nodes_of(graph: Any) -> Iterator[Any]:
    """Return a graph's nodes and those of the graphs within."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


def name_outputs(module: fx.GraphModule, names: list[str]) -> None:
    """Let a graph return its outputs by name."""
    output = next(n for n in module.graph.nodes if n.op == "output")
    given = output.args[0]
    nodes = given if isinstance(given, (tuple, list)) else [given]
    output.args = (dict(zip(map(identifier, names), nodes, strict=True)),)
    module.recompile()


def identifier(name: str) -> str:
    """Return a name in which what Python does not allow is an underscore."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{plain}" if not plain or plain[0].isdigit() or keyword.iskeyword(plain) else plain


def example_of(module: fx.GraphModule, model: Any) -> Example:
    """Make example inputs of the file's types and sizes, seeded."""
    holders = {n.meta["onnx_name"]: n for n in module.graph.nodes if n.op == "placeholder"}
    generator = torch.Generator().manual_seed(0)
    lengths: dict[str, int] = {}
    args, dynamic = [], {}
    for value in model.graph.input:
        if value.name not in holders:  # a weight, as old files list them
            continue
        name = str(holders[value.name].target)
        axes = {}
        shape = []
        declared = list(value.type.tensor_type.shape.dim)
        for axis, dim in enumerate(declared):
            if dim.HasField("dim_value"):
                shape.append(dim.dim_value)
                continue
            label = identifier(dim.dim_param or f"{name}_{axis}")
            axes[axis] = label
            usual = LENGTHS.get(len(declared), (2,) * len(declared))[axis]
            shape.append(lengths.setdefault(label, usual + axis))
        if axes:
            dynamic[name] = axes
        dtype = holders[value.name].meta["onnx_dtype"]
        args.append(random_tensor(shape, dtype, table_length(model, value.name), generator))
    return Example(module, tuple(args), dynamic=dynamic)


def random_tensor(
    shape: list[int], dtype: torch.dtype, count: int, generator: torch.Generator
) -> Tensor:
    """Return random numbers, or integers below `count`."""
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, count, shape, generator=generator).to(dtype)


def table_length(model: Any, name: str) -> int:
    """Return how many rows the tables have that an input selects from; 2 if there are none."""
    rows = {i.name: i.dims for i in model.graph.initializer}
    found = [2]
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[1] == name and node.input[0] in rows:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            found.append(int(rows[node.input[0]][axis]))
    return min(found[1:], default=2)


def compare_with_onnx(example: Example, model: Any, path: Path) -> None:
    """Run the import and ONNX's evaluator on the example inputs.

    Raises:
        MojoaccelError: MA207 one of them fails, MA202 they differ.
    """
    arrays = [a.float().numpy() if a.dtype == torch.bfloat16 else a.numpy() for a in example.args]
    names = [n.meta["onnx_name"] for n in example.module.graph.nodes if n.op == "placeholder"]
    try:
        with torch.no_grad():
            found = example.module(*example.args)
        expected = evaluate(model, path, dict(zip(names, arrays, strict=True)))
    except Exception as e:
        raise error(
            "MA207",
            f"{path.name} does not run on inputs of {sizes_text(example)}: {type(e).__name__}: {e}",
            hint="fix the dims in the file that cannot be chosen freely",
        ) from e
    wrong = [
        name
        for (name, ours), theirs in zip(found.items(), expected, strict=True)
        if not same(ours, theirs)
    ]
    if wrong:
        raise error(
            "MA202",
            f"the import of {path.name} computes something else than ONNX does: {', '.join(wrong)}",
            hint="compile the PyTorch model itself, or export it with other operators",
        )


def sizes_text(example: Example) -> str:
    """Describe the example inputs."""
    return ", ".join(str(list(a.shape)) for a in example.args)


def evaluate(model: Any, path: Path, inputs: dict[str, Any]) -> list[Any]:
    """Return a model's outputs by onnxruntime, or by onnx's evaluator where it is missing."""
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        return list(session.run(None, inputs))
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(None, inputs))


def same(ours: Tensor, theirs: Any) -> bool:
    """Whether two outputs agree as far as rounding lets them."""
    mine, reference = ours.to(torch.float64).numpy(), np.asarray(theirs, np.float64)
    if mine.shape != reference.shape:
        return False
    scale = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    return bool(np.allclose(mine, reference, 0.0, CLOSENESS * scale + 1e-6, equal_nan=True))
