"""Compile PyTorch models ahead of time into native artifacts made of readable Mojo.

Everything is imported on first use: ``import mojoaccel`` loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mojoaccel.api import compile as compile
    from mojoaccel.api import detect as detect
    from mojoaccel.backends.deployment import MaxBackend as MaxBackend
    from mojoaccel.backends.environment import ModularEnvironment as ModularEnvironment
    from mojoaccel.backends.huggingface import (
        MojoModelForAudioClassification as MojoModelForAudioClassification,
    )
    from mojoaccel.backends.huggingface import (
        MojoModelForFeatureExtraction as MojoModelForFeatureExtraction,
    )
    from mojoaccel.backends.huggingface import (
        MojoModelForImageClassification as MojoModelForImageClassification,
    )
    from mojoaccel.backends.huggingface import MojoModelForMaskedLM as MojoModelForMaskedLM
    from mojoaccel.backends.huggingface import (
        MojoModelForQuestionAnswering as MojoModelForQuestionAnswering,
    )
    from mojoaccel.backends.huggingface import (
        MojoModelForSequenceClassification as MojoModelForSequenceClassification,
    )
    from mojoaccel.backends.huggingface import (
        MojoModelForTokenClassification as MojoModelForTokenClassification,
    )
    from mojoaccel.backends.models import register_model as register_model
    from mojoaccel.backends.modular import ModularBackend as ModularBackend
    from mojoaccel.backends.mojo import MojoBackend as MojoBackend
    from mojoaccel.backends.results import CompilationResult as CompilationResult
    from mojoaccel.backends.results import DeploymentResult as DeploymentResult
    from mojoaccel.backends.target_mixin import MojoMaxTargetMixin as MojoMaxTargetMixin
    from mojoaccel.example import Example as Example
    from mojoaccel.loading import load as load
    from mojoaccel.ops.custom import CustomOp as CustomOp
    from mojoaccel.runtime.session import Session as Session

_HOMES = {
    "CompilationResult": "mojoaccel.backends.results",
    "DeploymentResult": "mojoaccel.backends.results",
    "MaxBackend": "mojoaccel.backends.deployment",
    "ModularBackend": "mojoaccel.backends.modular",
    "ModularEnvironment": "mojoaccel.backends.environment",
    "MojoBackend": "mojoaccel.backends.mojo",
    "MojoMaxTargetMixin": "mojoaccel.backends.target_mixin",
    "MojoModelForFeatureExtraction": "mojoaccel.backends.huggingface",
    "MojoModelForSequenceClassification": "mojoaccel.backends.huggingface",
    "MojoModelForTokenClassification": "mojoaccel.backends.huggingface",
    "MojoModelForQuestionAnswering": "mojoaccel.backends.huggingface",
    "MojoModelForMaskedLM": "mojoaccel.backends.huggingface",
    "MojoModelForImageClassification": "mojoaccel.backends.huggingface",
    "MojoModelForAudioClassification": "mojoaccel.backends.huggingface",
    "register_model": "mojoaccel.backends.models",
    "compile": "mojoaccel.api",
    "detect": "mojoaccel.api",
    "load": "mojoaccel.loading",
    "CustomOp": "mojoaccel.ops.custom",
    "Example": "mojoaccel.example",
    "Session": "mojoaccel.runtime.session",
}

__all__ = [
    "CompilationResult",
    "CustomOp",
    "DeploymentResult",
    "Example",
    "MaxBackend",
    "ModularBackend",
    "ModularEnvironment",
    "MojoBackend",
    "MojoMaxTargetMixin",
    "MojoModelForFeatureExtraction",
    "MojoModelForSequenceClassification",
    "MojoModelForTokenClassification",
    "MojoModelForQuestionAnswering",
    "MojoModelForMaskedLM",
    "MojoModelForImageClassification",
    "MojoModelForAudioClassification",
    "Session",
    "__version__",
    "compile",
    "detect",
    "load",
    "register_model",
]


def __getattr__(name: str) -> Any:
    """Import the module that defines `name` on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
