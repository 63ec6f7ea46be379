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
        (
            "conv_tbc",
            lambda a, w, b: torch.conv_tbc(a, w, b, 1),
            (rand(6, 2, 3), rand(3, 3, 5), rand(5)),
        ),
        (
            "int8_weight",
            lambda a, w, s: torch._weight_int8pack_mm(a.bfloat16(), w, s.bfloat16()),
            (
                x.repeat(1, 5)[:, :32].bfloat16(),
                (rand(8, 32) * 9).to(torch.int8),
                rand(8).bfloat16(),
            ),
        ),
        ("all_true", lambda a: torch._is_all_true(a > -9), (x,)),
        ("any_true", lambda a: torch._is_any_true(a > 9), (x,)),
        ("view_as_real", torch.view_as_real_copy, (torch.complex(x, y),)),
        ("view_as_complex", lambda a: torch.view_as_complex_copy(a.reshape(-1, 2)), (image,)),
        ("trilinear", lambda a: aten.upsample_trilinear3d(a[None], [4, 6, 5], True), (image,)),
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
