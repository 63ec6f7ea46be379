"""Checks inputs against the signature, and reads the dynamic dims from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mojoaccel.artifact.manifest import TensorSpec
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.runtime.sizes import evaluate, solve
from mojoaccel.runtime.tensors import Shape

Ranges = Mapping[str, tuple[int, int | None]]


def read_dims(
    specs: Sequence[TensorSpec], shapes: Sequence[Shape], ranges: Ranges
) -> dict[str, int]:
    """Check every shape; return the size of each dim.

    Args:
        specs: Inputs of the signature.
        shapes: One shape per input.
        ranges: Dim -> (min, max); max None is unbounded.

    Raises:
        MojoaccelError: MA702, a shape does not fit.
    """
    dims: dict[str, int] = {}
    # A size such as 2*n may stand before the input that gives n, so dims are read first.
    for spec, shape in zip(specs, shapes, strict=True):
        if len(shape) != len(spec.shape):
            raise _misfit(spec, shape)
        for axis, size in enumerate(spec.shape):
            if isinstance(size, str) and size in ranges and size not in dims:
                dims[size] = shape[axis]
                _check_range(spec, axis, size, dims[size], ranges[size])
    _read_multiples(specs, shapes, ranges, dims)
    for spec, shape in zip(specs, shapes, strict=True):
        for axis, (size, got) in enumerate(zip(spec.shape, shape, strict=True)):
            want = evaluate(size, dims)
            if got != want:
                raise _misfit(spec, shape, f" (axis {axis} must be {want})")
    return dims


def check_dtype(spec: TensorSpec, dtype: str) -> None:
    """Refuse another element type; bfloat16 may come as the same bits in uint16.

    Raises:
        MojoaccelError: MA702.
    """
    if dtype != spec.dtype and not (spec.dtype == "bfloat16" and dtype == "uint16"):
        raise error("MA702", f"input {spec.name}: expected {spec.dtype}, got {dtype}")


def _read_multiples(
    specs: Sequence[TensorSpec], shapes: Sequence[Shape], ranges: Ranges, dims: dict[str, int]
) -> None:
    """Read the dims that stand only in multiples, such as ``8*n``, into `dims`."""
    if len(dims) == len(ranges):
        return
    for spec, shape in zip(specs, shapes, strict=True):
        for axis, (size, got) in enumerate(zip(spec.shape, shape, strict=True)):
            found = solve(size, dims, got) if isinstance(size, str) else None
            if found is None:
                continue
            dim, value = found
            if value is None:
                where = f"input {spec.name}, axis {axis}"
                raise error("MA702", f"{where}: expected {size} with a whole {dim}, got {got}")
            dims[dim] = value
            _check_range(spec, axis, dim, value, ranges[dim])


def _check_range(
    spec: TensorSpec, axis: int, dim: str, got: int, limits: tuple[int, int | None]
) -> None:
    low, high = limits
    if got < low or (high is not None and got > high):
        allowed = f"{low} and more" if high is None else f"{low} to {high}"
        raise error(
            "MA702",
            f"input {spec.name}, axis {axis}: dim {dim} is {got}, allowed are {allowed}",
        )


def _misfit(spec: TensorSpec, shape: Shape, reason: str = "") -> MojoaccelError:
    expected = ", ".join(str(s) for s in spec.shape)
    message = f"input {spec.name}: expected shape [{expected}], got {list(shape)}"
    return error("MA702", message + reason)
