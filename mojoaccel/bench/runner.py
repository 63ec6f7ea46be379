"""How one way of running a model is driven: the protocol, and the artifact's own runner."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from mojoaccel.bench.workloads import Inputs
    from mojoaccel.runtime.max_model import MaxModel
    from mojoaccel.runtime.session import Session

Array = np.ndarray[Any, Any]


class Runner(Protocol):
    """One way of running the model, in a process of its own.

    Attributes:
        imports: Modules it needs, imported before `prepare` so that their time is seen.
    """

    imports: Sequence[str]

    def prepare(self) -> str:
        """Load (and where that is its way, compile) the model; return the version used."""
        ...

    def bind(self, inputs: Inputs) -> None:
        """Convert the inputs, once, to what `run` passes on."""
        ...

    def run(self) -> Any:
        """Run the model once: what is timed."""
        ...

    def arrays(self, answer: Any) -> list[Array]:
        """Return the answer of `run` as flat arrays; bfloat16 as uint16."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class MaxRunner:
    """An artifact that MAX compiled, run in the worker's own process.

    A session would start another process; who uses MAX himself needs none.
    """

    imports: Sequence[str] = ("numpy",)

    def __init__(self, path: Path, threads: int) -> None:
        """Remember what to load."""
        self._path = path
        self._threads = threads
        self._model: MaxModel | None = None
        self._inputs: list[Array] = []

    def prepare(self) -> str:
        """Open the artifact with so many processors: MAX takes a thread for each.

        Raises:
            MojoaccelError: MA106 MAX is missing, MA6xx the artifact is damaged.
        """
        from mojoaccel.artifact.manifest import read_manifest
        from mojoaccel.runtime.max_model import MaxModel, limit_processors
        from mojoaccel.runtime.session import check_files

        limit_processors(self._threads)
        manifest = read_manifest(self._path)
        check_files(self._path, manifest)
        self._model = MaxModel(self._path, manifest)
        return str(manifest.producer["compiler"])

    def bind(self, inputs: Inputs) -> None:
        """Keep the arrays as they are."""
        self._inputs = inputs.arrays

    def run(self) -> Any:
        """Run once on numpy arrays."""
        assert self._model is not None
        return self._model.run(self._inputs)

    def arrays(self, answer: Any) -> list[Array]:
        """Return the answer as it is."""
        return list(answer)

    def close(self) -> None:
        """Nothing to give back: the process ends."""


class ArtifactRunner:
    """The compiled artifact through its Python session."""

    imports: Sequence[str] = ("numpy", "mojoaccel.runtime.session")

    def __init__(self, path: Path, threads: int) -> None:
        """Remember what to load."""
        self._path = path
        self._threads = threads
        self._session: Session | None = None
        self._inputs: list[Array] = []

    def prepare(self) -> str:
        """Open the artifact.

        Raises:
            MojoaccelError: MA6xx or MA7xx, it cannot be loaded here.
        """
        load = importlib.import_module("mojoaccel.runtime.session").load
        self._session = load(self._path, threads=self._threads)
        return ""

    def bind(self, inputs: Inputs) -> None:
        """Keep the arrays as they are."""
        self._inputs = inputs.arrays

    def run(self) -> Any:
        """Run once on numpy arrays."""
        assert self._session is not None
        return self._session.run_flat(self._inputs)

    def arrays(self, answer: Any) -> list[Array]:
        """Return the answer as it is."""
        return list(answer)

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close()
