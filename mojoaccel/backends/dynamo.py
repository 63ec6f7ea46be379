"""``torch.compile(model, backend="mojoaccel")``: inference graphs through the pipeline.

Dynamo hands over graphs with the model's parameters among their inputs. Parameters become weights
of the artifact and are watched through PyTorch's version counters: a change compiles anew, and a
tensor that keeps changing becomes an input. Sizes that dynamo left symbolic become dynamic dims.
What a graph writes into its inputs is written back after each run; outputs that are views of inputs
are views of them again. A graph that cannot be compiled runs eager, with one warning that names the
reason; with ``fullgraph=True`` that is an error.

Writes through ``tensor.data`` are not seen by PyTorch's version counters; after those, call
``torch.compiler.reset()``.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from mojoaccel.backends.captured import (
    Effects,
    Part,
    View,
    effects_of,
    explain_failure,
    free_numbers,
    functional_part,
    is_tensor,
    is_weight,
    refuse_shared,
)
from mojoaccel.errors import MojoaccelError, error

RESTLESS = 2
"""A weight that changed more often than this is an input from then on."""
VARIANTS = 8
"""Artifacts of one graph for different numbers among its inputs; as dynamo's recompile limit."""
KEPT = 64
"""Combinations of shapes whose effects are remembered."""
LEVELS = {
    "default": "O2",
    "reduce-overhead": "O2",
    "max-autotune": "O3",
    "max-autotune-no-cudagraphs": "O3",
}
"""Optimization level for each mode of ``torch.compile``."""


def mojoaccel_backend(
    graph: fx.GraphModule,
    inputs: Sequence[Any],
    *,
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Return what runs a graph of dynamo's; the entry point of ``torch_dynamo_backends``.

    Args:
        graph: What was captured; it is compiled when it is first called.
        inputs: Tensors and sizes of the call that was captured.
        mode: Of ``torch.compile``; ``max-autotune`` searches for the best tiles.
        options: Keyword arguments of `mojoaccel.compile`, such as ``threads``.

    Raises:
        MojoaccelError: MA903, there is no such mode.
    """
    if mode is not None and mode not in LEVELS:
        raise error("MA903", f"mode {mode!r} is none of {', '.join(LEVELS)}")
    chosen = {"optimization": LEVELS[mode]} if mode is not None else {}
    free = free_numbers(graph, inputs)
    return CompiledGraph(graph, free, {**chosen, **(options or {})}, asked_for_full_graph())


def asked_for_full_graph() -> bool:
    """Whether dynamo is translating for ``torch.compile(fullgraph=True)``."""
    from torch._dynamo.symbolic_convert import InstructionTranslator

    try:
        return bool(InstructionTranslator.current_tx().one_graph)
    except AttributeError:  # called without dynamo
        return False


_warned: set[str] = set()


def warn_of(problem: MojoaccelError) -> None:
    """Say once why a graph runs eager."""
    text = "; ".join(f"{d.code} {d.message}" for d in problem.diagnostics)
    if text not in _warned:
        _warned.add(text)
        warnings.warn(f"mojoaccel leaves a graph to PyTorch: {text}", stacklevel=2)


@dataclass
class Variant:
    """A graph compiled for the numbers among its inputs, and the weights as they were.

    Attributes:
        part: What was compiled.
        session: Its artifact; None if nothing is computed.
        weights: Places of the inputs that became weights.
        versions: What tells whether those have changed.
        held: Those weights: while they live, nothing else takes their addresses.
    """

    part: Part
    session: Any
    weights: tuple[int, ...]
    versions: list[tuple[int, int]]
    held: list[Tensor]

    def changed(self, args: Sequence[Any]) -> list[int]:
        """Return the weights that changed since they were packed."""
        now = versions_of(args, self.weights)
        if now == self.versions:
            return []
        return [p for p, a, b in zip(self.weights, now, self.versions, strict=True) if a != b]


def versions_of(args: Sequence[Any], places: Sequence[int]) -> list[tuple[int, int]]:
    """Return address and version counter of some inputs."""
    return [(args[i].data_ptr(), args[i]._version) for i in places]


@dataclass
class CompiledGraph:
    """What dynamo calls in place of a graph; compiles when it must.

    Attributes:
        graph: Dynamo's own graph.
        free: Inputs that are numbers and no axis's size: each value compiles anew.
        options: Of `mojoaccel.compile`.
        strict: Whether failing to compile is an error.
        eager: PyTorch runs the graph from now on.
        rigid: Its sizes cannot be dims; each combination is compiled.
    """

    graph: fx.GraphModule
    free: tuple[int, ...]
    options: dict[str, Any]
    strict: bool
    eager: bool = False
    rigid: bool = False
    variants: dict[tuple[Any, ...], Variant] = field(default_factory=dict)
    changes: Counter[int] = field(default_factory=Counter)
    known: dict[tuple[Any, ...], Effects] = field(default_factory=dict)

    def __call__(self, *args: Any) -> Any:
        """Run the graph on dynamo's inputs."""
        if not self.eager:
            try:
                return self._run(args)
            except MojoaccelError as problem:
                if self.strict:
                    raise
                warn_of(problem)
                self.eager = True
        return self.graph.forward(*args)

    def _run(self, args: Sequence[Any]) -> list[Any]:
        if torch.is_grad_enabled() and any(is_tensor(a) and a.requires_grad for a in args):
            raise error(
                "MA202",
                "gradients are asked for, and only inference is compiled; call the model under "
                "torch.no_grad() or torch.inference_mode()",
            )
        effects = self._effects(args)
        variant = self._variant(args, effects)
        results: list[Any] = []
        if variant.session is not None:
            refuse_shared(effects.written, args)
            inputs = [args[i].detach() for i in variant.part.places]
            results = list(variant.session(*inputs))
        count = len(results) - len(effects.written)
        for place, value in zip(effects.written, results[count:], strict=True):
            args[place].detach().copy_(value)
        return assemble(effects, args, results[:count])

    def _effects(self, args: Sequence[Any]) -> Effects:
        """Return the graph's effects for inputs of these shapes."""
        found = self.known.get(())
        if found is not None:
            return found
        key = tuple((tuple(a.shape), a.stride()) if is_tensor(a) else a for a in args)
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= KEPT:
                self.known.clear()
            found = effects_of(self.graph, args)
            self.known[() if found.same_for_all_shapes else key] = found
        return found

    def _variant(self, args: Sequence[Any], effects: Effects) -> Variant:
        """Return an artifact that holds the weights as they are now."""
        key = (*(args[i] for i in self.free), effects.written, tuple(effects.computed))
        if self.rigid:
            key += tuple(tuple(a.shape) for a in args if is_tensor(a))
        found = self.variants.get(key)
        changed = found.changed(args) if found is not None else []
        if found is not None and not changed:
            return found
        self.changes.update(changed)
        if found is None and len(self.variants) >= VARIANTS:
            raise error("MA204", f"a size or number among its inputs took {VARIANTS} values")
        try:
            made = self._compile(args, effects)
        except MojoaccelError as problem:
            if self.rigid or problem.diagnostics[0].code != "MA205":
                raise
            self.rigid = True
            return self._variant(args, effects)
        self.variants[key] = made
        return made

    def _compile(self, args: Sequence[Any], effects: Effects) -> Variant:
        holders = [n for n in self.graph.graph.nodes if n.op == "placeholder"]
        weights = {
            i: f"weight_{i}"
            for i, a in enumerate(args)
            if is_weight(a, holders[i]) and i not in effects.written and self.changes[i] <= RESTLESS
        }
        part = functional_part(self.graph, args, effects, weights, fixed=self.rigid)
        session = None
        if effects.computed or effects.written:
            session = compile_part(part, [args[i].detach() for i in part.places], self.options)
        held = [args[i].detach() for i in weights]
        return Variant(part, session, tuple(weights), versions_of(args, tuple(weights)), held)


def compile_part(part: Part, inputs: Sequence[Tensor], options: Mapping[str, Any]) -> Any:
    """Compile a part for inputs like these; return a session.

    Raises:
        MojoaccelError: As `mojoaccel.compile`.
    """
    from mojoaccel.api import compile as compile_module

    shapes = part.axes if any(part.axes) else None
    try:
        with torch.inference_mode(False), torch.no_grad():
            examples = tuple(i.clone() if i.is_inference() else i for i in inputs)
            with tempfile.TemporaryDirectory(prefix="mojoaccel-") as folder:
                place = {"output": Path(folder) / "graph.maccel"}
                return compile_module(
                    part.graph, examples, dynamic_shapes=shapes, **{**place, **options}
                )
    except MojoaccelError:
        raise
    except Exception as e:  # of PyTorch's tracer, or of what a graph holds
        raise explain_failure(e) from e


def assemble(effects: Effects, args: Sequence[Any], computed: Sequence[Tensor]) -> list[Any]:
    """Return the graph's outputs: new tensors, views of inputs and of outputs, constants."""
    new = dict(zip(effects.computed, computed, strict=True))
    results: list[Any] = []
    for index, output in enumerate(effects.outputs):
        if isinstance(output, View):
            base = args[output.index] if output.of_input else new[output.index]
            results.append(output.of(base))
        else:
            results.append(new.get(index, output))
    return results
