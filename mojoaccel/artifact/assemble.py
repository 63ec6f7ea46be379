"""Puts the files of an artifact into a folder.

model.maccel/
  manifest.json        what it is, needs and was checked to do
  lib/model.so         native code
  weights.bin          packed weights, mapped at load
  include/maccel.h     the C interface;  include/model.h  this model's inputs and outputs
  mojo/model.mojo      the source the library was built from
  check/               sample inputs, expected outputs, allowed errors
  LICENSES
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.check_arrays import write_arrays
from mojoaccel.artifact.hashing import file_digest
from mojoaccel.artifact.manifest import FileSpec, Manifest, TensorSpec
from mojoaccel.artifact.weights import write_weights_file
from mojoaccel.ir.plan import PackedWeight
from mojoaccel.products import MojoSource

HEADER = Path(__file__).parent / "include" / "maccel.h"
LICENSES = """The native library was compiled from Mojo source: the emitted model (mojo/) and the
kernels of mojoaccel, both under the Apache License 2.0. It contains no part of the Modular SDK.
The weights are the property of the model's authors and keep the model's licence.
"""

Array = np.ndarray[Any, Any]


def add_library(folder: Path, library: Path) -> FileSpec:
    """Copy the shared library; return its entry for the manifest."""
    target = folder / "lib" / "model.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(library, target)
    return FileSpec("lib/model.so", target.stat().st_size, file_digest(target))


def add_weights(
    folder: Path, weights: Sequence[PackedWeight], sources: Mapping[str, Array]
) -> FileSpec:
    """Write weights.bin; return its entry (an empty one for a model without weights).

    Args:
        folder: The artifact.
        weights: Layouts in file order.
        sources: Arrays by `PackedWeight.source`.
    """
    if not weights:
        return FileSpec("", 0, "")
    target = folder / "weights.bin"
    size = write_weights_file(target, weights, sources)
    return FileSpec("weights.bin", size, file_digest(target))


def add_sources(folder: Path, source: MojoSource, manifest: Manifest) -> None:
    """Write the emitted Mojo, the C headers and the licences."""
    for name, text in source.files:
        _write(folder / "mojo" / name, text)
    _write(folder / "include" / "maccel.h", HEADER.read_text(encoding="utf-8"))
    _write(folder / "include" / "model.h", model_header(manifest))
    _write(folder / "LICENSES", LICENSES)


def add_check(
    folder: Path,
    cases: Sequence[tuple[Mapping[str, int], Sequence[Array], Sequence[Array], Sequence[float]]],
) -> tuple[dict[str, Any], ...]:
    """Write check cases; return their entries for the manifest.

    Args:
        folder: The artifact.
        cases: (sizes of the dims, inputs, expected outputs, allowed error of each output).
    """
    entries = []
    for number, (sizes, inputs, expected, allowed) in enumerate(cases):
        place = folder / "check" / str(number)
        place.mkdir(parents=True, exist_ok=True)
        write_arrays(place, "input", inputs)
        write_arrays(place, "output", expected)
        entries.append(
            {
                "folder": f"check/{number}",
                "sizes": dict(sizes),
                "inputs": len(inputs),
                "outputs": len(expected),
                "allowed": [float(a) for a in allowed],
            }
        )
    return tuple(entries)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json."""
    _write(folder / "manifest.json", manifest.text())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def model_header(manifest: Manifest) -> str:
    """Return model.h: the signature as comments and constants."""

    def describe(t: TensorSpec) -> str:
        return f"{t.name}: {t.dtype}[{', '.join(str(s) for s in t.shape)}]"

    title = " ".join(manifest.name.split()).replace("*/", "* /")
    lines = [
        f"/* Model {title}, for {manifest.target}.",
        " *",
        *(f" * input {i}: {describe(t)}" for i, t in enumerate(manifest.inputs)),
        *(f" * output {i}: {describe(t)}" for i, t in enumerate(manifest.outputs)),
        *(f" * {n}: {_range(low, high)}" for n, (low, high) in manifest.dims.items()),
        " */",
        "#ifndef MODEL_H",
        "#define MODEL_H",
        '#include "maccel.h"',
        f"#define MODEL_NAME {json.dumps(manifest.name)}",
        f"#define MODEL_INPUTS {len(manifest.inputs)}",
        f"#define MODEL_OUTPUTS {len(manifest.outputs)}",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _range(low: int, high: int | None) -> str:
    return f"{low} and more" if high is None else f"{low} to {high}"
