"""Calls of operators that sort, select, scan, search and count."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.operator_cases import SPECIAL, Case, flags, ints, rand


def sort_cases() -> list[Case]:
    x, n, b = rand(3, 4, 33), ints(5, 40, low=-4, high=5), flags(6, 20)
    holes = torch.where(rand(4, 21, seed=3) > 1.2, torch.nan, (rand(4, 21, seed=4) * 2).round())
    cases: list[Case] = []
    for label, value in {"f": x, "i": n, "b": b, "nan": holes, "bf16": x.bfloat16(),
                         "f64": x.double(), "u8": n.to(torch.uint8)}.items():  # fmt: skip
        for dim in (-1, 0):
            for down in (False, True):
                cases.append((
                    f"sort_{label}{dim}{down}",
                    lambda a, d=dim, r=down: torch.sort(a, dim=d, descending=r, stable=True),
                    (value,),
                ))  # fmt: skip
    cases += [
        ("sort_1d", torch.sort, (rand(100),)), ("sort_0d", torch.sort, (rand(),)),
        ("sort_empty", torch.sort, (rand(3, 0),)), ("sort_special", torch.sort, (SPECIAL,)),
        ("argsort", lambda a: a.argsort(1, descending=True), (x,)), ("msort", torch.msort, (x,)),
        ("sort_fused", lambda a: (-a).exp().sort(1)[0] * 2, (x,)),
        ("argsort_gather", lambda a: a.gather(1, a.argsort(1)), (x,)),
    ]  # fmt: skip
    return cases


def selection_cases() -> list[Case]:
    x = rand(3, 300)
    ties = ints(4, 300, low=0, high=9)
    few = ints(6, 15, low=0, high=4)
    holes = torch.where(rand(4, 40, seed=3) > 1.2, torch.nan, (rand(4, 40, seed=4) * 2).round())
    cases: list[Case] = []
    for label, value in {"x": x, "ties": ties, "few": few, "half": (x * 3).round().half(),
                         "flags": flags(5, 200).float(), "nan": holes, "ramp": torch.arange(500.0)[None],
                         "equal": torch.zeros(2, 200)}.items():  # fmt: skip
        for k in (1, 3, 7, 13):
            for largest in (True, False):
                cases.append((
                    f"topk_{label}{k}{largest}",
                    lambda a, k=k, w=largest: torch.topk(a, k, largest=w),
                    (value,),
                ))  # fmt: skip
        cases += [
            (f"median_{label}", lambda a: torch.median(a, -1), (value,)),
            (f"nanmedian_{label}", lambda a: torch.nanmedian(a, 0, keepdim=True), (value,)),
            (f"median_all_{label}", torch.median, (value,)),
            (f"kth_{label}", lambda a: torch.kthvalue(a, a.shape[1] // 2 + 1, 1), (value,)),
            (f"kth1_{label}", lambda a: torch.kthvalue(a, 1, 0, keepdim=True), (value,)),
            (f"max_{label}", lambda a: torch.max(a, 1), (value,)),
            (f"min_{label}", lambda a: torch.min(a, 0, keepdim=True), (value,)),
            (f"argmax_{label}", lambda a: a.mT.argmax(), (value,)),
            (f"argmin_{label}", lambda a: a.mT.argmin(0), (value,)),
        ]
        if label != "nan":  # PyTorch's answer depends on where the NaNs stand
            cases.append((f"mode_{label}", lambda a: torch.mode(a, -1), (value,)))
    cases += [
        ("topk_all", lambda a: torch.topk(a, 300), (ties,)),
        ("topk_dim", lambda a: torch.topk(a, 2, dim=0), (ties,)),
        ("topk_unsorted", lambda a: torch.topk(a, 20, sorted=False), (ties,)),
        ("topk_zero", lambda a: torch.topk(a, 0), (x,)),
        ("topk_0d", lambda a: torch.topk(a, 1), (rand(),)),
        ("topk_long", lambda a: torch.topk(a, 40), ((rand(2, 5000) * 20).round(),)),
        ("topk_half_row", lambda a: torch.topk(a, 2500), ((rand(2, 5000) * 20).round(),)),
        ("max_bool", lambda a: torch.max(a, 1), (flags(5, 9),)),
        ("median_0d", lambda a: torch.median(a, 0), (rand(),)),
        ("kth_0d", lambda a: torch.kthvalue(a, 1), (rand(),)),
        ("quantile", lambda a: torch.quantile(a, 0.3, dim=1), (x,)),
        ("quantile_all", lambda a, q: torch.quantile(a, q), (x, torch.tensor([0.1, 0.5, 1.0]))),
        ("nanquantile", lambda a: torch.nanquantile(a, 0.6, dim=1, keepdim=True), (holes,)),
        ("aminmax", lambda a: torch.aminmax(a, dim=1), (holes,)),
        ("aminmax_all", lambda a: torch.aminmax(a), (x,)),
    ]  # fmt: skip
    return cases


def scan_cases() -> list[Case]:
    x, n = rand(4, 6, 35), ints(5, 30)
    holes = torch.where(x > 1.5, torch.nan, x)
    ends = torch.where(x > 1.5, torch.inf, torch.where(x < -1.5, -torch.inf, x))
    cases: list[Case] = []
    for dim in (0, 1, -1):
        cases += [
            (f"cumsum{dim}", lambda a, d=dim: a.cumsum(d), (x,)),
            (f"cumprod{dim}", lambda a, d=dim: a.cumprod(d), (x,)),
            (f"cummax{dim}", lambda a, d=dim: a.cummax(d), (holes,)),
            (f"cummin{dim}", lambda a, d=dim: a.cummin(d), (holes,)),
            (f"logcumsumexp{dim}", lambda a, d=dim: a.logcumsumexp(d), (x,)),
        ]
    cases += [
        ("cumsum_int", lambda a: a.cumsum(0), (n,)), ("cumsum_bool", lambda a: a.cumsum(1), (flags(4, 9),)),
        ("cumsum_i32", lambda a: a.int().cumsum(1), (n,)), ("cumsum_u8", lambda a: a.to(torch.uint8).cumsum(1), (n,)),
        ("cumsum_keep_i32", lambda a: a.cumsum(1, dtype=torch.int32), (n,)),
        ("cumsum_float", lambda a: a.cumsum(1, dtype=torch.float32), (n,)),
        ("cumprod_int", lambda a: a.cumprod(1), (n,)), ("cummax_int", lambda a: a.cummax(1), (n,)),
        ("cummax_bool", lambda a: a.cummax(1), (flags(4, 9),)),
        ("cummin_ties", lambda a: (a // 3).cummin(0), (n,)),
        ("cumsum_bf16", lambda a: a.cumsum(-1), (x.bfloat16(),)), ("cumsum_f64", lambda a: a.cumsum(1), (x.double(),)),
        ("cumsum_0d", lambda a: a.cumsum(0), (rand(),)), ("cummax_0d", lambda a: a.cummax(0), (rand(),)),
        ("cumsum_empty", lambda a: a.cumsum(1), (rand(3, 0),)), ("cummax_empty", lambda a: a.cummax(1), (rand(3, 0),)),
        ("cumsum_long", lambda a: a.cumsum(-1), (rand(2, 70000),)),
        ("cumsum_transposed", lambda a: a.mT.cumsum(-1), (x,)),
        ("cumsum_fused", lambda a: (a * 2).cumsum(1).relu(), (x,)),
        ("logcumsumexp_inf", lambda a: a.logcumsumexp(-1), (ends,)),
        ("cumsum_inf", lambda a: a.cumsum(-1), (ends,)),
        ("diff", lambda a: a.diff(n=2, dim=1), (x,)), ("diff_int", lambda a: a.diff(), (n,)),
        ("diff_bool", lambda a: a.diff(), (flags(4, 9),)),
        ("diff_pad", lambda a, b: a.diff(dim=0, prepend=b), (x, x[:1])),
        ("trapezoid", lambda a: torch.trapezoid(a, dx=0.5, dim=1), (x,)),
        ("cumulative_trapezoid", lambda a: torch.cumulative_trapezoid(a, dim=1), (x,)),
    ]  # fmt: skip
    return cases


def lookup_cases() -> list[Case]:
    x, edges = rand(4, 9), torch.tensor([-1.0, -0.5, 0.0, 0.0, 0.5, 2.0])
    rows = rand(4, 12).sort(-1)[0]
    table, weights = rand(10, 37), rand(9)
    i = ints(9, low=0, high=10)
    starts = torch.tensor([0, 0, 4, 5])
    n = ints(6, 7)
    bag = F.embedding_bag
    return [
        ("bucketize", lambda a, b: torch.bucketize(a, b), (x, edges)),
        ("bucketize_right", lambda a, b: torch.bucketize(a, b, right=True), (edges, edges)),
        ("bucketize_i32", lambda a, b: torch.bucketize(a, b, out_int32=True), (x, edges)),
        ("bucketize_scalar", lambda b: torch.bucketize(0.3, b), (edges,)),
        ("bucketize_special", lambda a, b: torch.bucketize(a, b), (SPECIAL, edges)),
        ("bucketize_int", lambda a, b: torch.bucketize(a, b), (n, ints(8).sort()[0])),
        ("searchsorted", lambda a, b: torch.searchsorted(a, b), (rows, x)),
        ("searchsorted_side", lambda a, b: torch.searchsorted(a, b, side="right"), (rows, rows)),
        ("searchsorted_1d", lambda a, b: torch.searchsorted(a, b), (edges, x)),
        ("searchsorted_scalar", lambda a: torch.searchsorted(a, 0.1), (edges,)),
        ("searchsorted_sorter", lambda a, b: torch.searchsorted(a, b, sorter=a.argsort(-1), right=True), (rand(4, 12), x)),
        ("searchsorted_sorter_scalar", lambda a: torch.searchsorted(a, 0.1, sorter=a.argsort()), (rand(12),)),
        ("searchsorted_empty", lambda a, b: torch.searchsorted(a[:0], b), (edges, x)),
        ("bag", lambda t, k, s: bag(k, t, s), (table, i, starts)),
        ("bag_sum", lambda t, k, s: bag(k, t, s, mode="sum"), (table, i, starts)),
        ("bag_max", lambda t, k, s: bag(k, t, s, mode="max"), (table, i, starts)),
        ("bag_weighted", lambda t, k, s, w: bag(k, t, s, mode="sum", per_sample_weights=w), (table, i, starts, weights)),
        ("bag_last", lambda t, k, s: bag(k, t, s, include_last_offset=True), (table, i, torch.tensor([0, 3, 3, 9]))),
        ("bag_padding", lambda t, k, s: bag(k, t, s, mode="mean", padding_idx=2), (table, i % 4, starts)),
        ("bag_padding_sum", lambda t, k, s: bag(k, t, s, mode="sum", padding_idx=-1), (table, i % 4 + 6, starts)),
        ("bag_padding_max", lambda t, k, s: bag(k, t, s, mode="max", padding_idx=1), (table, i % 4, starts)),
        ("bag_2d", lambda t, k: bag(k, t, mode="sum"), (table, i.view(3, 3))),
        ("bag_2d_mean", lambda t, k: bag(k, t), (table, i.view(3, 3).int())),
        ("bag_f64", lambda t, k, s: bag(k, t, s), (table.double(), i, starts)),
        ("embedding_padding", lambda t, k: F.embedding(k, t, padding_idx=3), (table, i)),
        ("embedding_i32", lambda t, k: F.embedding(k.int(), t), (table, i)),
        ("embedding_0d", lambda t, k: F.embedding(k[0], t), (table, i)),
        ("one_hot", lambda k: F.one_hot(k, 11), (i,)), ("one_hot_0d", lambda k: F.one_hot(k[0], 11), (i,)),
        ("histc", lambda a: torch.histc(a, 8, -2, 2), (x,)), ("histc_auto", lambda a: torch.histc(a, 5), (x,)),
        ("histc_edges", lambda a: torch.histc(a, 4, -1, 2), (edges,)),
        ("histc_point", lambda a: torch.histc(a * 0 + 3, 4), (x,)), ("histc_f64", lambda a: torch.histc(a.double(), 8, -2, 2), (x,)),
        ("histc_int", lambda a: torch.histc(a.float(), 10, 0, 9), (i,)),
        ("isin", lambda a, b: torch.isin(a, b), (n, ints(5, seed=7))),
        ("isin_invert", lambda a, b: torch.isin(a, b, invert=True), (n, ints(5, seed=7))),
        ("isin_scalar", lambda a: torch.isin(a, 3), (n,)), ("isin_scalar_first", lambda a: torch.isin(3, a), (n,)),
        ("isin_many", lambda a, b: torch.isin(a, b), (n, ints(300, seed=7))),
        ("repeat_interleave", lambda a: a.repeat_interleave(3, 1), (x,)),
        ("repeat_counts", lambda a, r: a.repeat_interleave(r, 0, output_size=7), (x, torch.tensor([2, 0, 4, 1]))),
        ("nonzero_static", lambda a: torch.nonzero_static(a > 0, size=20), (x,)),
        ("nonzero_static_fill", lambda a: torch.nonzero_static(a > 0, size=50, fill_value=-7), (x,)),
    ]  # fmt: skip
