"""Matrix products of every rank, their sums, bilinear forms, integers and mixtures of experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.operator_cases import Case, ints, rand

NAN = torch.full((5, 6), float("nan"))


class LargeSum(nn.Module):
    """A linear layer whose epilogue reads as much as it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(1, 2002)
        self.large = nn.Linear(3, 2002)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.large(x)) + self.wide(x[:, :1])


def product_cases() -> list[Case]:
    x, w = rand(5, 7), rand(7, 6)
    v, u = rand(7), rand(5)
    cases: list[Case] = [
        (f"matmul_{len(a)}_{len(b)}_{i}", torch.matmul, (rand(*a), rand(*b, seed=1)))
        for i, (a, b) in enumerate(
            [
                ((7,), (7,)), ((7,), (7, 3)), ((5, 7), (7,)), ((7,), (2, 7, 3)), ((2, 5, 7), (7,)),
                ((7,), (2, 4, 7, 3)), ((2, 3, 5, 7), (7,)), ((2, 5, 7), (7, 3)),
                ((5, 7), (2, 7, 3)), ((2, 1, 5, 7), (3, 7, 4)), ((1, 5, 7), (4, 7, 2)),
                ((2, 1, 3, 1, 5, 7), (1, 4, 1, 2, 7, 3)), ((2, 1, 3, 1, 2, 5, 7), (4, 1, 5, 1, 7, 3)),
                ((0, 7), (7, 3)), ((5, 0), (0, 3)), ((2, 5, 0), (2, 0, 3)), ((0, 5, 7), (0, 7, 3)),
                ((1, 1), (1, 1)), ((0,), (0,)), ((17, 33), (33, 65)),
            ]
        )
    ]  # fmt: skip
    cases += [
        ("matmul_t", lambda a, b: a.mT @ b.mT, (rand(3, 7, 5), rand(3, 4, 7))),
        ("matmul_strided", lambda a, b: a[:, ::2] @ b[1::2], (rand(5, 14), rand(14, 6))),
        ("matmul_flip", lambda a, b: a.flip(0) @ b.flip(1), (x, w)),
        ("matmul_expand", lambda a, b: a.expand(3, 5, 7) @ b, (x, rand(3, 7, 2))),
        ("matmul_bf16", torch.matmul, (x.bfloat16(), w.bfloat16())),
        ("matmul_f16", torch.matmul, (x.half(), w.half())),
        ("matmul_f64", torch.matmul, (x.double(), w.double())),
        ("matmul_i64", torch.matmul, (ints(5, 7), ints(7, 6))),
        ("matmul_i32", torch.matmul, (ints(2, 5, 7).int(), ints(2, 7, 6).int())),
        ("matmul_u8", torch.mm, (ints(5, 7, low=0, high=200).byte(), ints(7, 6, low=0).byte())),
        ("matmul_i8", torch.mm, (ints(5, 7, low=-90, high=90).char(), ints(7, 6).char())),
        ("matmul_nan", torch.matmul, (torch.where(x > 1, torch.nan, x), w)),
        ("mv", torch.mv, (x, v)), ("mv_int", torch.mv, (ints(5, 7), ints(7))),
        ("dot_int", torch.dot, (ints(9), ints(9, seed=1))), ("vdot", torch.vdot, (v, v)),
        ("inner", torch.inner, (x, rand(3, 7))), ("outer", torch.outer, (u, v)),
        ("ger", torch.ger, (u, v)), ("kron", torch.kron, (x, rand(2, 3))),
        ("chain", torch.chain_matmul, (x, w, rand(6, 3))),
        ("multi_dot", lambda a, b, c: torch.linalg.multi_dot([a, b, c]), (v, w, rand(6))),
        ("vecdot", torch.linalg.vecdot, (x, x)),
        ("tensordot", lambda a, b: torch.tensordot(a, b, ([1, 0], [0, 2])), (rand(2, 3, 4), rand(3, 5, 2))),
        ("tensordot_0", lambda a, b: torch.tensordot(a, b, 0), (x, v)),
        ("power", lambda a: torch.linalg.matrix_power(a, 5), (rand(4, 4) / 2,)),
        ("power_0", lambda a: torch.linalg.matrix_power(a, 0) + 0, (rand(4, 4),)),
        ("addmm", lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=-2), (rand(5, 6), x, w)),
        ("addmm_nan", lambda c, a, b: torch.addmm(c, a, b, beta=0), (NAN, x, w)),
        ("addmm_int", lambda c, a, b: torch.addmm(c, a, b, beta=2, alpha=3), (ints(6), ints(5, 7), ints(7, 6))),
        ("addmm_0d", torch.addmm, (torch.tensor(0.5), x, w)),
        ("addmm_gelu", lambda c, a, b: torch._addmm_activation(c, a, b, use_gelu=True), (rand(6), x, w)),
        ("addmm_relu", lambda c, a, b: torch._addmm_activation(c, a, b, beta=2), (rand(6), x, w)),
        ("addmv", lambda c, a, b: torch.addmv(c, a, b, beta=0.5, alpha=2), (u, x, v)),
        ("addmv_nan", lambda c, a, b: torch.addmv(c, a, b, beta=0), (NAN[:, 0], x, v)),
        ("addr", lambda c, a, b: torch.addr(c, a, b, beta=0.5, alpha=2), (x, u, v)),
        ("addbmm", lambda c, a, b: torch.addbmm(c, a, b, beta=0.5, alpha=2), (rand(5, 4), rand(3, 5, 7), rand(3, 7, 4))),
        ("addbmm_nan", lambda c, a, b: torch.addbmm(c, a, b, beta=0), (NAN[:, :4], rand(3, 5, 7), rand(3, 7, 4))),
        ("baddbmm", lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2), (rand(1, 5, 1), rand(3, 5, 7), rand(3, 7, 4))),
        ("baddbmm_nan", lambda c, a, b: torch.baddbmm(c, a, b, beta=0), (NAN[:, :4], rand(3, 5, 7), rand(3, 7, 4))),
        ("bilinear", F.bilinear, (rand(5, 3), rand(5, 4), rand(6, 3, 4), rand(6))),
        # one row serves all, and a width of one all columns; nothing to sum
        ("trilinear_row", lambda a, w, b: torch._trilinear(a, w, b, [1, 3], [0], [1, 2], [2, 3]), (rand(1, 3), rand(2, 3, 4), rand(5, 4))),
        ("trilinear_wide", lambda a, w, b: torch._trilinear(a, w, b, [1, 3], [0], [1, 2], [2, 3]), (rand(5, 1), rand(2, 3, 4), rand(5, 1))),
        ("trilinear_no_sum", lambda a, b, c: torch._trilinear(a, b, c, [], [], [], []), (rand(3, 4), rand(3, 4), rand(3, 4))),
        ("bilinear_3d", F.bilinear, (rand(2, 5, 3), rand(2, 5, 4), rand(1, 3, 4))),
        ("linear_1d", F.linear, (v, rand(5, 7), u)), ("linear_vector", F.linear, (x, v)),
        ("linear_4d", F.linear, (rand(2, 1, 3, 7), rand(5, 7), u)),
        ("linear_empty", F.linear, (rand(0, 7), rand(5, 7), u)),
        ("linear_int", F.linear, (ints(4, 7), ints(5, 7), ints(5))),
        ("linear_strided", lambda a, b: F.linear(a[:, 1:6], b), (rand(4, 7), rand(3, 5))),
        ("linear_bf16", F.linear, (x.bfloat16(), rand(3, 7).bfloat16(), rand(3).bfloat16())),
        # results over 4 MB are prefetched while they are summed
        ("linear_large", LargeSum().requires_grad_(False), (rand(1100, 3),)),
        ("einsum_trace", lambda a: torch.einsum("ii", a), (rand(4, 4),)),
        ("einsum_diagonal", lambda a: torch.einsum("bii->bi", a), (rand(2, 4, 4),)),
        ("einsum_three", lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), (x, w, rand(6, 3))),
        ("einsum_bilinear", lambda a, b, c: torch.einsum("bn,anm,bm->ba", a, b, c), (rand(2, 5), rand(3, 5, 4), rand(2, 4))),
        ("einsum_dots", lambda a, b: torch.einsum("...ij,...kj->...ik", a, b), (rand(2, 3, 4, 5), rand(3, 6, 5))),
        ("einsum_outer", lambda a, b: torch.einsum("i,j->ij", a, b), (u, v)),
        ("einsum_sum", lambda a: torch.einsum("ijk->k", a), (rand(2, 3, 4),)),
        ("grouped", experts, (rand(9, 7), rand(4, 7, 5), torch.tensor([2, 2, 7, 9], dtype=torch.int32))),
        ("grouped_short", experts, (rand(9, 7), rand(3, 7, 5).mT.contiguous().mT, torch.tensor([0, 4, 6]))),
        ("grouped_bf16", halves, (rand(16, 16).bfloat16(), rand(3, 16, 8).bfloat16(), torch.tensor([4, 5, 16], dtype=torch.int32))),
        ("grouped_none", experts, (rand(0, 7), rand(2, 7, 5), torch.tensor([0, 0]))),
    ]  # fmt: skip
    return cases


def experts(x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
    import transformers.integrations.moe  # noqa: F401  (registers the operator)

    return torch.ops.transformers.grouped_mm_fallback(x, w, ends)


def halves(x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
    """Multiply by PyTorch's own operator, which does not take float64."""
    if x.dtype == torch.float64:
        return experts(x, w, ends)
    return torch._grouped_mm(x, w, offs=ends)
