"""The rivals: PyTorch eager, torch.compile, AOTInductor, ONNX Runtime, OpenVINO and MAX.

Each runs the user's own module on the benchmark's sizes, with the settings its makers recommend
for repeated inference: weights frozen, shapes static, latency rather than throughput. A rival
that compiles ahead of time does so in one process (`Baseline.build`) and runs in another, so its
memory and cold start are those of a user who deploys what was built.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mojoaccel.bench.workloads import Inputs, ModelSource
from mojoaccel.ir.types import DTYPES

if TYPE_CHECKING:
    from mojoaccel.bench.runner import Runner
    from mojoaccel.example import Example

Array = np.ndarray[Any, Any]
MAX_SECONDS = 3600.0
"""Time limit of MAX's compiler; the benchmark's own is shorter unless it is raised."""


@dataclass(frozen=True)
class Setup:
    """What a rival needs to know.

    Attributes:
        model: The PyTorch model.
        threads: Threads to use.
        folder: Where `build` leaves what the runner loads.
    """

    model: ModelSource
    threads: int
    folder: Path


@dataclass(frozen=True)
class Baseline:
    """One rival.

    Attributes:
        runner: Makes its runner.
        packages: Packages that must be installed.
        build: Compiles ahead of time into the setup's folder, if the rival does that.
        compiler: Whether it needs a C++ compiler on PATH.
        dtypes: Compute types it is measured with.
    """

    runner: Callable[[Setup], Runner]
    packages: tuple[str, ...]
    build: Callable[[Setup, Inputs], None] | None = None
    compiler: bool = False
    dtypes: tuple[str, ...] = ("f32", "bf16")

    def missing(self, dtype: str) -> str:
        """Say why it cannot be measured here; empty if it can."""
        absent = [p for p in self.packages if importlib.util.find_spec(p) is None]
        if absent:
            return f"not installed: {', '.join(absent)}"
        if self.compiler and not any(map(shutil.which, ("c++", "g++", "clang++"))):
            return "needs a C++ compiler"
        return "" if dtype in self.dtypes else f"does not compute in {dtype}"


def call_arguments(
    example: Example, arrays: Sequence[Array]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the module's arguments with its example tensors replaced by `arrays`."""
    from torch.utils import _pytree as pytree

    from mojoaccel.trace.replay import to_tensor
    from mojoaccel.trace.structure import flatten_inputs

    tensors = flatten_inputs(example).tensors
    fresh = {
        id(t): to_tensor(a, t.dtype, double=False) for t, a in zip(tensors, arrays, strict=True)
    }
    given = (tuple(example.args), dict(example.kwargs))
    args, kwargs = pytree.tree_map(lambda leaf: fresh.get(id(leaf), leaf), given)
    return args, kwargs


class EagerRunner:
    """The module as it is, without gradients."""

    imports: Sequence[str] = ("torch",)

    def __init__(self, setup: Setup) -> None:
        """Remember the model."""
        self._setup = setup
        self._example: Example | None = None
        self._call: Callable[..., Any] = print
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def prepare(self) -> str:
        """Construct the module; return torch's version."""
        import torch

        torch.set_num_threads(self._setup.threads)
        torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)
        self._example = self._setup.model.load()
        self._call = self.compiled(self._example)
        return str(torch.__version__)

    def compiled(self, example: Example) -> Callable[..., Any]:
        """Return what is called: the module."""
        module: Callable[..., Any] = example.module
        return module

    def bind(self, inputs: Inputs) -> None:
        """Make tensors of the inputs."""
        assert self._example is not None
        self._arguments = call_arguments(self._example, inputs.arrays)

    def run(self) -> Any:
        """Call the module once."""
        args, kwargs = self._arguments
        return self._call(*args, **kwargs)

    def arrays(self, answer: Any) -> list[Array]:
        """Return the tensors of the answer."""
        import torch
        from torch.utils import _pytree as pytree

        from mojoaccel.trace.replay import to_array

        return [to_array(t) for t in pytree.tree_leaves(answer) if isinstance(t, torch.Tensor)]

    def close(self) -> None:
        """Nothing to give back: the process ends."""


class CompileRunner(EagerRunner):
    """torch.compile with frozen weights; its first call compiles."""

    def compiled(self, example: Example) -> Callable[..., Any]:
        """Return the compiled module."""
        import torch
        import torch._inductor.config as inductor

        inductor.freezing = True
        return torch.compile(example.module, dynamic=False)


class InductorPackageRunner(EagerRunner):
    """A package that AOTInductor made."""

    def compiled(self, example: Example) -> Callable[..., Any]:
        """Return the loaded package."""
        from torch._inductor import aoti_load_package

        loaded: Callable[..., Any] = aoti_load_package(str(self._setup.folder / "model.pt2"))
        return loaded


def build_inductor_package(setup: Setup, inputs: Inputs) -> None:
    """Export the module at these sizes and compile it ahead of time, weights frozen."""
    import torch
    import torch._inductor.config as inductor

    inductor.freezing = True
    torch.set_num_threads(setup.threads)
    example = setup.model.load()
    args, kwargs = call_arguments(example, inputs.arrays)
    with torch.no_grad():
        program = torch.export.export(example.module, args, kwargs)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(setup.folder / "model.pt2")
        )


def export_onnx(setup: Setup, inputs: Inputs) -> None:
    """Export the module at these sizes as ``model.onnx``, in its own types.

    For bf16 too: OpenVINO converts an f32 model itself, and better than it reads a bf16 one.
    """
    import torch

    example = replace(setup.model, dtype="f32").load()
    arrays = [as_float32(v.array, v.dtype) for v in inputs.values]
    args, kwargs = call_arguments(example, arrays)
    with torch.no_grad():
        torch.onnx.export(
            example.module,
            args,
            str(setup.folder / "model.onnx"),
            kwargs=kwargs,
            input_names=[v.name for v in inputs.values],
            dynamo=True,
            external_data=True,
            verbose=False,
        )


class OnnxRuntimeRunner:
    """ONNX Runtime on the processor, all graph optimizations on."""

    imports: Sequence[str] = ("numpy", "onnxruntime")

    def __init__(self, setup: Setup) -> None:
        """Remember the model."""
        self._setup = setup
        self._session: Any = None
        self._feed: dict[str, Array] = {}

    def prepare(self) -> str:
        """Open a session on the exported file; return the version."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._setup.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(self._setup.folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return str(onnxruntime.__version__)

    def bind(self, inputs: Inputs) -> None:
        """Keep the arrays that the exported graph still takes."""
        wanted = {i.name for i in self._session.get_inputs()}
        self._feed = {v.name: v.array for v in inputs.values if v.name in wanted}

    def run(self) -> Any:
        """Run once on numpy arrays."""
        return self._session.run(None, self._feed)

    def arrays(self, answer: Any) -> list[Array]:
        """Return the answer as it is."""
        return list(answer)

    def close(self) -> None:
        """Drop the session."""
        self._session = None


class OpenVinoRunner:
    """OpenVINO on the processor, converted from the same ONNX file, with the latency hint."""

    imports: Sequence[str] = ("numpy", "openvino")

    def __init__(self, setup: Setup) -> None:
        """Remember the model."""
        self._setup = setup
        self._request: Any = None
        self._values: dict[str, Array] = {}
        self._names: set[str] = set()

    def prepare(self) -> str:
        """Convert and compile the exported file; return the version."""
        import openvino

        core = openvino.Core()
        model = core.read_model(str(self._setup.folder / "model.onnx"))
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self._setup.threads,
                # Otherwise a processor with AMX computes an f32 model in bf16.
                "INFERENCE_PRECISION_HINT": self._setup.model.dtype,
            },
        )
        self._names = {name for port in compiled.inputs for name in port.get_names()}
        self._request = compiled.create_infer_request()
        return str(openvino.__version__).split("-")[0]

    def bind(self, inputs: Inputs) -> None:
        """Keep the arrays that the converted graph still takes."""
        self._values = {
            v.name: as_float32(v.array, v.dtype) for v in inputs.values if v.name in self._names
        }

    def run(self) -> Any:
        """Run once; the arrays are passed and returned without a copy."""
        return self._request.infer(self._values, share_inputs=True, share_outputs=True)

    def arrays(self, answer: Any) -> list[Array]:
        """Copy the answer out of the request."""
        return [np.array(answer[port]) for port in self._request.model_outputs]

    def close(self) -> None:
        """Drop the request."""
        self._request = None


def build_max_artifact(setup: Setup, inputs: Inputs) -> None:
    """Compile the module at these sizes with the MAX engine."""
    from mojoaccel.cache import open_cache
    from mojoaccel.deliver import Delivery
    from mojoaccel.driver import Compiler
    from mojoaccel.example import Example
    from mojoaccel.job import Request
    from mojoaccel.settings import Settings, compile_options

    given = {
        "engine": "max",
        "verify": False,  # the benchmark judges every answer itself
        "build-timeout": MAX_SECONDS,
        "output": str(setup.folder / "model.maccel"),
    }
    settings = Settings()
    values = settings.values("compile", given)
    loaded = setup.model.load()  # in its types already
    args, kwargs = call_arguments(loaded, inputs.arrays)
    example = Example(loaded.module, args, kwargs)
    request = Request(example, compile_options(values), setup.model.name, engine="max")
    cache = open_cache(settings.values("cache", {})["size"], lambda found: None)
    Compiler(cache).compile(request, Delivery(values).receive)


def make_max_runner(setup: Setup) -> Runner:
    """Return the runner of what `build_max_artifact` made."""
    from mojoaccel.bench.runner import MaxRunner

    return MaxRunner(setup.folder / "model.maccel", setup.threads)


def as_float32(array: Array, dtype: str) -> Array:
    """Return bfloat16 values, which arrive as uint16, as float32; others as they are."""
    from mojoaccel.verify import widen

    return widen(array, DTYPES[dtype]).astype(np.float32) if dtype == "bf16" else array


BASELINES: dict[str, Baseline] = {
    "eager": Baseline(EagerRunner, ("torch",)),
    "compile": Baseline(CompileRunner, ("torch",), compiler=True),
    "aotinductor": Baseline(
        InductorPackageRunner, ("torch",), build_inductor_package, compiler=True
    ),
    "onnxruntime": Baseline(
        OnnxRuntimeRunner,
        ("onnxruntime", "torch", "onnx", "onnxscript"),
        export_onnx,
        dtypes=("f32",),
    ),
    "max": Baseline(make_max_runner, ("max", "torch"), build_max_artifact),
    "openvino": Baseline(OpenVinoRunner, ("openvino", "torch", "onnx", "onnxscript"), export_onnx),
}
