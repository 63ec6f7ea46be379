"""An operator of your own: what torch calls it, what it computes, and which Mojo function does.

Compile the model below with it::

    mojoaccel compile examples/my_ops.py --ops examples/my_ops.py
"""

import torch
from torch import Tensor, nn

from mojoaccel import CustomOp, Example


@torch.library.custom_op("examples::soft_cap", mutates_args=())
def soft_cap(x: Tensor, cap: float) -> Tensor:
    """Keep values within (-cap, cap) smoothly, as Gemma 2 does with its scores."""
    return cap * torch.tanh(x / cap)


OPS = [
    CustomOp(
        "examples::soft_cap",
        mojo="kernels/soft_cap.mojo:soft_cap",
        shape=lambda x, cap: torch.empty_like(x),
    )
]


class Capped(nn.Module):
    """A linear layer whose outputs are capped."""

    def __init__(self) -> None:
        """Make the layer."""
        super().__init__()
        self.linear = nn.Linear(24, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Return capped outputs."""
        return torch.ops.examples.soft_cap(self.linear(x) * 40, 30.0)


def factory() -> Example:
    """Return the model and an input of any number of rows."""
    torch.manual_seed(0)
    return Example(Capped(), (torch.randn(5, 24),), dynamic={"x": {0: "batch"}})
