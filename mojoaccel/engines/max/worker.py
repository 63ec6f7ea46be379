"""Lowers and compiles in a process of its own: ``python -m mojoaccel.engines.max.worker FOLDER``.

Reads ``graph.ir``, writes ``model.mef`` and ``parameters.json``; what cannot be compiled goes to
``findings.json``. With a second argument ``check`` nothing is compiled. What MAX prints is the
parent's to keep: its logs, and the process, if it ends it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from mojoaccel.engines.max.lowering import lower
from mojoaccel.engines.max.table import TABLE
from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.text import parse_traced


def main(folder: Path, check: bool) -> None:
    """Do the work of one compile."""
    traced = parse_traced((folder / "graph.ir").read_text(encoding="utf-8"))
    try:
        graph, parameters = lower(traced.graph, TABLE)
    except MojoaccelError as e:
        found = [_plain(d) for d in e.diagnostics]
        (folder / "findings.json").write_text(json.dumps(found), encoding="utf-8")
        return
    if check:
        return
    engine = importlib.import_module("max.engine")
    engine.InferenceSession().compile(graph).export_mef(folder / "model.mef")
    taken = [[p.name, p.weight, p.axes] for p in parameters.values()]
    (folder / "parameters.json").write_text(json.dumps(taken), encoding="utf-8")


def _plain(found: Any) -> list[Any]:
    loc = None if found.loc is None else found.loc.to_json()
    return [found.code, found.message, loc, list(found.notes), found.hint]


if __name__ == "__main__":
    main(Path(sys.argv[1]), check=sys.argv[2:] == ["check"])
