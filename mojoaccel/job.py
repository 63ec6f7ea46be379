"""The state of one compile, and the digests of our own sources that go into its keys."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mojoaccel.config import CompileOptions
from mojoaccel.errors import Diagnostic
from mojoaccel.paths import kernel_library
from mojoaccel.products import Target, Weights, digest_bytes

if TYPE_CHECKING:
    from mojoaccel.toolchain.mojo import MojoCompiler
    from mojoaccel.trace.loader import LoadedModel

SOURCES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Request:
    """One compile, as the command line or the Python API asks for it.

    Attributes:
        model: What to compile: a path, ``file.py:factory``, or an `Example` in memory.
        options: Options of every stage.
        name: Name of the artifact; from the model if empty.
        stop_after: Last stage to run; all if None.
        save_temps: Folder that receives every product as text.
        explain_cache: Ask the cache why each stage missed.
        mojo: Path of the compiler, if chosen by hand.
        engine: ``mojo`` or ``max``: what compiles the traced graph.
    """

    model: Any
    options: CompileOptions
    name: str = ""
    stop_after: str | None = None
    save_temps: Path | None = None
    explain_cache: bool = False
    mojo: str | None = None
    engine: str = "mojo"


@dataclass
class Job:
    """What one compile has made so far.

    Attributes:
        request: What was asked for.
        work: Temporary folder, removed at the end.
        products: Product of each finished stage.
        digests: Their content digests.
        setup_seconds: Time to import torch and to construct the model.
        warnings: Findings that do not stop the compile.
        custom_sources: Files of the user's own operators.
    """

    request: Request
    work: Path
    products: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    setup_seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[Diagnostic] = field(default_factory=list)
    weights: Weights = field(default_factory=dict)
    custom_sources: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the model: as configured, else from the file."""
        return self.request.name or model_name(self.request.model)

    @property
    def target(self) -> Target:
        """Product of detect."""
        found: Target = self.products["detect"]
        return found

    @cached_property
    def model(self) -> LoadedModel:
        """The user's module and its example inputs, constructed when first needed.

        Raises:
            MojoaccelError: MA201, MA206, MA207 or MA209: it cannot be loaded.
        """
        if isinstance(self.request.model, (str, Path)):
            from mojoaccel.trace.place import find_model

            find_model(str(self.request.model))  # before torch is imported
        began = time.perf_counter()
        loader = importlib.import_module("mojoaccel.trace.loader")
        imported = time.perf_counter()
        loaded: LoadedModel = loader.load_model(self.request.model)
        self.setup_seconds["import torch"] = imported - began
        self.setup_seconds["construct model"] = time.perf_counter() - imported
        return loaded

    @cached_property
    def custom(self) -> str:
        """Digest of the files of the user's own operators, which are registered by this.

        Raises:
            MojoaccelError: MA210, one of them cannot be used.
        """
        if not self.request.options.trace.ops:
            return ""
        from mojoaccel.ops.custom import register_file

        loader = importlib.import_module("mojoaccel.trace.loader")
        given = [Path(p) for p in self.request.options.trace.ops]
        files = [f for path in given for f in register_file(path, loader.import_file)]
        self.custom_sources = files
        return digest_bytes(*(part for f in files for part in (f.name.encode(), f.read_bytes())))

    @cached_property
    def tracer(self) -> Any:
        """The room that traces; imports the larger half of torch, which a cached trace needs not.

        Loading a module first (`model`) leaves torch.export out.
        """
        began = time.perf_counter()
        tracer = importlib.import_module("mojoaccel.trace.export")
        seconds = self.setup_seconds.get("import torch", 0.0)
        self.setup_seconds["import torch"] = seconds + time.perf_counter() - began
        return tracer

    @cached_property
    def compiler(self) -> MojoCompiler:
        """The Mojo compiler.

        Raises:
            MojoaccelError: MA101..MA103: there is none that fits.
        """
        from mojoaccel.toolchain.mojo import find_compiler

        return find_compiler(self.request.mojo)


def model_name(model: Any) -> str:
    """Return a short name for a model argument: ``examples/minilm.py:factory`` is ``minilm``."""
    if not isinstance(model, (str, Path)):
        return type(getattr(model, "module", model)).__name__.lower()
    path = Path(str(model))
    if path.name.split(":")[0].endswith(".py"):
        path = path.with_name(path.name.split(":")[0])
    return path.stem or "model"


@cache
def source_digest(*rooms: str) -> str:
    """Return the digest of our own source files in `rooms` (folders or modules)."""
    parts: list[bytes] = []
    for room in rooms:
        place = SOURCES / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for file in files:
            parts += [file.relative_to(SOURCES).as_posix().encode(), file.read_bytes()]
    return digest_bytes(*parts)


@cache
def kernels_digest() -> str:
    """Return the digest of the Mojo kernel library's sources."""
    parts: list[bytes] = []
    for file in sorted(kernel_library().rglob("*.mojo")):
        parts += [file.name.encode(), file.read_bytes()]
    return digest_bytes(*parts)
