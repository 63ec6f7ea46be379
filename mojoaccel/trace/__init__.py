"""The trace stage: a PyTorch module and example inputs become a `TracedModel`."""

from mojoaccel.trace.export import trace
from mojoaccel.trace.fingerprint import fingerprint

__all__ = ["fingerprint", "trace"]
