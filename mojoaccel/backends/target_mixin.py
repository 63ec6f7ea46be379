"""A mixin for classes that hold a PyTorch module and answer requests with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mojoaccel.api import compile as compile_model
from mojoaccel.backends.environment import ModularEnvironment
from mojoaccel.backends.mojo import warn_once
from mojoaccel.errors import error
from mojoaccel.example import Example
from mojoaccel.runtime.session import Session

AXES: dict[str, dict[int, str]] = {
    "text": {0: "batch", 1: "sequence"},
    "audio": {0: "batch", 1: "samples"},
    "vision": {0: "batch"},
    "generic": {},
}
"""Axes of every input that may have another size in the next call, by type of model."""


class MojoMaxTargetMixin:
    """Compiles ``self.model`` when it is first needed and answers with the artifact.

    The class it is mixed into has a ``torch.nn.Module`` as ``self.model``.
    """

    model: Any

    def get_default_device_with_mojo_max(self) -> str:
        """Return what computes: ``mojo``, ``max``, or the best device of PyTorch's own."""
        env = ModularEnvironment()
        if env.mojo_available:
            return "mojo"
        if env.max_available:
            return "max"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def process_with_mojo_max(self, inputs: Any, model_type: str = "generic") -> dict[str, Any]:
        """Answer with the compiled model; it is compiled for each new set of inputs' types.

        Without a Mojo compiler PyTorch interprets the traced graph: ``simulated`` is true, and a
        warning is given once.

        Args:
            inputs: Tensors or arrays by name, or one.
            model_type: ``text`` (batch and length vary), ``audio`` (batch and number of samples),
                ``vision`` (batch), or ``generic`` (nothing).

        Returns:
            ``outputs`` as the module returns them, ``backend``, ``device``, ``model_type``,
            ``simulated``, and ``seconds`` of the run alone.

        Raises:
            MojoaccelError: MA903 no such type of model; compiling and running raise their own.
        """
        if model_type not in AXES:
            raise error("MA903", f"model_type {model_type!r} is not one of {', '.join(AXES)}")
        given = inputs if isinstance(inputs, Mapping) else {"": inputs}
        session = self._session(given, model_type)
        began = time.perf_counter()
        outputs = session(*given.values())
        seconds = time.perf_counter() - began
        return {
            "outputs": outputs,
            "backend": "pytorch" if session.simulated else "mojo",
            "device": "cpu",
            "model_type": model_type,
            "simulated": session.simulated,
            "seconds": seconds,
        }

    def process_with_pytorch(self, inputs: Any) -> dict[str, Any]:
        """Answer with the module itself, without gradients.

        Args:
            inputs: As for `process_with_mojo_max`.

        Returns:
            The same fields; ``backend`` is ``pytorch``.
        """
        import torch

        given = inputs if isinstance(inputs, Mapping) else {"": inputs}
        first = next(self.model.parameters(), None)
        device = torch.device("cpu") if first is None else first.device
        tensors = {k: torch.as_tensor(v).to(device) for k, v in given.items()}
        began = time.perf_counter()
        with torch.inference_mode():
            outputs = self.model(tensors[""]) if "" in tensors else self.model(**tensors)
        return {
            "outputs": outputs,
            "backend": "pytorch",
            "device": str(device),
            "model_type": "generic",
            "simulated": False,
            "seconds": time.perf_counter() - began,
        }

    def _session(self, given: Mapping[str, Any], model_type: str) -> Session:
        """Return the session for inputs of these names, types and ranks."""
        held: dict[Any, Session] = self.__dict__.setdefault("_sessions_by_inputs", {})
        kinds = [(k, str(v.dtype).removeprefix("torch."), len(v.shape)) for k, v in given.items()]
        key = (model_type, *kinds)
        if key not in held:
            held[key] = self._compile(given, model_type)
        return held[key]

    def _compile(self, given: Mapping[str, Any], model_type: str) -> Session:
        env = ModularEnvironment()
        if not env.mojo_available:
            warn_once("no Mojo compiler: PyTorch computes the answers (simulated)")
        target = "cpu" if env.mojo_available else "reference"
        return compile_model(example_of(self.model, given, model_type), target=target)


def example_of(module: Any, given: Mapping[str, Any], model_type: str) -> Example:
    """Return a module with inputs as an example whose axes vary as the type of model says."""
    import inspect

    import torch

    from mojoaccel.trace.huggingface import keyword_model, longest_text

    tensors = [torch.as_tensor(v) for v in given.values()]
    names = tuple(given)
    if "" in given:
        names = (next(iter(inspect.signature(module.forward).parameters)),)
    if hasattr(module, "main_input_name"):  # transformers: outputs become a plain dict
        wrapped: Any = keyword_model(module, names)
    else:
        wrapped = module
    axes = dict(AXES[model_type])
    if model_type == "text" and hasattr(module, "config"):
        axes[1] = f"sequence:1..{longest_text(module)}"
    dynamic = {
        name: {axis: dim for axis, dim in axes.items() if axis < tensor.ndim}
        for name, tensor in zip(names, tensors, strict=True)
    }
    if wrapped is not module or "" in given:
        return Example(wrapped, tuple(tensors), dynamic=dynamic)
    return Example(wrapped, (), dict(zip(names, tensors, strict=True)), dynamic=dynamic)
