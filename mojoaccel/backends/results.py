"""What the backends answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CompilationResult:
    """Outcome of a compile.

    Attributes:
        success: Whether there is an artifact.
        compiled_path: Where it is.
        compilation_time: Seconds, the stages together.
        optimizations_applied: Passes that ran on this model, and how often each changed it.
        error_message: Why there is none.
        metadata: The rest of what ``compile --json`` prints.
        simulated: PyTorch will compute the answers (the reference target).
    """

    success: bool
    compiled_path: str | None = None
    compilation_time: float | None = None
    optimizations_applied: Mapping[str, int] = field(default_factory=dict)
    error_message: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False


@dataclass(frozen=True)
class DeploymentResult:
    """Outcome of a deployment.

    Attributes:
        success: Whether the model answers.
        endpoint_url: Base URL of the server; None for a simulated deployment, which answers only
            through the backend.
        model_id: Name of the model.
        target_hardware: What it runs on.
        allocated_resources: Measured of the running server: ``pid``, ``threads``, ``memory_mb``;
            and the ``engine`` that runs the model.
        error_message: Why it does not.
        simulated: PyTorch computes the answers (the reference target).
    """

    success: bool
    endpoint_url: str | None = None
    model_id: str = ""
    target_hardware: str = "cpu"
    allocated_resources: Mapping[str, Any] = field(default_factory=dict)
    error_message: str | None = None
    simulated: bool = False
