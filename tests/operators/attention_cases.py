"""Attention in every mask form, shape and type; softmax along every axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.operator_cases import Case, flags, ints, rand
from tests.operators.recurrent_cases import double, layer

sdpa = F.scaled_dot_product_attention


def masked(**options: Any) -> Callable[..., Tensor]:
    return lambda q, k, v, m: sdpa(q, k, v, m, **options)


def attention_cases() -> list[Case]:
    q, k, v = rand(2, 4, 9, 16), rand(2, 4, 11, 16), rand(2, 4, 11, 8)
    one, two = rand(2, 1, 11, 16), rand(2, 2, 11, 16)
    seen = flags(9, 11)
    seen[3] = False  # one row sees nothing
    far = torch.where(seen, 0.0, -torch.inf)
    cases: list[Case] = [
        (f"bool_{'_'.join(map(str, s))}", masked(), (q, k, v, seen_of(*s)))
        for s in [(9, 11), (1, 11), (9, 1), (1, 1), (4, 9, 11), (1, 1, 11), (2, 1, 9, 11),
                  (2, 1, 1, 11), (2, 4, 9, 11), (1, 4, 9, 1)]
    ]  # fmt: skip
    cases += [
        (f"float_{'_'.join(map(str, s))}", masked(), (q, k, v, rand(*s)))
        for s in [(9, 11), (1, 11), (4, 1, 11), (2, 1, 9, 11), (2, 4, 9, 11)]
    ]
    cases += [
        ("hidden_row", masked(), (q, k, v, seen)), ("hidden_row_float", masked(), (q, k, v, far)),
        ("hidden_all", masked(), (q, k, v, torch.zeros(9, 11, dtype=torch.bool))),
        ("causal_more_keys", lambda a, b, c: sdpa(a, b, c, is_causal=True), (q, k, v)),
        ("causal_fewer_keys", lambda a, b, c: sdpa(a, b[:, :, :5], c[:, :, :5], is_causal=True), (q, k, v)),
        ("scale", lambda a, b, c: sdpa(a, b, c, scale=-0.3), (q, k, v)),
        ("gqa", lambda a, b, c: sdpa(a, b, c, enable_gqa=True), (q, two, two + 1)),
        ("gqa_one", lambda a, b, c: sdpa(a, b, c, enable_gqa=True), (q, one, one + 1)),
        ("gqa_causal", lambda a, b: sdpa(a, b, b, enable_gqa=True, is_causal=True), (q, two)),
        ("gqa_mask", masked(enable_gqa=True), (q, two, two + 1, seen)),
        ("one_query", lambda a, b, c: sdpa(a[:, :, 4:5], b, c), (q, k, v)),
        ("one_key", lambda a, b, c: sdpa(a, b[:, :, 4:5], c[:, :, 4:5]), (q, k, v)),
        ("two_dims", lambda a, b, c: sdpa(a[0, 0], b[0, 0], c[0, 0]), (q, k, v)),
        ("three_dims", sdpa, (q[0], k[0], v[0])),
        ("three_dims_mask", masked(), (q[0], k[0], v[0], flags(4, 9, 11) | seen)),
        ("five_dims", sdpa, (rand(2, 3, 4, 5, 8), rand(2, 3, 4, 6, 8), rand(2, 3, 4, 6, 8))),
        ("five_dims_mask", masked(), (rand(2, 3, 4, 5, 8), rand(2, 3, 4, 6, 8), rand(2, 3, 4, 6, 8), rand(3, 1, 5, 6))),
        ("five_dims_swapped", lambda a: sdpa(a.transpose(0, 1), a.transpose(0, 1), a.transpose(0, 1)), (rand(2, 3, 4, 5, 8),)),
        ("broadcast_keys", sdpa, (q, k[:1], v[:1])), ("broadcast_heads", sdpa, (q, one, one + 1)),
        ("broadcast_queries", sdpa, (q[:1], k, v)),
        ("broadcast_query_heads", sdpa, (q[:, :1], k, v)),
        ("no_keys", lambda a, b, c: sdpa(a, b[:, :, :0], c[:, :, :0]), (q, k, v)),
        ("no_queries", lambda a, b, c: sdpa(a[:, :, :0], b, c), (q, k, v)),
        ("no_batch", lambda a, b, c: sdpa(a[:0], b[:0], c[:0]), (q, k, v)),
        ("odd_depth", sdpa, (rand(1, 2, 5, 7), rand(1, 2, 6, 7), rand(1, 2, 6, 5))),
        ("depth_one", sdpa, (rand(1, 2, 5, 1), rand(1, 2, 6, 1), rand(1, 2, 6, 1))),
        ("transposed", lambda a: sdpa(*(t.transpose(1, 2) for t in a.view(2, 9, 4, 24).split(8, -1))), (rand(2, 9, 96),)),
        ("depth_strided", lambda a, b: sdpa(a.mT, b.mT, b.mT), (rand(2, 4, 16, 9), rand(2, 4, 16, 11))),
        ("bf16", sdpa, (q.bfloat16(), k.bfloat16(), v.bfloat16())),
        ("bf16_mask", masked(), (q.bfloat16(), k.bfloat16(), v.bfloat16(), seen)),
        ("f16", sdpa, (q.half(), k.half(), v.half())),
        ("f64", masked(), (q.double(), k.double(), v.double(), rand(9, 11).double())),
        ("long", sdpa, (rand(1, 2, 70, 32), rand(1, 2, 300, 32), rand(1, 2, 300, 32))),
        ("math", lambda a, b, c: torch.ops.aten._scaled_dot_product_attention_math(a, b, c)[0], (q, k, v)),
        ("flash", lambda a, b: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(a, b, b)[0], (q, k)),
    ]  # fmt: skip
    return cases + module_cases() + softmax_cases()


def seen_of(*shape: int) -> Tensor:
    """Return a mask that lets every row see something."""
    return flags(*shape) | (torch.arange(shape[-1]) == 0)


def module_cases() -> list[Case]:
    x, y = rand(2, 5, 8), rand(2, 7, 8)
    mha = layer(nn.MultiheadAttention, 8, 2, batch_first=True)
    other = layer(nn.MultiheadAttention, 8, 2, kdim=6, vdim=4, add_bias_kv=True, add_zero_attn=True)
    call, cross = double(mha), double(other)
    padding = flags(2, 7)
    padding[:, 0] = False
    one = layer(nn.TransformerEncoderLayer, 8, 2, 16, batch_first=True, norm_first=True)
    encoders = nn.TransformerEncoder(one, 2, enable_nested_tensor=False).eval()
    encoders = double(encoders.requires_grad_(False))
    return [
        ("mha", lambda a: call(a, a, a), (x,)),
        ("mha_cross", lambda a, b: call(a, b, b, need_weights=False)[0], (x, y)),
        ("mha_padding", lambda a, b, p: call(a, b, b, key_padding_mask=p), (x, y, padding)),
        ("mha_mask", lambda a, b, m: call(a, b, b, attn_mask=m), (x, y, rand(5, 7))),
        ("mha_heads", lambda a, b: call(a, b, b, average_attn_weights=False), (x, y)),
        ("mha_kinds", lambda a, b, c: cross(a, b, c), (rand(5, 3, 8), rand(7, 3, 6), rand(7, 3, 4))),
        ("encoder", double(layer(nn.TransformerEncoderLayer, 8, 2, 16, batch_first=True)), (x,)),
        ("encoders", lambda a, m, p: encoders(a, mask=m, src_key_padding_mask=p),
         (y, torch.ones(7, 7, dtype=torch.bool).triu(1), padding)),
        ("decoder", double(layer(nn.TransformerDecoderLayer, 8, 2, 16, batch_first=True)), (x, y)),
    ]  # fmt: skip


def softmax_cases() -> list[Case]:
    x, special = rand(3, 4, 5, 17), rand(4, 6)
    special[0] = -torch.inf
    special[1, 2] = torch.nan
    special[2, 3] = torch.inf
    special[3, :4] = -torch.inf
    cases: list[Case] = []
    for d in (-4, -3, 1, 2, 3):
        cases += [
            (f"softmax{d}", lambda a, d=d: a.softmax(d), (x,)),
            (f"log_softmax{d}", lambda a, d=d: a.log_softmax(d), (x,)),
            (f"softmin{d}", lambda a, d=d: F.softmin(a, d), (x,)),
        ]
    for name, kind in (("f64", torch.float64), ("bf16", torch.bfloat16), ("f16", torch.float16)):
        cases += [
            (f"softmax_{name}", lambda a: a.softmax(-1), (x.to(kind),)),
            (f"log_softmax_{name}", lambda a: a.log_softmax(1), (x.to(kind),)),
        ]
    cases += [
        ("softmax_to_f64", lambda a: a.softmax(-1, dtype=torch.float64), (x,)),
        ("softmax_from_int", lambda a: a.softmax(0, dtype=torch.float32), (ints(4, 5),)),
        ("log_softmax_from_half", lambda a: a.log_softmax(1, dtype=torch.float32), (x.half(),)),
        ("softmax_0d", lambda a: a.softmax(0), (torch.tensor(2.0),)),
        ("log_softmax_0d", lambda a: a.log_softmax(-1), (torch.tensor(2.0),)),
        ("softmax_empty", lambda a: a.softmax(1), (rand(3, 0),)),
        ("softmax_empty_rows", lambda a: a.softmax(1), (rand(0, 3),)),
        ("softmax_one", lambda a: a.softmax(1), (rand(3, 1),)),
        ("softmax_special", lambda a: a.softmax(-1), (special,)),
        ("softmax_special0", lambda a: a.softmax(0), (special.t().contiguous(),)),
        ("log_softmax_special", lambda a: a.log_softmax(-1), (special,)),
        ("softmax_big", lambda a: (a * 1e4).softmax(-1), (x,)),
        ("softmax_strided", lambda a: a[:, ::2, :, 1::3].softmax(-1), (x,)),
        ("softmax_t", lambda a: a.permute(3, 1, 0, 2).softmax(1), (x,)),
        ("_softmax", lambda a: torch._softmax(a, 1, False), (x,)),
        ("_log_softmax", lambda a: torch._log_softmax(a, 1, False), (x,)),
        ("softmax2d", nn.Softmax2d(), (x,)),
    ]  # fmt: skip
    return cases
