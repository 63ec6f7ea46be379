"""manifest.json: what an artifact is, needs and was checked to do.

The manifest holds no time, path or host name, so equal inputs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mojoaccel.errors import error

FORMAT_VERSION = 1
ABI_VERSION = 1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output.

    Attributes:
        name: Name in the signature.
        dtype: PyTorch's name of the element type.
        shape: Integers, or expressions over the dims.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file of the artifact.

    Attributes:
        file: Path inside the artifact.
        size: Bytes.
        digest: `hashing.file_digest` of the content.
    """

    file: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of manifest.json.

    Attributes:
        name: The model's name.
        target: Target string it was compiled for.
        arch: Processor family, ``x86_64`` or ``aarch64``.
        system: Operating system, ``linux``.
        required_features: Processor flags the library may use.
        library: The shared library.
        weights: weights.bin; size 0 when the model has none.
        inputs: Inputs in flattened order.
        outputs: Outputs in flattened order.
        dims: Name -> [min, max]; max None is unbounded.
        in_tree: JSON structure of the call.
        out_tree: JSON structure of the result.
        states: Number of mutated buffers.
        producer: Versions of mojoaccel and of the compiler.
        options: Options the artifact was compiled with.
        passes: (pass, how often it changed something) in the order they ran.
        kernels: Names of the task functions.
        verification: Result of the comparison with PyTorch.
        check: Cases under check/.
        threads: Default number of threads; 0 is chosen at load.
        task: What the model is for, where that is known, for the server; empty otherwise.
        engine: What runs it: ``mojo`` (the native library itself) or ``max`` (the max package).
        parameters: For another engine: its weights by name, as ``[offset in bytes, PyTorch's name
            of the element type, shape]`` in weights.bin.
    """

    name: str
    target: str
    arch: str
    system: str
    required_features: tuple[str, ...]
    library: FileSpec
    weights: FileSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dims: Mapping[str, tuple[int, int | None]]
    in_tree: str
    out_tree: str
    states: int = 0
    producer: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    passes: tuple[tuple[str, int], ...] = ()
    kernels: tuple[str, ...] = ()
    verification: Mapping[str, Any] = field(default_factory=dict)
    check: tuple[Mapping[str, Any], ...] = ()
    threads: int = 0
    task: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "mojo"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    abi_version: int = ABI_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @staticmethod
    def from_json(data: Any) -> Manifest:
        """Read JSON data.

        Raises:
            MojoaccelError: MA604 another format, MA601 something is missing.
        """
        if not isinstance(data, dict):
            raise error("MA601", "manifest.json does not hold a JSON object")
        version = data.get("format_version")
        if version != FORMAT_VERSION:
            raise error("MA604", f"format version {version}; this version reads {FORMAT_VERSION}")
        abi = data.get("abi_version")
        if abi != ABI_VERSION:
            raise error("MA604", f"C interface version {abi}; this version calls {ABI_VERSION}")
        try:
            rest = dict(data)
            for key in ("inputs", "outputs"):
                rest[key] = tuple(
                    TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in data[key]
                )
            for key in ("library", "weights"):
                rest[key] = FileSpec(**data[key])
            for key in ("required_features", "kernels", "check"):
                rest[key] = tuple(data[key])
            rest["passes"] = tuple((n, c) for n, c in data["passes"])
            rest["dims"] = {n: (low, high) for n, (low, high) in data["dims"].items()}
            return Manifest(**rest)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise error("MA601", f"manifest.json is not complete: {e}") from e

    def text(self) -> str:
        """Return the file's text."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an artifact folder.

    Raises:
        MojoaccelError: MA601 there is none or it is damaged, MA604 another format.
    """
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise error("MA601", f"{folder} has no manifest.json") from e
    except (OSError, ValueError) as e:
        raise error("MA601", f"{folder}/manifest.json cannot be read: {e}") from e
    return Manifest.from_json(data)
