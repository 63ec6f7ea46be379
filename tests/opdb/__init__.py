"""PyTorch's own operator database as a source of inputs that nobody here wrote."""
