"""The process of one MAX session: ``python -m`` this module with FOLDER THREADS FD IN OUT.

Arrays travel in shared memory (FD), inputs and then outputs, each at a multiple of 64 bytes.
Requests come as lines of JSON on IN, replies leave on OUT; it ends when IN is closed.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.manifest import read_manifest
from mojoaccel.errors import MojoaccelError
from mojoaccel.runtime.max_model import MaxModel, limit_processors

Layout = list[tuple[int, str, tuple[int, ...]]]
"""Offset, numpy's type and shape of each array."""


def place(specs: list[tuple[str, tuple[int, ...]]], start: int = 0) -> tuple[Layout, int]:
    """Lay arrays out one behind the other; return where each is, and the end."""
    found: Layout = []
    at = start
    for kind, shape in specs:
        at += -at % 64
        found.append((at, kind, tuple(shape)))
        at += np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))
    return found, at


def arrays_at(memory: Any, layout: Layout) -> list[np.ndarray[Any, Any]]:
    """Return the arrays of a layout, where they lie."""
    return [
        np.ndarray(shape, np.dtype(kind), memory, offset=offset) for offset, kind, shape in layout
    ]


def main(folder: Path, threads: int, shared: int, requests: int, replies: int) -> None:
    """Serve runs until the parent closes the pipe."""
    with os.fdopen(requests, encoding="utf-8") as lines, os.fdopen(replies, "w") as out:

        def reply(content: dict[str, Any]) -> None:
            out.write(json.dumps(content) + "\n")
            out.flush()

        try:
            count = limit_processors(threads)
            model = MaxModel(folder, read_manifest(folder))
        except MojoaccelError as e:
            found = e.diagnostics[0]
            reply({"code": found.code, "failed": found.message, "hint": found.hint})
            return
        except Exception as e:  # whatever MAX raises: the parent says it
            reply({"code": "MA703", "failed": f"{type(e).__name__}: {e}", "hint": ""})
            return
        reply({"threads": count})
        memory: Any = None
        for line in lines:
            request = json.loads(line)
            if memory is None or len(memory) < request["size"]:
                memory = mmap.mmap(shared, request["size"])
            try:
                results = model.run(arrays_at(memory, request["inputs"]))
                for target, result in zip(
                    arrays_at(memory, request["outputs"]), results, strict=True
                ):
                    np.copyto(target, result.reshape(target.shape), casting="no")
                reply({})
            except Exception as e:  # as above
                reply({"code": "MA703", "failed": f"{type(e).__name__}: {e}", "hint": ""})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:6]))
