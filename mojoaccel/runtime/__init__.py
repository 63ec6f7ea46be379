"""Loads and runs artifacts with numpy alone: no PyTorch, no compiler."""
