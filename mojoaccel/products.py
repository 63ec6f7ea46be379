"""What the stages hand to each other: frozen, printable, with a digest.

`detect -> Target`, `trace -> TracedModel`, `optimize -> Plan`, `emit -> MojoSource`,
`build -> NativeLibrary`, `package -> Artifact`. Arrays travel beside the products as `Weights`,
so a product stays small and its digest covers weights through their own digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.errors import SourceLoc
from mojoaccel.ir.graph import Graph, Value
from mojoaccel.ir.plan import Plan

Weights = Mapping[str, "np.ndarray[Any, Any]"]
"""Arrays by digest; bfloat16 as uint16, bool as bool."""

STAGES = ("detect", "trace", "optimize", "emit", "build", "package")
"""The only names of the stages: options, cache buckets, timing rows and errors use them."""


def digest_bytes(*parts: bytes | str) -> str:
    """Return the hex SHA-256 of the parts, each prefixed by its length."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


def digest_json(data: Any) -> str:
    """Return the hex SHA-256 of `data` as canonical JSON."""
    return digest_bytes(json.dumps(data, sort_keys=True, separators=(",", ":"), default=str))


def digest_array(array: np.ndarray[Any, Any]) -> str:
    """Return the hex SHA-256 of an array's dtype, shape and bytes."""
    data = np.ascontiguousarray(array)  # which gives a number an axis
    h = hashlib.sha256(f"{data.dtype.str}{np.shape(array)}".encode())
    h.update(data.reshape(-1).view(np.uint8).data)
    return h.hexdigest()


@dataclass(frozen=True, slots=True)
class Target:
    """A machine to compile for.

    Attributes:
        name: ``cpu`` | ``reference`` | ``null``.
        triple: LLVM triple, e.g. ``x86_64-unknown-linux-gnu``.
        cpu: LLVM cpu name, always passed explicitly.
        features: LLVM feature flags in order, e.g. ``+avx512bf16``, ``-amx-tile``.
        required_features: Processor flags (``/proc/cpuinfo`` names) the code may use; the
            runtime checks them before it loads the library.
        simd_bytes: Width of a vector register in bytes.
        cores: Cores usable by this process; 0 when unknown (cross-compiling).
        l1d_bytes: L1 data cache of a core in bytes; 0 when unknown.
        l2_bytes: L2 cache of a core in bytes; 0 when unknown.
        l3_bytes: Last-level cache in bytes; 0 when unknown.
    """

    name: str
    triple: str = ""
    cpu: str = ""
    features: tuple[str, ...] = ()
    required_features: tuple[str, ...] = ()
    simd_bytes: int = 16
    cores: int = 0
    l1d_bytes: int = 0
    l2_bytes: int = 0
    l3_bytes: int = 0

    @property
    def arch(self) -> str:
        """First part of the triple: ``x86_64`` or ``aarch64``."""
        return self.triple.split("-")[0]

    @property
    def dot_pairs(self) -> bool:
        """Whether one instruction multiplies 32 bfloat16 and sums their pairs in float32."""
        return self.simd_bytes == 64 and "avx512_bf16" in self.required_features

    @property
    def amx(self) -> bool:
        """Whether there are tile registers that multiply bfloat16."""
        return self.dot_pairs and "amx_bf16" in self.required_features

    def code_key(self) -> dict[str, Any]:
        """The fields that change generated code (not the number of cores)."""
        return {
            "name": self.name,
            "triple": self.triple,
            "cpu": self.cpu,
            "features": list(self.features),
            "simd_bytes": self.simd_bytes,
            "l1d_bytes": self.l1d_bytes,
            "l2_bytes": self.l2_bytes,
        }

    def __str__(self) -> str:
        """Print the form that `--target` reads back."""
        if self.name != "cpu":
            return self.name
        return f"cpu:{self.triple}+{self.cpu}" + "".join(self.features)


@dataclass(frozen=True, slots=True)
class WeightRef:
    """Where a graph weight comes from.

    Attributes:
        value: Name of the weight's value in the graph.
        digest: `digest_array` of its content.
        source: ``param:<qualified name>``, ``buffer:<qualified name>`` or ``constant:<name>``.
    """

    value: str
    digest: str
    source: str


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A buffer that the model mutates: kept per session, written back after each run.

    Attributes:
        weight: Name of the graph weight that holds the initial value.
        output: Name of the graph value that becomes the next value.
    """

    weight: str
    output: str


@dataclass(frozen=True, slots=True)
class Signature:
    """How the user calls the model and what comes back.

    Attributes:
        inputs: User-visible input names and types, in flattened order.
        outputs: Output names and types, in flattened order.
        in_tree: JSON tree of the call: ``{"args": [tree, ...], "kwargs": {name: tree}}``; a tree
            is ``{"tensor": i}``, ``{"const": v}``, ``{"tuple"|"list": [...]}``,
            ``{"dict": {...}}``.
        out_tree: JSON tree of the result; other classes appear as
            ``{"object": "module.Class", "dict": {...}}``.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    in_tree: str
    out_tree: str


@dataclass(frozen=True, slots=True)
class TracedModel:
    """A model as a graph plus what is needed to call it and to find its weights.

    Attributes:
        graph: The traced graph, level ``torch``.
        signature: The user's view.
        weights: One reference per graph weight.
        states: Mutated buffers.
        example: Values of the dynamic dims in the example inputs.
        random_ranges: For each input (by name) that is an integer tensor: the inclusive range
            its example held, used to make fresh random inputs.
        written: Inputs that the module changes in place; the artifact does not.
    """

    graph: Graph
    signature: Signature
    weights: tuple[WeightRef, ...]
    states: tuple[StateSpec, ...] = ()
    example: tuple[tuple[str, int], ...] = ()
    random_ranges: tuple[tuple[str, tuple[int, int]], ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MojoSource:
    """Emitted Mojo.

    Attributes:
        files: File name to text; ``model.mojo`` is the module that is built.
        line_map: For lines of ``model.mojo`` (1-based) the PyTorch line they come from.
        kernels: Names of the emitted kernel functions, in order.
        code_digest: Digest of the code without comments and blank lines.
    """

    files: tuple[tuple[str, str], ...]
    line_map: tuple[tuple[int, SourceLoc], ...]
    kernels: tuple[str, ...]
    code_digest: str

    @property
    def main(self) -> str:
        """Text of ``model.mojo``."""
        return dict(self.files)["model.mojo"]


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """A linked shared library.

    Attributes:
        path: Where the library lies (cache or temporary folder).
        digest: Hex SHA-256 of its bytes.
        size: Bytes.
        commands: Command lines that made it, as run.
        compiler: Identity of the compiler (version and commit).
    """

    path: Path
    digest: str
    size: int
    commands: tuple[tuple[str, ...], ...]
    compiler: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished ``model.maccel`` folder or archive.

    Attributes:
        path: The folder or the zip.
        manifest: Content of manifest.json.
        size: Bytes in all.
    """

    path: Path
    manifest: dict[str, Any]
    size: int


__all__ = [
    "STAGES",
    "Artifact",
    "MojoSource",
    "NativeLibrary",
    "Plan",
    "Signature",
    "StateSpec",
    "Target",
    "TracedModel",
    "WeightRef",
    "Weights",
    "digest_array",
    "digest_bytes",
    "digest_json",
]
