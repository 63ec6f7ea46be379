"""ResNet-50 in plain torch on 224x224 images; the batch size varies.

mojoaccel compile examples/resnet50.py
"""

import torch
from torch import Tensor, nn

from mojoaccel import Example


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution without bias, followed by its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Make the layers."""
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            convolution(inputs, width, 1),
            nn.ReLU(),
            convolution(width, width, 3, stride),
            nn.ReLU(),
            convolution(width, outputs, 1),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [batch, inputs, h, w] to [batch, 4 * width, h / stride, w / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet50(nn.Module):
    """Four groups of bottlenecks between a 7x7 convolution and a linear layer."""

    def __init__(self, classes: int = 1000) -> None:
        """Make the layers."""
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        inputs = 64
        for group, count in enumerate((3, 4, 6, 3)):
            width = 64 << group
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if group and not index else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [batch, classes] of images [batch, 3, 224, 224]."""
        return self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))


def factory() -> Example:
    """Return the network with seeded weights and one image."""
    torch.manual_seed(0)
    module = ResNet50()
    # Random weights need running statistics that fit them, or the activations fade away.
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        module.train()(torch.randn(4, 3, 96, 96))
    image = torch.randn(1, 3, 224, 224)
    return Example(module.eval(), (image,), dynamic={"images": {0: "batch"}})
