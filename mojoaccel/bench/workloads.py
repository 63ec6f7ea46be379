"""What a benchmark runs: a model, and one set of inputs at chosen sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mojoaccel.errors import error
from mojoaccel.ir.types import DTYPES, DType
from mojoaccel.runtime.sizes import evaluate, solve
from mojoaccel.verify import narrow

if TYPE_CHECKING:
    from mojoaccel.example import Example

Array = np.ndarray[Any, Any]
TOKEN_NAMES = ("ids", "input_ids", "tokens", "token_ids")


@dataclass(frozen=True)
class ModelSource:
    """Where a PyTorch model comes from; a worker process loads it again from this.

    Attributes:
        path: Anything ``mojoaccel compile`` takes, or a suite file.
        entry: Name of a model in the suite file; empty for anything else.
        dtype: ``f32`` keeps the model's types, ``bf16`` casts weights and floating inputs.
        dynamic: ``--dynamic`` declarations.
    """

    path: str
    entry: str = ""
    dtype: str = "f32"
    dynamic: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A short name."""
        return self.entry or Path(self.path.split(".py:")[0]).name.removesuffix(".py")

    def load(self) -> Example:
        """Construct the module and its example inputs.

        Raises:
            MojoaccelError: MA2xx, the model cannot be loaded.
        """
        from mojoaccel.example import Example
        from mojoaccel.trace.loader import import_file, load_model

        if self.entry:
            module, args = import_file(Path(self.path)).get(self.entry)
            example = Example(module, tuple(args))
        else:
            example = load_model(self.path).example
        example.module.eval()
        if self.dtype != "bf16":
            return example
        from mojoaccel.trace.export import to_bfloat16  # imports torch.export's tracer: seconds

        return to_bfloat16(example)


@dataclass(frozen=True)
class Input:
    """One input tensor.

    Attributes:
        name: Name in the model's signature.
        dtype: Short name of the element type, ``f32``, ``i64``, ...
        array: The values; bfloat16 as uint16.
        dims: Sizes of the axes that may vary: names of dims, or multiples of them.
    """

    name: str
    dtype: str
    array: Array
    dims: Mapping[int, str]


@dataclass(frozen=True)
class Inputs:
    """The flattened inputs of one call, in the model's order."""

    values: tuple[Input, ...]

    @property
    def arrays(self) -> list[Array]:
        """The arrays alone."""
        return [v.array for v in self.values]

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each named dim."""
        return dict(_solved(s, v.array.shape[a]) for v in self.values for a, s in v.dims.items())

    def at(self, sizes: Mapping[str, int], seed: int = 0) -> Inputs:
        """Return inputs with other sizes; those that change are drawn anew from their range.

        Raises:
            MojoaccelError: MA903, there is no such dim.
        """
        unknown = sizes.keys() - self.sizes.keys()
        if unknown:
            known = ", ".join(self.sizes) or "none"
            raise error("MA903", f"no dim is called {min(unknown)}", notes=[f"dims: {known}"])
        rng = np.random.default_rng(seed)
        return Inputs(tuple(_resize(v, sizes, rng) for v in self.values))

    def items(self) -> int:
        """Return the items of one call: the size of dim ``batch``, else the first input's first."""
        if "batch" in self.sizes:
            return self.sizes["batch"]
        first = next((v.array for v in self.values if v.array.ndim), None)
        return 1 if first is None else int(first.shape[0])

    def tokens(self) -> int | None:
        """Return the tokens of one call, or None where the model takes none.

        A token model has an integer input of two axes [batch, sequence]: the one called like
        `TOKEN_NAMES`, else the first.
        """
        found = [
            v for v in self.values if v.array.ndim == 2 and v.dtype in {"i64", "i32", "u8", "i16"}
        ]
        found.sort(key=lambda v: v.name not in TOKEN_NAMES)
        return int(found[0].array.size) if found else None

    def describe(self) -> list[str]:
        """Return ``name: type`` of each input."""
        return [
            f"{v.name}: {v.dtype}[{', '.join(str(s) for s in v.array.shape)}]" for v in self.values
        ]

    def save(self, folder: Path) -> None:
        """Write the inputs for the worker processes."""
        save_arrays(folder / "inputs.npz", self.arrays)
        head = [[v.name, v.dtype, {str(a): n for a, n in v.dims.items()}] for v in self.values]
        (folder / "inputs.json").write_text(json.dumps(head))

    @staticmethod
    def load(folder: Path) -> Inputs:
        """Read what `save` wrote."""
        arrays = load_arrays(folder / "inputs.npz")
        head = json.loads((folder / "inputs.json").read_text())
        return Inputs(
            tuple(
                Input(name, dtype, array, {int(a): n for a, n in dims.items()})
                for (name, dtype, dims), array in zip(head, arrays, strict=True)
            )
        )


def example_inputs(example: Example, dynamic: Sequence[str] = ()) -> Inputs:
    """Return a factory's example inputs, with its named dims and those of `dynamic`."""
    from mojoaccel.example import parse_dynamic
    from mojoaccel.ir.types import BY_TORCH
    from mojoaccel.trace.replay import example_arrays
    from mojoaccel.trace.structure import flatten_inputs

    leaves = flatten_inputs(example)
    declared = {name: dict(axes) for name, axes in example.dims().items()}
    for name, axes in parse_dynamic(dynamic).items():
        declared.setdefault(name, {}).update(axes)
    return Inputs(
        tuple(
            Input(
                name,
                BY_TORCH[str(tensor.dtype).removeprefix("torch.")].name,
                array,
                {axis: str(size) for axis, size in declared.get(name, {}).items()},
            )
            for name, tensor, array in zip(
                leaves.names, leaves.tensors, example_arrays(example), strict=True
            )
        )
    )


def parse_sizes(texts: Sequence[str]) -> dict[str, int]:
    """Read ``name=size`` declarations.

    Raises:
        MojoaccelError: MA903, one is not of that form.
    """
    sizes = {}
    for text in texts:
        name, equals, size = text.partition("=")
        if not equals or not size.isdecimal():
            raise error("MA903", f"{text!r} is not of the form dim=size")
        sizes[name.strip()] = int(size)
    return sizes


def save_arrays(path: Path, arrays: Sequence[Array]) -> None:
    """Write arrays in order."""
    np.savez(path, *arrays)


def load_arrays(path: Path) -> list[Array]:
    """Read what `save_arrays` wrote."""
    with np.load(path) as stored:
        return [stored[f"arr_{i}"] for i in range(len(stored.files))]


def _solved(size: str, actual: int) -> tuple[str, int]:
    """Return the dim that a size such as ``8*n`` is made of, and its value."""
    name, value = solve(size, {}, actual) or (size, None)
    if value is None:
        raise error("MA903", f"an input's size is {actual}, which no whole number makes of {size}")
    return name, value


def _resize(value: Input, sizes: Mapping[str, int], rng: np.random.Generator) -> Input:
    shape = list(value.array.shape)
    for axis, size in value.dims.items():
        name, own = _solved(size, shape[axis])
        shape[axis] = evaluate(size, {name: sizes.get(name, own)})
    if tuple(shape) == value.array.shape:
        return value
    seen = (0, 1)
    if value.array.size and value.array.dtype.kind in "iub" and value.dtype != "bf16":
        seen = (int(value.array.min()), int(value.array.max()))
    return replace(value, array=draw(DTYPES[value.dtype], tuple(shape), seen, rng))


def draw(
    dtype: DType, shape: tuple[int, ...], seen: tuple[int, int], rng: np.random.Generator
) -> Array:
    """Draw from a normal distribution; integers and booleans from the range `seen`."""
    if dtype.is_float:
        return narrow(rng.standard_normal(shape), dtype)
    if dtype.kind == "c":
        drawn = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        return drawn.astype(dtype.numpy)
    low, high = seen
    return rng.integers(low, high, shape, endpoint=True).astype(dtype.numpy)
