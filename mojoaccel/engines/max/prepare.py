"""What is done to a traced graph before MAX sees it: the passes that need no plan of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mojoaccel.errors import error
from mojoaccel.ir.graph import Graph
from mojoaccel.passes.decompose import decompose
from mojoaccel.passes.eliminate_duplicates import (
    eliminate_dead,
    eliminate_duplicates,
    share_tied_weights,
)
from mojoaccel.passes.fold_constants import fold_constants
from mojoaccel.passes.fold_padding import fold_padding
from mojoaccel.passes.split_complex import split_complex
from mojoaccel.products import TracedModel, WeightRef


@dataclass(frozen=True)
class Prepared:
    """A model ready to be lowered.

    Attributes:
        traced: The model with the graph that runs.
        weight_graph: What is evaluated when the model is packaged, from the original weights.
        passes: Name of every pass, and how often it changed something.
    """

    traced: TracedModel
    weight_graph: Graph
    passes: tuple[tuple[str, int], ...]


def prepare(traced: TracedModel) -> Prepared:
    """Rewrite a model with the passes that our own engine begins with, too.

    Raises:
        MojoaccelError: MA302, the model changes its buffers.
    """
    if traced.states:
        changed = [s.weight for s in traced.states]
        raise error(
            "MA302",
            f"the MAX engine keeps no state between runs, the model changes {', '.join(changed)}",
            hint="give the state as an input and return it, or use --engine mojo",
        )
    ran: list[tuple[str, int]] = []

    def note(name: str, result: tuple[Graph, int]) -> Graph:
        ran.append((name, result[1]))
        return result[0]

    keep: frozenset[str] = frozenset()
    contents = {w.value: w.digest for w in traced.weights}
    graph = note("share_tied_weights", share_tied_weights(traced.graph, contents))
    graph = note("split_complex", split_complex(graph))
    graph = note("decompose", decompose(graph, keep))
    graph = note("eliminate_dead", eliminate_dead(graph, keep))
    graph = note("eliminate_duplicates", eliminate_duplicates(graph, keep))
    graph = note("fold_padding", fold_padding(graph, keep))
    folded = fold_constants(graph, keep)
    ran.append(("fold_constants", folded.count))
    known = {w.value: w for w in traced.weights}
    made = [known.get(w.name) or WeightRef(w.name, "-", "folded") for w in folded.graph.weights]
    ready = replace(traced, graph=folded.graph, weights=tuple(made))
    return Prepared(ready, folded.weight_graph, tuple(ran))
