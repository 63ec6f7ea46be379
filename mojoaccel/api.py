"""The Python API: compile a module (or a file) and get a session."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mojoaccel.cache import open_cache
from mojoaccel.deliver import Delivery
from mojoaccel.driver import Compiler
from mojoaccel.errors import Diagnostic, error
from mojoaccel.example import Example
from mojoaccel.ir.dims import Axis, Dim
from mojoaccel.job import Request
from mojoaccel.loading import load
from mojoaccel.products import Target
from mojoaccel.runtime.session import Session
from mojoaccel.settings import Settings, compile_options, load_settings, read_given


def compile(
    model: Any,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic: Mapping[str, Mapping[int, str | Dim | Axis]] | None = None,
    dynamic_shapes: Any = None,
    optimization: str | int = "O2",
    dtype: str | None = None,
    threads: int | None = None,
    target: str = "cpu",
    engine: str = "mojo",
    output: str | Path | None = None,
    verify: bool = True,
    ops: Sequence[str | Path] = (),
) -> Session:
    """Compile a model and load what came out.

    Args:
        model: A ``torch.nn.Module``, an `Example`, or anything ``mojoaccel compile`` takes.
        args: Example positional inputs, for a module.
        kwargs: Example keyword inputs, for a module.
        dynamic: Dims that vary, for a module: axes by input name, as `Example.dynamic`.
        dynamic_shapes: The same in ``torch.export.export``'s form.
        optimization: ``O0`` to ``O3``.
        dtype: ``f32`` keeps the module's types, ``bf16`` computes in bfloat16.
        threads: Threads of the session; chosen at load if None.
        target: As ``--target``.
        engine: ``mojo`` or ``max`` (which needs the max package).
        output: Where the artifact goes; it is not kept if None.
        verify: Compare with PyTorch before anything is returned.
        ops: Files of operators of your own.

    Raises:
        MojoaccelError: The model cannot be compiled (MA2xx to MA6xx), or the environment does
            not allow it (MA1xx).
    """
    given = {
        "optimization": optimization,
        "dtype": dtype,
        "threads": threads,
        "target": target,
        "engine": engine,
        "verify": verify,
        "ops": tuple(str(p) for p in ops) or None,
    }
    with tempfile.TemporaryDirectory(prefix="mojoaccel-") as folder:
        place = Path(output) if output is not None else Path(folder) / "model.maccel"
        settings = load_settings()
        defaults = Settings().values("compile", read_given("compile", given))
        values = {**defaults, "output": str(place)}
        request = Request(
            _as_model(model, args, kwargs, dynamic, dynamic_shapes),
            compile_options(values),
            engine=engine,
        )
        cache = open_cache(settings.values("cache", {})["size"], _warn)
        report = Compiler(cache).compile(request, Delivery(values).receive)
        for found in report.warnings:
            _warn(found)
        # The session keeps its files mapped, so the folder may go once it is open.
        return load(place, threads)


def detect(target: str = "cpu") -> Target:
    """Return what mojoaccel knows about this machine (or about `target`)."""
    from mojoaccel.targets.probe import detect as look

    return look(target)


def _as_model(
    model: Any, args: tuple[Any, ...], kwargs: Any, dynamic: Any, dynamic_shapes: Any
) -> Any:
    if isinstance(model, (str, Path)):
        return str(model)
    if isinstance(model, Example):
        return model
    example = Example(model, tuple(args), dict(kwargs or {}), dict(dynamic or {}))
    if dynamic_shapes is None:
        return example
    return Example(
        model, example.args, example.kwargs, read_dynamic_shapes(example, dynamic_shapes)
    )


def read_dynamic_shapes(example: Example, shapes: Any) -> dict[str, dict[int, Axis]]:
    """Translate torch.export's ``dynamic_shapes`` into declarations by input name.

    Raises:
        MojoaccelError: MA903, a part of it has no translation.
    """
    bound = inspect.signature(example.module.forward).bind(*example.args, **example.kwargs)
    arguments = dict(bound.arguments)
    if not isinstance(shapes, Mapping):
        if len(shapes) != len(arguments):
            raise error(
                "MA903",
                f"dynamic_shapes has {len(shapes)} entries for {len(arguments)} arguments",
                notes=[f"arguments: {', '.join(arguments)}"],
            )
        shapes = dict(zip(arguments, shapes, strict=True))
    found: dict[str, dict[int, Axis]] = {}
    for name, value in arguments.items():
        _read_shape(name, value, shapes.get(name), found)
    return found


def _read_shape(name: str, value: Any, spec: Any, found: dict[str, dict[int, Axis]]) -> None:
    if spec is None:
        return
    if isinstance(value, (Mapping, tuple, list)):
        kind = Mapping if isinstance(value, Mapping) else (tuple, list)
        if not isinstance(spec, kind) or len(spec) != len(value):
            raise error("MA903", f"dynamic_shapes does not follow the structure of {name}")
    if hasattr(value, "shape"):
        axes = spec.items() if isinstance(spec, Mapping) else enumerate(spec)
        read = {axis: _read_axis(name, axis, dim) for axis, dim in axes}
        found[name] = {axis: dim for axis, dim in read.items() if dim is not None}
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _read_shape(f"{name}_{key}", item, spec.get(key), found)
    elif isinstance(value, (tuple, list)):
        for index, (item, part) in enumerate(zip(value, spec, strict=True)):
            _read_shape(f"{name}_{index}", item, part, found)


def _read_axis(name: str, place: int, dim: Any) -> Axis | None:
    """Read a ``torch.export.Dim`` or what is derived from one, ``8*dim + 1``.

    The unnamed hints (AUTO, DYNAMIC) get a name of their own.
    """
    is_hint = type(dim).__name__ == "_DimHint"
    if dim is None or isinstance(dim, int) or (is_hint and "STATIC" in str(dim)):
        return None
    root = getattr(dim, "root", dim)
    label = f"{name}_{place}" if is_hint else getattr(root, "__name__", "")
    if not label.isidentifier():
        raise error("MA903", f"axis {place} of {name} is {dim}; only Dims can be compiled")
    high = getattr(root, "max", None)
    low = getattr(root, "min", None) or 1
    times, plus = (1, 0) if root is dim else (dim.fn(1) - dim.fn(0), dim.fn(0))
    return Axis(Dim(label, low, high if isinstance(high, int) else None), times, plus)


def _warn(found: Diagnostic) -> None:
    import warnings

    warnings.warn(f"{found.code} {found.name}: {found.message}", stacklevel=3)
