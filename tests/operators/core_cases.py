"""Core ATen overloads that PyTorch's functions seldom reach, called as they are."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.operator_cases import Case, rand

aten = torch.ops.aten


def core_cases() -> list[Case]:
    x, y = rand(5, 7, seed=1), rand(5, 7, seed=2)
    n, m = (x * 9).int(), (y * 9).int()
    image, square = rand(2, 4, 9, 7), rand(4, 4, seed=3)
    table, rows = rand(9, 4), torch.tensor([0, 8, 3, 3, 1])
    bytes_a, bytes_b = (n % 100).to(torch.int8), (m % 100).to(torch.int8)
    holes = torch.where(x > 0.5, torch.nan, x)
    return [
        ("adaptive", lambda a: aten._adaptive_avg_pool2d(a, [4, 3]), (image,)),
        ("cdist", lambda a, b: aten._cdist_forward(a, b, 2.0, 2), (x, y)),
        ("cdist_1", lambda a, b: aten._cdist_forward(a, b, 1.0, 2), (x, y)),
        (
            "embedding_bag",
            lambda w, i, o: aten._embedding_bag(w, i, o, False, 1)[0],
            (table, rows, torch.tensor([0, 2])),
        ),
        ("or_scalar", lambda a: aten.bitwise_or.Scalar(a, 5), (n,)),
        ("xor_scalar", lambda a: aten.bitwise_xor.Scalar(a, 5), (n,)),
        ("clamp_tensor", aten.clamp.Tensor, (x, y - 1, y)),
        ("clamp_max", aten.clamp_max.Tensor, (x, y)),
        ("div_scalar", lambda a: aten.div.Scalar(a, 0.3), (x,)),
        ("div_floor", lambda a: aten.div.Scalar_mode(a, 0.3, rounding_mode="floor"), (x,)),
        ("div_trunc", lambda a: aten.div.Scalar_mode(a, -3, rounding_mode="trunc"), (n,)),
        ("empty_strided", lambda a: aten.empty_strided([0, 3], [3, 1]), (x,)),
        ("empty_like", lambda a: torch.empty_like(a).shape[0] * a, (x,)),
        ("le", aten.le.Tensor, (n, m)),
        ("ne", lambda a: aten.ne.Scalar(a, 0), (n,)),
        ("logical_or", torch.logical_or, (n > 0, x)),
        ("mean", aten.mean.default, (x,)),
        ("mean_double", lambda a: aten.mean.default(a, dtype=torch.float64), (x,)),
        ("threshold", lambda a: F.threshold(a, 0.1, -2.0), (x,)),
        ("narrow_copy", lambda a: aten.narrow_copy(a, 1, 2, 4), (x,)),
        ("glu", lambda a: F.glu(a, 1), (image,)),
        ("int_mm", torch._int_mm, (bytes_a.repeat(5, 4)[:24, :24], bytes_b.repeat(5, 4)[:24, :24])),
        ("nanmedian", torch.nanmedian, (holes,)),
        ("nanmedian_dim", lambda a: torch.nanmedian(a, 1), (holes,)),
        ("cholesky", lambda a: aten.cholesky(a @ a.mT + torch.eye(4)), (square,)),
        ("bessel_i0", torch.special.modified_bessel_i0, (x,)),
        ("bessel_i1", torch.special.modified_bessel_i1, (x,)),
        (
            "batch_norm_training",
            lambda a, w: F.batch_norm(a, None, None, w, w, True),
            (image, rand(4, seed=5)),
        ),
    ]
