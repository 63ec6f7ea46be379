"""Calls of reductions and statistics in all their forms."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.operator_cases import Case, flags, ints, rand

X = rand(3, 5, 37)
DIMS = (-1, 1, 0, (0, 1), (1, 2), (0, 2), (0, 1, 2))
INF = float("inf")


def moment_cases() -> list[Case]:
    cases: list[Case] = []
    for dim in DIMS:
        cases += [
            (f"var{dim}", lambda a, d=dim: a.var(d), (X,)),
            (f"std{dim}", lambda a, d=dim: a.std(d, correction=0, keepdim=True), (X,)),
            (f"logsumexp{dim}", lambda a, d=dim: a.logsumexp(d), (X,)),
            (f"mean{dim}", lambda a, d=dim: a.mean(d, keepdim=True), (X,)),
        ]
    cases += [
        ("var_all", lambda a: a.var(), (X,)), ("var_mean", lambda a: torch.var_mean(a, 1), (X,)),
        ("std_mean", lambda a: torch.std_mean(a, (0, 2), keepdim=True), (X,)),
        ("var_correction", lambda a: a.var(1, correction=2.5), (X,)),
        ("var_unbiased", lambda a: a.var(1, unbiased=False), (X,)),
        ("var_correction_large", lambda a: a.var(1, correction=9), (X,)),
        ("var_one", lambda a: a[:, :1].var(1), (X,)), ("var_shifted", lambda a: (a + 1000).var(-1), (X,)),
        ("var_bf16", lambda a: a.var(-1), (X.bfloat16(),)), ("var_f64", lambda a: a.var(0), (X.double(),)),
        ("var_0d", lambda a: a.var(correction=0), (rand(),)), ("var_transposed", lambda a: a.mT.var(-1), (X,)),
        ("var_long", lambda a: a.var(-1), (rand(2, 90000),)), ("std_fused", lambda a: (a * 3).std(-1) + 1, (X,)),
        ("var_empty", lambda a: a[:, :0].var(1), (X,)),
        ("logsumexp_keep", lambda a: a.logsumexp(1, keepdim=True), (X,)),
        ("logsumexp_inf", lambda a: torch.where(a > 0, -INF, a).logsumexp(0), (X,)),
        ("logsumexp_pinf", lambda a: torch.where(a > 2, INF, a).logsumexp(-1), (X,)),
        ("logsumexp_big", lambda a: (a * 100).logsumexp(-1), (X,)),
        ("logsumexp_int", lambda a: a.logsumexp(0), (ints(4, 6),)), ("logsumexp_0d", lambda a: a.logsumexp(0), (rand(),)),
        ("logsumexp_bf16", lambda a: a.logsumexp(-1), (X.bfloat16(),)),
        ("cov", torch.cov, (rand(4, 9),)), ("corrcoef", torch.corrcoef, (rand(4, 9),)),
        ("cov_vector", lambda a: torch.cov(a, correction=0), (rand(7),)), ("corrcoef_vector", torch.corrcoef, (rand(7),)),
        ("cov_weights", lambda a, f, w: torch.cov(a, fweights=f, aweights=w), (rand(4, 9), ints(9, low=0, high=4), rand(9).abs())),
        ("cov_few", lambda a: torch.cov(a, correction=3), (rand(3, 2),)),
    ]  # fmt: skip
    return cases


def sum_cases() -> list[Case]:
    n, b = ints(4, 6, 5), flags(4, 6, 5)
    holes = torch.where(X > 1, torch.nan, X)
    big = torch.full((3, 5), 2**62)
    cases: list[Case] = []
    for name, f in {"sum": torch.sum, "amax": torch.amax, "amin": torch.amin}.items():
        for dim in DIMS:
            cases += [
                (f"{name}{dim}", lambda a, f=f, d=dim: f(a, dim=d, keepdim=True), (holes,)),
                (f"{name}_int{dim}", lambda a, f=f, d=dim: f(a, dim=d), (n,)),
                (f"{name}_bool{dim}", lambda a, f=f, d=dim: f(a, dim=d), (b,)),
            ]
    for dim in (-1, 1, 0):
        cases += [
            (f"prod{dim}", lambda a, d=dim: a.prod(d), (X,)),
            (f"prod_int{dim}", lambda a, d=dim: a.prod(d, keepdim=True), (n,)),
            (f"any{dim}", lambda a, d=dim: a.any(d), (b,)),
            (f"all{dim}", lambda a, d=dim: a.all(d, keepdim=True), (n,)),
            (f"argmax{dim}", lambda a, d=dim: a.argmax(d, keepdim=True), (holes,)),
            (f"argmin{dim}", lambda a, d=dim: a.argmin(d), (n,)),
        ]
    cases += [
        ("sum_overflow", lambda a: a.sum(1), (big,)), ("prod_overflow", lambda a: a.prod(), (big,)),
        ("sum_i8", lambda a: a.to(torch.int8).sum(), (n,)), ("sum_u8", lambda a: a.to(torch.uint8).sum(1), (n,)),
        ("sum_dtype", lambda a: a.sum(1, dtype=torch.float64), (X,)), ("sum_to_int", lambda a: a.sum(1, dtype=torch.int64), (X * 9,)),
        ("mean_dtype", lambda a: a.mean(1, dtype=torch.float32), (n,)), ("sum_i32", lambda a: a.sum(dtype=torch.int32), (n,)),
        ("prod_dtype", lambda a: a.prod(1, dtype=torch.float32), (n,)), ("prod_bool", lambda a: a.prod(1), (b,)),
        ("sum_bf16", lambda a: a.sum(-1), (X.bfloat16(),)), ("sum_f16", lambda a: a.sum(0), (X.half(),)),
        ("mean_bf16", lambda a: a.mean((0, 1)), (X.bfloat16(),)), ("amax_bf16", lambda a: a.amax(1), (X.bfloat16(),)),
        ("sum_empty", lambda a: a[:, :0].sum(1), (X,)), ("mean_empty", lambda a: a[:, :0].mean(1), (X,)),
        ("prod_empty", lambda a: a[:, :0].prod(1), (X,)), ("any_empty", lambda a: a[:, :0].any(1), (b,)),
        ("all_empty", lambda a: a[:, :0].all(), (b,)), ("sum_of_none", lambda a: a[:0].sum(1), (X,)),
        ("amax_of_none", lambda a: a[:0].amax(1), (X,)), ("argmax_of_none", lambda a: a[:0].argmax(1), (X,)),
        ("sum_0d", lambda a: a.sum(), (rand(),)), ("amax_0d", lambda a: a.amax(0), (rand(),)), ("argmax_0d", lambda a: a.argmax(), (rand(),)),
        ("sum_dims_empty", lambda a: a.sum(()), (X,)), ("amax_dims_empty", lambda a: a.amax(()), (X,)),
        ("any_all", lambda a: a.any(), (X,)), ("any_dims", lambda a: torch.any(a, (0, 2)), (b,)),
        ("all_dims", lambda a: torch.all(a, (0, 2), keepdim=True), (b,)), ("any_nan", lambda a: a.any(1), (holes * 0,)),
        ("any_u8", lambda a: a.to(torch.uint8).any(1), (n,)), ("all_u8", lambda a: a.to(torch.uint8).all(1), (n,)),
        ("any_dims_none", lambda a: torch.any(a, ()), (b,)),
        ("sum_expanded", lambda a: a[:, None].expand(3, 4, 5, 37).sum((1, 3)), (X,)),
        ("sum_strided", lambda a: a[:, ::2, ::3].sum((0, 2)), (X,)), ("sum_flipped", lambda a: a.flip(2).sum(1), (X,)),
        ("nansum", lambda a: a.nansum(1), (holes,)), ("nansum_all", lambda a: a.nansum(), (holes,)), ("nansum_int", lambda a: a.nansum(0), (n,)),
        ("nanmean", lambda a: a.nanmean((0, 2), keepdim=True), (holes,)),
        ("count_nonzero", lambda a: a.count_nonzero(), (n,)), ("count_nonzero_dim", lambda a: a.count_nonzero((0, 2)), (n,)),
        ("count_nonzero_one", lambda a: a.count_nonzero(1), (holes.nan_to_num(),)), ("count_nonzero_bool", lambda a: a.count_nonzero(0), (b,)),
        ("max_all", torch.max, (holes,)), ("min_all_int", torch.min, (n,)), ("max_u8", lambda a: a.to(torch.uint8).amax(1), (n,)),
        ("argmax_ties", lambda a: (a // 4).argmax(), (n,)), ("argmax_flip", lambda a: a.flip(1).argmax(1), (X,)),
        ("argmax_permuted", lambda a: a.permute(2, 0, 1).argmax(), (X,)), ("argmin_permuted", lambda a: a.permute(2, 0, 1).argmin(1), (n,)),
        ("trace", lambda a: a[0, :5, :5].trace(), (X,)), ("sum_to_size", lambda a: a.sum_to_size(1, 5, 1), (X,)),
        ("sum_long", lambda a: a.sum(), (rand(300000),)), ("amin_long", lambda a: a.amin(), (rand(300000),)),
    ]  # fmt: skip
    return cases


def norm_cases() -> list[Case]:
    cases: list[Case] = []
    for order in (2, 1, 0, INF, -INF, 3, 0.5, -1):
        for dim in (-1, (0, 2), None):
            cases.append((
                f"vector_norm{order}{dim}",
                lambda a, o=order, d=dim: torch.linalg.vector_norm(a, o, dim=d), (X,),
            ))  # fmt: skip
    cases += [
        ("norm", lambda a: a.norm(), (X,)), ("norm_p", lambda a: a.norm(p=1, dim=1, keepdim=True), (X,)),
        ("norm_dims", lambda a: a.norm(dim=(0, 1)), (X,)), ("norm_fro", lambda a: torch.norm(a, "fro", dim=(1, 2)), (X,)),
        ("norm_f64", lambda a: torch.linalg.vector_norm(a, dtype=torch.float64), (X,)),
        ("norm_bf16", lambda a: torch.linalg.vector_norm(a, dim=1), (X.bfloat16(),)),
        ("matrix_norm", lambda a: torch.linalg.matrix_norm(a), (X,)), ("matrix_norm1", lambda a: torch.linalg.matrix_norm(a, 1), (X,)),
        ("matrix_norm_inf", lambda a: torch.linalg.matrix_norm(a, INF), (X,)), ("linalg_norm", lambda a: torch.linalg.norm(a[0], "fro"), (X,)),
        ("normalize", lambda a: F.normalize(a, p=3, dim=1), (X,)), ("cosine", lambda a: F.cosine_similarity(a, a.flip(0), dim=1), (X,)),
        ("pairwise", lambda a: F.pairwise_distance(a[0], a[1]), (X,)), ("renorm", lambda a: a.renorm(2, 0, 1.5), (X,)),
        ("cdist", lambda a, b: torch.cdist(a, b), (X, rand(3, 4, 37))), ("cdist1", lambda a, b: torch.cdist(a, b, p=1), (X, rand(4, 37))),
        ("cdist_inf", lambda a, b: torch.cdist(a, b, p=INF), (X, rand(3, 4, 37))), ("cdist_large", lambda a, b: torch.cdist(a, b), (rand(40, 8), rand(30, 8))),
        ("cdist0", lambda a, b: torch.cdist(a, b, p=0), (ints(4, 6).float(), ints(5, 6).float())),
        ("pdist", lambda a: F.pdist(a[0]), (X,)), ("pdist3", lambda a: F.pdist(a[0], p=3), (X,)),
        ("dist", lambda a: torch.dist(a, a.flip(0)), (X,)), ("dist_inf", lambda a: torch.dist(a, a[0], p=INF), (X,)),
    ]  # fmt: skip
    return cases
