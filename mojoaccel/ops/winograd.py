"""When a convolution is computed by Winograd's minimal filtering, F(2x2, 3x3)."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.artifact.packing_conv import conv_tile_rows
from mojoaccel.ir.dims import Size

LEAST_GAIN = 0.8
"""Share of the direct sum's time that it may take at most."""


def winograd_pays(
    shape: Sequence[Size],
    channels: tuple[int, int],
    form: tuple[tuple[int, int], ...],
    half_rows: int,
) -> bool:
    """Whether F(2x2, 3x3) is expected to be clearly faster than the direct sum.

    Both are counted in multiply-adds of one vector, for one input channel and one vector of
    outputs. The direct sum takes 9 per pixel. A tile of 2x2 pixels takes 16, and its share of the
    transforms of inputs and outputs (60 and 40 cycles); the weights' transform takes 60. Measured
    on two cores with 256 bits of FMA twice a cycle: twice as fast on 64 to 256 channels of 56 to
    14 pixels; 1.05 times on 512 channels of 7 pixels, whose 16 tiles fill two register tiles badly.

    Args:
        shape: The output's, [N, C, H, W] or [N, C, W]; a batch of any size counts as one image.
        channels: Of the input and of the output.
        form: Kernel, stride and dilation.
        half_rows: Rows that register tiles are filled to.
    """
    if form != ((3, 3), (1, 1), (1, 1)) or not all(isinstance(n, int) for n in shape[2:]):
        return False
    height, width = (int(str(n)) for n in shape[2:])
    count = int(str(shape[0])) if isinstance(shape[0], int) else 1
    tiles = count * -(-height // 2) * -(-width // 2)
    filled = -(-tiles // half_rows) * half_rows
    cost = filled * (16 + 60 / channels[1] + 40 / channels[0]) + 60
    return cost < LEAST_GAIN * 9 * count * height * width


def winograd_scratch_bytes(channels: int, panel: int, lanes: int, registers: int, size: int) -> int:
    """Return the scratch memory per thread of ``maccel.winograd``, whose numbers it mirrors.

    Args:
        channels: Of the input.
        panel: Output channels in a panel of weights.
        lanes: SIMD width.
        registers: Vector registers, 32 or 16.
        size: Bytes of an element.
    """
    line = 64 // size

    def odd_lines(elements: int) -> int:
        return (-(-elements // line) | 1) * line

    rows = conv_tile_rows(panel, lanes, registers)
    row = odd_lines(channels)
    tiles = max(2, min(8, (1 << 21) // (16 * row * rows * size)))
    block = rows * tiles
    chunks = -(-channels // 128)
    chunk = (channels + 4 * chunks - 1) // (4 * chunks) * 4
    planes = odd_lines(block * row) + odd_lines(chunk * panel) + odd_lines(block * panel)
    return (16 * planes + channels) * size
