"""Calls of PyTorch operators: (name, function, inputs). Several are compiled as one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Case = tuple[str, Callable[..., Any], tuple[Tensor, ...]]


def rand(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + len(shape) + sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


def ints(*shape: int, low: int = -9, high: int = 10, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randint(low, high, shape, generator=generator)


def flags(*shape: int) -> Tensor:
    return ints(*shape, low=0, high=2).bool()


SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, -1e-30, 88.0, -88.0, 1e30, float("inf"), -float("inf"),
     float("nan"), 3.7, -2.5, 2.5, 1.5]
)  # fmt: skip
POSITIVE = rand(3, 17).abs() + 0.1
UNIT = torch.tanh(rand(3, 17)) * 0.95

UNARY = {
    "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "silu": F.silu, "mish": F.mish, "erf": torch.erf,
    "erfc": torch.erfc, "sin": torch.sin, "cos": torch.cos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "asinh": torch.asinh, "neg": torch.neg,
    "abs": torch.abs, "sign": torch.sign, "relu": torch.relu, "relu6": F.relu6,
    "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc,
    "frac": torch.frac, "selu": F.selu, "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "square": torch.square, "logsigmoid": F.logsigmoid,
    "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": F.softplus, "elu": F.elu, "celu": lambda x: F.celu(x, 0.7),
    "leaky_relu": F.leaky_relu, "rrelu": F.rrelu, "hardtanh": F.hardtanh, "isnan": torch.isnan,
    "isinf": torch.isinf, "isfinite": torch.isfinite, "logical_not": torch.logical_not,
    "clamp": lambda x: x.clamp(-0.5, 0.5), "clamp_min": lambda x: x.clamp(min=0.1),
    "clamp_max": lambda x: x.clamp(max=0.1), "pow2": lambda x: x**2, "pow3": lambda x: x**3,
    "rsub": lambda x: 2 - x, "to_bool": lambda x: x.bool(), "to_f64": lambda x: x.double(),
}  # fmt: skip
ON_POSITIVE = {
    "log": torch.log, "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p,
    "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal,
    "pow": lambda x: x**1.7, "power_of": lambda x: 2.0**x, "acosh": lambda x: torch.acosh(x + 1),
}  # fmt: skip
ON_UNIT = {"asin": torch.asin, "acos": torch.acos, "atanh": torch.atanh, "erfinv": torch.erfinv,
           "tan": torch.tan}  # fmt: skip


def pointwise_cases() -> list[Case]:
    x = rand(3, 17)
    cases: list[Case] = [(n, f, (x,)) for n, f in UNARY.items()]
    specials = ("relu", "sigmoid", "tanh", "exp", "isnan", "isinf", "isfinite", "floor", "neg",
                "logical_not", "to_bool", "clamp", "abs", "sign", "silu", "erf")  # fmt: skip
    cases += [(f"{n}_special", UNARY[n], (SPECIAL,)) for n in specials]
    cases += [(n, f, (POSITIVE,)) for n, f in ON_POSITIVE.items()]
    cases += [(n, f, (UNIT,)) for n, f in ON_UNIT.items()]
    return cases


def binary_cases() -> list[Case]:
    x, y, row, column = rand(4, 9), rand(4, 9, seed=1), rand(9), rand(4, 1)
    i, j, b, c = ints(4, 9), ints(4, 9, low=1, seed=2), flags(4, 9), flags(9)
    u = ints(4, 9, low=0, high=200).to(torch.uint8)
    n = torch.where(x > 0, x, torch.nan)
    cases: list[Case] = []
    for name, f in {
        "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
        "maximum": torch.maximum, "minimum": torch.minimum, "fmax": torch.fmax,
        "fmin": torch.fmin, "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "ge": torch.ge,
        "atan2": torch.atan2, "fmod": torch.fmod, "remainder": torch.remainder,
        "copysign": torch.copysign,
    }.items():  # fmt: skip
        cases += [(name, f, (x, y)), (f"{name}_row", f, (x, row)), (f"{name}_col", f, (column, y))]
    cases += [
        ("maximum_nan", torch.maximum, (n, y)), ("fmax_nan", torch.fmax, (n, y)),
        ("ne_nan", torch.ne, (n, n)), ("eq_nan", torch.eq, (n, n)),
        ("add_alpha", lambda a, d: torch.add(a, d, alpha=0.3), (x, y)),
        ("int_add", lambda a, d: a + d, (i, j)), ("int_mul", lambda a, d: a * d, (i, j)),
        ("int_true_div", lambda a, d: a / d, (i, j)),
        ("int_floor_div", lambda a, d: a // d, (i, j)),
        ("int_trunc", lambda a, d: torch.div(a, d, rounding_mode="trunc"), (i, j)),
        ("int_mod", lambda a, d: a % d, (i, j)), ("int_fmod", torch.fmod, (i, j)),
        ("floor_div", lambda a, d: a // d, (x, y)),
        ("promote", lambda a, d: a + d, (i, x)), ("promote_lt", lambda a, d: a < d, (i, x)),
        ("scalar_lt", lambda a: a < 0.5, (i,)), ("int_abs", torch.abs, (i,)),
        ("u8_add", lambda a: a + 100, (u,)), ("u8_float", lambda a: a.float() / 255, (u,)),
        ("and", lambda a, d: a & d, (b, c)), ("or", lambda a, d: a | d, (b, c)),
        ("xor", lambda a, d: a ^ d, (b, c)), ("not", lambda a: ~a, (b,)),
        ("int_and", lambda a, d: a & d, (i, j)), ("int_not", lambda a: ~a, (i,)),
        ("bool_add", lambda a, d: a + d, (b, c)), ("bool_int", lambda a, d: a * d, (b, i)),
        ("where", torch.where, (b, x, y)), ("where_row", torch.where, (b, row, column)),
        ("masked_fill", lambda a, m: a.masked_fill(m, -1e4), (x, b)),
        ("lerp", lambda a, d: torch.lerp(a, d, 0.3), (x, y)),
        ("addcmul", lambda a, d, e: torch.addcmul(a, d, e, value=0.5), (x, y, row)),
        ("addcdiv", lambda a, d, e: torch.addcdiv(a, d, e.abs() + 1), (x, y, row)),
        ("f64", lambda a, d: (a * d).sin(), (x.double(), y.double())),
        ("bf16", lambda a, d: (a * d) + 1, (x.bfloat16(), y.bfloat16())),
        ("f16", lambda a, d: a * d, (x.half(), y.half())),
        ("0d", lambda a, d: a + d, (torch.tensor(2.0), torch.tensor(3.0))),
        ("0d_mixed", lambda a, d: a * d, (x, torch.tensor(3))),
        ("to_int", lambda a: (a * 10).long(), (x,)), ("to_i32", lambda a: (a * 10).int(), (x,)),
    ]  # fmt: skip
    return cases


def shape_cases() -> list[Case]:
    x, s, i = rand(2, 3, 4, 5), rand(6, 8), ints(3, 4, low=0, high=6)
    return [
        ("permute", lambda a: a.permute(0, 2, 3, 1), (x,)),
        ("transpose_add", lambda a, b: a.t() + b, (s, rand(8, 6))),
        ("reshape_copy", lambda a: a.transpose(1, 2).reshape(2, 12, 5), (x,)),
        ("expand", lambda a: a[:, None].expand(6, 3, 8) * 2, (s,)),
        ("slice", lambda a: a[1:5:2, 2:], (s,)), ("negative_slice", lambda a: a[-3:, :-1], (s,)),
        ("select", lambda a: a[:, -1], (x,)), ("flip", lambda a: a.flip(0, 1) + 0, (s,)),
        ("cat0", lambda a: torch.cat([a, a * 2]), (s,)),
        ("cat1", lambda a, b: torch.cat([a, b], 1), (s, rand(6, 3))),
        ("cat_types", lambda a, b: torch.cat([a, b]), (s, ints(2, 8))),
        ("stack", lambda a: torch.stack([a, a.exp()], -1), (s,)),
        ("split", lambda a: torch.split(a, 3, 1), (s,)),
        ("chunk", lambda a: [c.relu() for c in a.chunk(2, -1)], (s,)),
        ("unbind", lambda a: a.unbind(0)[1] + 1, (x,)),
        ("repeat", lambda a: a.repeat(2, 3), (s,)), ("roll", lambda a: a.roll(2, 1), (s,)),
        ("pad", lambda a: F.pad(a, (1, 2, 0, 3), value=0.5), (s,)),
        ("pad_crop", lambda a: F.pad(a, (-1, 2)), (s,)),
        ("tril", lambda a: a.tril(1), (s,)), ("triu", lambda a: a.triu(-1), (s,)),
        ("diagonal", lambda a: a.diagonal(1) * 1, (s,)), ("unfold", lambda a: a.unfold(1, 3, 2) * 1, (s,)),
        ("squeeze", lambda a: a[:1].squeeze(0) - 1, (s,)),
        ("index", lambda a, k: a[k], (s, i)), ("index_negative", lambda a, k: a[k - 6], (s, i)),
        ("index2", lambda a, k: a[k, k], (s, i)),
        ("index_middle", lambda a, k: a[:, :, k % 4], (x, i)),
        ("index_apart", lambda a, k: a[k % 2, :, k % 4], (x, i)),
        ("gather", lambda a, k: a.gather(0, k), (s, i)),
        ("index_select", lambda a, k: a.index_select(1, k[0]), (s, i)),
        ("take_along", lambda a, k: torch.take_along_dim(a, k, 0), (s[:, :4], i)),
        ("embedding", lambda a, k: F.embedding(k, a), (s, i)),
        ("embedding_add", lambda a, k: F.embedding(k, a) + F.embedding(k[0], a), (s, i)),
        ("slice_write", lambda a: _write(a), (s,)),
        ("arange", lambda a: a + torch.arange(8), (s,)),
        ("one_hot_like", lambda k: (k[..., None] == torch.arange(6)).float(), (i,)),
        ("pixel_shuffle", lambda a: F.pixel_shuffle(a, 2), (rand(1, 8, 3, 3),)),
    ]  # fmt: skip


def _write(a: Tensor) -> Tensor:
    b = a.clone()
    b[1:3, 2:5] = a[3:5, 0:3] * 2
    return b


def reduction_cases() -> list[Case]:
    x, i, b = rand(3, 5, 33), ints(4, 7), flags(4, 7)
    image = rand(2, 6, 5, 7).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    cases: list[Case] = []
    for name, f in {"sum": torch.sum, "mean": torch.mean, "amax": torch.amax}.items():
        for dim in (-1, 1, 0, (0, 1), (1, 2), (0, 2)):
            cases.append((f"{name}{dim}", lambda a, f=f, d=dim: f(a, dim=d), (x,)))
    cases += [
        ("sum_all", lambda a: a.sum(), (x,)), ("mean_keep", lambda a: a.mean(1, True), (x,)),
        ("amin", lambda a: a.amin(-1), (x,)), ("max_all", lambda a: a.max(), (x,)),
        ("prod", lambda a: a.prod(-1), (rand(4, 6),)),
        ("argmax", lambda a: a.argmax(-1), (x,)), ("argmin0", lambda a: a.argmin(0), (x,)),
        ("argmax_all", lambda a: a.argmax(), (x,)),
        ("int_sum", lambda a: a.sum(-1), (i,)), ("bool_sum", lambda a: a.sum(0), (b,)),
        ("int_max", lambda a: a.amax(0), (i,)), ("any", lambda a: a.any(-1), (b,)),
        ("all", lambda a: a.all(0), (b,)), ("any_int", lambda a: (a > 5).any(), (i,)),
        ("pool_mean", lambda a: a.mean((2, 3)), (image,)),
        ("norm", lambda a: torch.linalg.vector_norm(a, dim=-1), (x,)),
        ("norm1", lambda a: torch.linalg.vector_norm(a, 1, dim=0), (x,)),
        ("norm_inf", lambda a: torch.linalg.vector_norm(a, float("inf"), dim=1), (x,)),
        ("normalize", lambda a: F.normalize(a, dim=-1), (x,)),
        ("exp_sum", lambda a: a.exp().sum(-1), (x,)),
        ("softmax", lambda a: a.softmax(-1), (x,)), ("softmax1", lambda a: a.softmax(1), (x,)),
        ("softmax0", lambda a: a.softmax(0), (x,)),
        ("log_softmax", lambda a: a.log_softmax(-1), (x,)),
        ("softmax_masked", lambda a: a.masked_fill(a > 0, -float("inf")).softmax(-1), (x,)),
        ("layer_norm", lambda a: F.layer_norm(a, (33,)), (x,)),
        ("layer_norm2", lambda a, w, v: F.layer_norm(a, (5, 33), w, v), (x, rand(5, 33), rand(5, 33))),
        ("rms_norm", lambda a, w: F.rms_norm(a, (33,), w, 1e-6), (x, rand(33))),
        ("group_norm", lambda a, w, v: F.group_norm(a, 3, w, v), (rand(2, 6, 5, 7), rand(6), rand(6))),
        ("group_norm_last", lambda a: F.group_norm(a, 2), (image,)),
        ("f64_sum", lambda a: a.sum(-1), (x.double(),)),
    ]  # fmt: skip
    return cases


def product_cases() -> list[Case]:
    x, w = rand(5, 37), rand(19, 37)
    q, k, v = rand(2, 4, 9, 16), rand(2, 4, 11, 16), rand(2, 4, 11, 16)
    g = rand(2, 2, 11, 16)
    mask = torch.ones(9, 11, dtype=torch.bool).tril(2)
    sdpa = F.scaled_dot_product_attention
    return [
        ("linear", F.linear, (x, w, rand(19))), ("linear_1", F.linear, (rand(1, 37), w)),
        ("linear_3d", F.linear, (rand(2, 3, 37), w)), ("mm", torch.mm, (x, rand(37, 6))),
        ("mm_t", lambda a, b: a @ b.t(), (x, w)), ("bmm", torch.bmm, (rand(3, 5, 7), rand(3, 7, 9))),
        ("matmul_broadcast", torch.matmul, (rand(2, 1, 5, 7), rand(3, 7, 9))),
        ("matmul_vector", torch.matmul, (rand(4, 7), rand(7))),
        ("dot", torch.dot, (rand(33), rand(33, seed=1))),
        ("int_mm", torch.mm, (ints(4, 6), ints(6, 5))),
        ("f64_mm", torch.mm, (x.double(), rand(37, 6).double())),
        ("addmm", lambda c, a, b: torch.addmm(c, a, b, alpha=0.5, beta=2), (rand(6), x, rand(37, 6))),
        ("baddbmm", torch.baddbmm, (rand(3, 5, 9), rand(3, 5, 7), rand(3, 7, 9))),
        ("einsum", lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b), (q, k)),
        ("sdpa", sdpa, (q, k, v)), ("sdpa_bool", lambda a, b, c, m: sdpa(a, b, c, m), (q, k, v, mask)),
        ("sdpa_float", lambda a, b, c, m: sdpa(a, b, c, m), (q, k, v, rand(2, 1, 9, 11))),
        ("sdpa_causal", lambda a: sdpa(a, a, a, is_causal=True), (q,)),
        ("sdpa_scale", lambda a, b, c: sdpa(a, b, c, scale=0.1), (q, k, v)),
        ("sdpa_gqa", lambda a, b, c: sdpa(a, b, c, enable_gqa=True), (q, g, g + 1)),
        ("sdpa_3d", sdpa, (q[0], k[0], v[0])),
        ("sdpa_one", lambda a, b, c: sdpa(a[:, :, :1], b, c), (q, k, v)),
    ]  # fmt: skip


def image_cases() -> list[Case]:
    x = rand(2, 6, 11, 13)
    return [
        ("max_pool", lambda a: F.max_pool2d(a, 3, 2, 1), (x,)),
        ("max_pool_ceil", lambda a: F.max_pool2d(a, 2, ceil_mode=True), (x,)),
        ("avg_pool", lambda a: F.avg_pool2d(a, 3, 2, 1), (x,)),
        ("avg_pool_inside", lambda a: F.avg_pool2d(a, 3, 2, 1, count_include_pad=False), (x,)),
        ("adaptive", lambda a: F.adaptive_avg_pool2d(a, 1), (x,)),
        ("adaptive_3", lambda a: F.adaptive_avg_pool2d(a, (3, 4)), (x,)),
        ("nearest", lambda a: F.interpolate(a, scale_factor=2.0), (x,)),
        ("nearest_size", lambda a: F.interpolate(a, (7, 20)), (x,)),
        ("bilinear", lambda a: F.interpolate(a, (7, 20), mode="bilinear"), (x,)),
        ("bilinear_corners", lambda a: F.interpolate(a, (7, 20), mode="bilinear", align_corners=True), (x,)),
        ("bicubic", lambda a: F.interpolate(a, (7, 20), mode="bicubic"), (x,)),
        ("pool_after_permute", lambda a: F.max_pool2d(a.permute(0, 3, 1, 2), 2), (rand(2, 11, 13, 6),)),
    ]  # fmt: skip
