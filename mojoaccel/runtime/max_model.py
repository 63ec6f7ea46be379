"""A model that MAX runs, in this process.

MAX makes its threads once a process, as many as the process may use processors when its first
session is made; asking it for another number ends the process (MAX 26.7). So the number of threads
is set by the processors that this process may use, and a process serves one number: `max_session`
starts one for each session.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from mojoaccel.artifact.manifest import Manifest
from mojoaccel.errors import error
from mojoaccel.runtime.tensors import Array


def require_max(manifest: Manifest) -> None:
    """Refuse to run without MAX, or with another release than compiled the model.

    Raises:
        MojoaccelError: MA106.
    """
    wanted = str(manifest.producer.get("compiler", "MAX ?")).partition(" ")[2]
    hint = f"pip install max=={wanted}"
    if importlib.util.find_spec("max") is None:
        raise error("MA106", "this artifact runs on MAX, and the max package is missing", hint=hint)
    from importlib import metadata

    found = metadata.version("max")
    if found != wanted:
        raise error("MA106", f"this artifact was made by MAX {wanted}, here is {found}", hint=hint)


def limit_processors(threads: int) -> int:
    """Leave this process `threads` of its processors, before MAX is imported; return how many.

    More than there are cannot be given: MAX takes one thread a processor.
    """
    usable = sorted(os.sched_getaffinity(0))
    chosen = usable[: max(1, threads)]
    os.sched_setaffinity(0, chosen)
    return len(chosen)


class MaxModel:
    """A compiled model with its weights mapped; runs must not overlap."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Open ``model.mef``.

        Raises:
            MojoaccelError: MA106, the package is missing or of another release.
        """
        require_max(manifest)
        driver = importlib.import_module("max.driver")
        self._buffer = driver.Buffer
        self._dtypes = importlib.import_module("max.dtype").DType
        file = folder / manifest.weights.file
        weights = {
            name: self._buffer.mmap(file, getattr(self._dtypes, dtype), tuple(shape), offset=offset)
            for name, (offset, dtype, shape) in manifest.parameters.items()
        }
        session = importlib.import_module("max.engine").InferenceSession()
        compiled = session.compile(folder / manifest.library.file)
        self._model = session.init(compiled, weights_registry=weights)
        self._kept = (session, weights)  # the model reads the weights where they are
        self._inputs = [t.dtype for t in manifest.inputs]
        self._outputs = [t.dtype for t in manifest.outputs]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Run on flattened inputs (bfloat16 as uint16, as the outputs)."""
        given = [
            self._buffer.from_numpy(a).view(self._dtypes.bfloat16) if t == "bfloat16" else a
            for a, t in zip(arrays, self._inputs, strict=True)
        ]
        found = self._model.execute(*given)
        return [
            (b.view(self._dtypes.uint16) if t == "bfloat16" else b).to_numpy()
            for b, t in zip(found, self._outputs, strict=True)
        ]
