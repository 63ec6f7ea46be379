"""The trace stage: a PyTorch module and example inputs become a `TracedModel`."""
