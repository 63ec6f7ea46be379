"""Recurrent layers, attention, transforms and solving at sizes they were not traced at.

And complex numbers in states and weights.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import mojoaccel
from mojoaccel.errors import MojoaccelError
from tests.operator_cases import rand
from tests.test_operators import judge, widen


class Sizes(nn.Module):
    """Families of operators whose kernels see the batch and the length."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.projected = nn.LSTM(8, 6, proj_size=3, batch_first=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.rnn = nn.RNN(8, 6)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, length: Tensor) -> list[Tensor]:
        seen = torch.arange(x.shape[1]) < length[:, None]
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        spectrum = torch.fft.rfft(x, dim=-1)
        gram = x.mT @ x + torch.eye(8)
        return [
            *self.lstm(x)[0].split(6, -1),
            self.projected(x)[0],
            self.gru(x)[1],
            self.rnn(x.transpose(0, 1))[0],
            self.attention(x, x, x, key_padding_mask=~seen, need_weights=False)[0],
            F.scaled_dot_product_attention(heads, heads, heads, is_causal=True),
            F.scaled_dot_product_attention(heads, heads, heads, seen[:, None, None]),
            x.softmax(1),
            torch.fft.irfft(spectrum * spectrum.abs(), 8, dim=-1),
            torch.fft.fft(x, dim=1).real,
            torch.fft.fft2(x, norm="ortho").abs(),
            torch.linalg.solve(gram, x.mT),
            torch.einsum("bid,bjd->bij", x, x),
        ]


@pytest.mark.mojo
def test_one_artifact_at_other_sizes(tmp_path: Path) -> None:
    module = Sizes().eval()
    wide = Sizes().eval().double()
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=512)
    shapes = {"x": {0: batch, 1: length}, "length": {0: batch}}
    example = (rand(3, 5, 8), torch.tensor([5, 2, 3]))
    with mojoaccel.compile(
        module, example, dynamic_shapes=shapes, verify=False, output=tmp_path / "sizes.maccel"
    ) as session:
        for b, n in ((1, 2), (2, 7), (5, 67), (8, 16)):
            inputs = (rand(b, n, 8, seed=b), torch.arange(b) % n + 1)
            with torch.no_grad():
                own, exact = module(*inputs), wide(*(widen(t) for t in inputs))
            problems = [judge(*row) for row in zip(session(*inputs), own, exact, strict=True)]
            assert not any(problems), (b, n, problems)


class LongConvolution(nn.Module):
    """A convolution as long as its input, by Fourier transforms of twice the length."""

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        n = x.shape[-1]
        product = torch.fft.rfft(x, n=2 * n) * torch.fft.rfft(k, n=2 * n)
        return torch.fft.irfft(product, n=2 * n)[..., :n]


@pytest.mark.mojo
def test_transforms_of_a_length_known_at_run_time(tmp_path: Path) -> None:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=4096)
    shapes = {"x": {0: batch, 2: length}, "k": {1: length}}
    example = (rand(2, 3, 30), rand(3, 30))
    with mojoaccel.compile(
        LongConvolution(), example, dynamic_shapes=shapes, output=tmp_path / "long.maccel"
    ) as session:
        for b, n in ((1, 2), (2, 67), (3, 600), (1, 1009)):
            x, k = rand(b, 3, n), rand(3, n)
            own, exact = LongConvolution()(x, k), LongConvolution()(x.double(), k.double())
            assert not judge(session(x, k), own, exact)


class Turning(nn.Module):
    """A complex state, a complex weight and complex values at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.ones(4, dtype=torch.complex64))
        self.weight = nn.Parameter(torch.complex(rand(4, 4), rand(4, 4, seed=1)))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.state.mul_(1j).add_(z.mean(0))
        return z, z @ self.weight * self.state, self.state.abs()


@pytest.mark.mojo
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_complex_numbers_live_in_states_and_weights(level: str, tmp_path: Path) -> None:
    module = Turning().eval()
    z = torch.complex(rand(3, 4), rand(3, 4, seed=2))
    with mojoaccel.compile(
        module, (z,), optimization=level, output=tmp_path / "turning.maccel"
    ) as session:
        assert session.manifest.verification["status"] == "passed"
        assert not session.manifest.verification["reason"]  # complex128 was the referee
        for _ in range(3):
            with torch.no_grad():
                own = pytree.tree_leaves(module(z))
            got = pytree.tree_leaves(session(z))
            for mine, theirs in zip(got, own, strict=True):
                assert not judge(mine, theirs, theirs)


class Blocks(nn.Module):
    """Takes lengths that are multiples of a dim."""

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        blocks = x.unflatten(1, (-1, 8))
        return [blocks.sum(2) + y[:, 1:], z.cumsum(1), blocks.mT @ blocks]


@pytest.mark.mojo
def test_sizes_that_are_multiples_of_a_dim(tmp_path: Path) -> None:
    def inputs(batch: int, n: int, m: int) -> tuple[Tensor, ...]:
        return rand(batch, 8 * n), rand(batch, n + 1), rand(2, 4 * m - 2)

    dynamic = {"x": {0: "b", 1: "8*n:1..20"}, "y": {0: "b", 1: "n+1"}, "z": {1: "4*m-2"}}
    place = tmp_path / "blocks.maccel"
    with mojoaccel.compile(Blocks(), inputs(2, 4, 3), dynamic=dynamic, output=place) as session:
        for sizes in ((1, 1, 1), (2, 4, 3), (3, 20, 9)):
            given = inputs(*sizes)
            for ours, expected in zip(session(*given), Blocks()(*given), strict=True):
                torch.testing.assert_close(ours, expected)
        x, y, z = inputs(2, 4, 3)
        for wrong, message in (
            ((x[:, :30], y, z), r"input x, axis 1: expected 8\*n with a whole n, got 30"),
            ((x, y[:, 1:], z), r"input y: expected shape .* \(axis 1 must be 5\)"),
            ((rand(2, 168), rand(2, 22), z), "dim n is 21, allowed are 1 to 20"),
        ):
            with pytest.raises(MojoaccelError, match=message):
                session(*wrong)
