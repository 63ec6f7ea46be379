"""A multilayer perceptron on flattened 28x28 images; the batch size varies.

mojoaccel compile examples/mlp.py
"""

import torch
from torch import nn

from mojoaccel import Example


def factory() -> Example:
    """Return the network with seeded weights and one image."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return Example(module, (torch.randn(1, 784),), dynamic={"input": {0: "batch"}})
