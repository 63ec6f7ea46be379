"""The reference target: PyTorch interprets the traced graph. Slow, exact, and labelled as such."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mojoaccel.artifact.manifest import FileSpec, Manifest
from mojoaccel.errors import error
from mojoaccel.ir.text import parse_traced
from mojoaccel.log import log
from mojoaccel.packaging import spec_of
from mojoaccel.runtime.session import Session
from mojoaccel.runtime.tensors import as_array, as_tensor
from mojoaccel.weights import StoredWeights


class ReferenceSession(Session):
    """A session whose answers PyTorch computes; nothing in it was compiled."""

    simulated = True

    def __init__(self, folder: Path) -> None:
        """Read the graph and map the weights."""
        log.warning("simulated: PyTorch interprets the graph; nothing was compiled")
        traced = parse_traced((folder / "graph.ir").read_text(encoding="utf-8"))
        replay = importlib.import_module("mojoaccel.trace.replay")
        self._interpret = replay.graph_runner(traced, StoredWeights(folder))
        self._open = True
        manifest = Manifest(
            name=traced.graph.name,
            target="reference",
            arch="",
            system="",
            required_features=(),
            library=FileSpec("", 0, ""),
            weights=FileSpec("", 0, ""),
            inputs=tuple(spec_of(v) for v in traced.signature.inputs),
            outputs=tuple(spec_of(v) for v in traced.signature.outputs),
            dims={d.name: (d.min, d.max) for d in traced.graph.dims},
            in_tree=traced.signature.in_tree,
            out_tree=traced.signature.out_tree,
        )
        self._describe(folder, manifest)

    def _run(self, values: Sequence[Any], tensors: bool) -> list[Any]:
        """Interpret the graph on flattened inputs; return arrays or torch tensors."""
        if not self._open:
            raise error("MA704", "the session is closed")
        arrays = [as_array(v) for v in values]
        self._layouts.check([a.shape for a, _ in arrays], [name for _, name in arrays])
        with self._lock:
            results = list(self._interpret([a for a, _ in arrays]))
        if not tensors:
            return results
        return [as_tensor(r, o.dtype) for r, o in zip(results, self.manifest.outputs, strict=True)]

    def reset(self) -> None:
        """Do nothing: every run of the interpreter starts from the initial state."""

    def close(self) -> None:
        """Refuse further runs."""
        self._open = False
