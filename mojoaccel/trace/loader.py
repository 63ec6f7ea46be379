"""Loads what `compile` is given: a file's factory, a module, a .pt2 or .onnx file, a folder."""

from __future__ import annotations

import importlib.util
import inspect
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import torch

from mojoaccel.errors import MojoaccelError, error
from mojoaccel.example import Example
from mojoaccel.trace import huggingface
from mojoaccel.trace.place import find_model
from mojoaccel.trace.quiet import quiet_torch
from mojoaccel.trace.source import error_location, is_user_file

PREFERRED = ("example", "factory", "model", "main_model")
"""Names of factories tried first when a file holds several."""


@dataclass
class LoadedModel:
    """A model ready to be traced.

    Attributes:
        name: Name of the model (its class).
        example: The module with its example inputs.
        program: An exported program, when the model came as a ``.pt2`` file.
        sources: Files the model was made from, for make rules and cache keys.
        folder: The Hugging Face folder it came from, if any.
    """

    name: str
    example: Example
    program: Any = None
    sources: list[Path] = field(default_factory=list)
    folder: Path | None = None


def load_model(model: Any) -> LoadedModel:
    """Load a model.

    Args:
        model: ``file.py``, ``file.py:factory``, ``model.pt2``, ``model.onnx``, a Hugging Face
            folder, or an `Example`.

    Raises:
        MojoaccelError: MA201 no such file, MA206 no usable factory, MA207 the model's code failed,
            MA209 a package is missing.
    """
    if isinstance(model, Example) and model.folder is not None:
        return from_folder(model)
    if isinstance(model, Example):
        return LoadedModel(type(model.module).__name__, model, sources=user_sources())
    path, factory = find_model(str(model))
    if path.is_dir():
        return load_folder(path)
    if path.suffix == ".pt2":
        return load_program(path)
    if path.suffix == ".onnx":
        from mojoaccel.trace.onnx_model import load_onnx

        return LoadedModel(path.stem, load_onnx(path), sources=[path.resolve()])
    if path.suffix != ".py":
        raise error("MA201", f"{path} is not a model file")
    return load_file(path, factory)


def load_file(path: Path, factory: str) -> LoadedModel:
    """Run a factory of a Python file."""
    module = import_file(path)
    function = choose_factory(module, path, factory)
    try:
        made = function()
    except MojoaccelError:
        raise
    except ModuleNotFoundError as e:
        raise error(
            "MA209", f"{path.name} needs the package {e.name}", loc=error_location(e)
        ) from e
    except (Exception, SystemExit) as e:
        if _terminated(e):
            raise
        message = f"{function.__name__}() failed: {type(e).__name__}: {e}"
        raise error("MA207", message, loc=error_location(e)) from e
    example = as_example(made, f"{path.name}:{function.__name__}")
    sources = [path.resolve(), *(s for s in user_sources() if s != path.resolve())]
    return LoadedModel(type(example.module).__name__, example, sources=sources)


class _Fresh(SourceFileLoader):
    """Reads the source: bytecode is stale after an edit in the same second and of equal size."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def import_file(path: Path) -> ModuleType:
    """Import a file as a module, its folder first on the path while it runs."""
    name = f"mojoaccel_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as e:
        raise error(
            "MA209", f"{path.name} needs the package {e.name}", loc=error_location(e)
        ) from e
    except (Exception, SystemExit) as e:
        if _terminated(e):
            raise
        raise error("MA207", f"{type(e).__name__}: {e}", loc=error_location(e)) from e
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def _terminated(e: BaseException) -> bool:
    """Whether SIGTERM ends the process, rather than the user's code by ``sys.exit``."""
    return isinstance(e, SystemExit) and e.code == 128 + signal.SIGTERM


def choose_factory(module: ModuleType, path: Path, name: str) -> Callable[[], Any]:
    """Return the factory called `name`, or the only one of a file.

    Raises:
        MojoaccelError: MA206, there is no such function, or no single candidate.
    """
    if name:
        found = getattr(module, name, None)
        if not callable(found):
            raise error("MA206", f"{path.name} has no function {name}")
        return found  # type: ignore[no-any-return]
    own = {
        n: f
        for n, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not n.startswith("_")
    }
    callable_bare = {n: f for n, f in own.items() if not _required(f)}
    for preferred in PREFERRED:
        if preferred in callable_bare:
            return callable_bare[preferred]
    if len(callable_bare) != 1:
        names = ", ".join(callable_bare) or "none"
        raise error(
            "MA206",
            f"{path.name} has no single factory (functions without arguments: {names})",
            hint=f"name one: {path.name}:NAME",
        )
    return next(iter(callable_bare.values()))


def _required(function: Callable[..., Any]) -> bool:
    return any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in inspect.signature(function).parameters.values()
    )


def as_example(made: Any, where: str) -> Example:
    """Read what a factory returned."""
    if isinstance(made, Example):
        example = made
    elif isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module):
        args = made[1] if isinstance(made[1], tuple) else (made[1],)
        example = Example(made[0], args)
    else:
        raise error("MA206", f"{where} returned {type(made).__name__}")
    if not isinstance(example.module, torch.nn.Module):
        raise error("MA206", f"{where} returned no torch.nn.Module")
    return example


def load_program(path: Path) -> LoadedModel:
    """Load an exported program; its own example inputs and dynamic dims are used."""
    try:
        with quiet_torch():
            program = torch.export.load(path)
    except Exception as e:
        raise error("MA202", f"{path.name} cannot be read: {type(e).__name__}: {e}") from e
    keep_symbol_ranges(program)
    if program.example_inputs is None:
        raise error("MA206", f"{path.name} was saved without example inputs")
    args, kwargs = program.example_inputs
    example = Example(program.module(), tuple(args), dict(kwargs))
    return LoadedModel(path.stem, example, program, [path.resolve()])


def keep_symbol_ranges(program: Any) -> None:
    """Forget the ranges of multiples such as ``8*n``.

    torch 2.13 reads them back among the ranges of symbols, where its own decompositions then fail;
    the range of the symbol itself is there as well.
    """
    from torch._export.utils import _get_shape_env_from_gm

    shapes = _get_shape_env_from_gm(program.graph_module)
    ranges = shapes.var_to_range if shapes is not None else {}
    for expression in [e for e in ranges if not e.is_Symbol]:
        del ranges[expression]


def load_folder(path: Path) -> LoadedModel:
    """Load a local Hugging Face folder as the architecture that its config.json names."""
    return from_folder(huggingface.load_example(path))


def from_folder(example: Example) -> LoadedModel:
    """Read what was loaded from a Hugging Face folder."""
    assert example.folder is not None
    sources = sorted(example.folder.resolve().iterdir())
    name = type(example.module.model).__name__
    return LoadedModel(name, example, sources=sources, folder=example.folder)


def user_sources() -> list[Path]:
    """Return the files of every loaded module that belongs to the user."""
    found = set()
    here = f"{Path(__file__).resolve().parents[1]}{os.sep}"
    for module in list(sys.modules.values()):  # thousands: only the user's few become paths
        name = getattr(module, "__file__", None)
        # torch registers modules whose file is a bare name that does not exist.
        if name and name.endswith(".py") and os.path.isabs(name) and is_user_file(name):
            real = os.path.realpath(name)
            if not real.startswith(here) and os.path.exists(real):
                found.add(real)
    return [Path(name) for name in sorted(found)]
