"""Histograms, segments, tables with a largest norm, and losses that PyTorch checks first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Gamma, Normal
from torch.nn import functional as F

from tests.operator_cases import Case, ints, rand


def histogram_cases() -> list[Case]:
    x, weight = 2 * rand(37), rand(37, seed=1).abs()
    x[3], x[5], x[7] = 1.0, -1.0, torch.nan
    whole = x.nan_to_num(0.5)
    edges = torch.tensor([-1.5, -1.0, 0.25, 0.5, 3.0])
    pairs = rand(29, 2)
    span = {"bins": 7, "range": (-1.0, 1.0)}
    h, hd = torch.histogram, torch.histogramdd
    return [
        ("range", lambda a: h(a, **span), (x,)),
        ("weight", lambda a, w: h(a, **span, weight=w), (x, weight)),
        ("density", lambda a, w: h(a, **span, weight=w, density=True), (x, weight)),
        ("own_range", lambda a: h(a, bins=5), (whole,)),
        ("equal", lambda a: h(a, bins=3), (torch.full((4,), 2.5),)),
        ("empty", lambda a: h(a, bins=3), (rand(0),)),
        ("edges", lambda a, e: h(a, e, density=True), (x.reshape(1, 37), edges)),
        ("double", lambda a: h(a, bins=6, range=(0.0, 2.0)), (x.double(),)),
        ("dims", lambda a: tuple_of(hd(a, bins=[2, 3], range=[-1.0, 1.0, -2.0, 2.0])), (pairs,)),
        ("dims_own", lambda a: tuple_of(hd(a, bins=3, density=True)), (pairs,)),
        ("dims_edges", lambda a, e: tuple_of(hd(a, bins=[e, e])), (pairs, edges)),
    ]


def tuple_of(found: Any) -> tuple[Tensor, ...]:
    return (found[0], *found[1])


def segment_cases() -> list[Case]:
    data, lengths = rand(9, 2), torch.tensor([2, 0, 4, 3])
    ragged, offsets = torch.tensor([[1, 3, 2], [4, 0, 2]]), torch.tensor([0, 2, 2, 9])
    made: list[Case] = []
    for kind in ("sum", "mean", "max", "min", "prod"):
        made += [
            (kind, segments(kind), (data, lengths)),
            (f"{kind}_from", segments(kind, initial=0.5), (data, lengths)),
            (f"{kind}_rows", segments(kind, axis=1), (rand(2, 6, 3), ragged)),
            (f"{kind}_offsets", segments(kind, "offsets"), (data, offsets)),
        ]
    nan = data.clone()
    nan[3] = torch.nan
    return [*made, ("nan", segments("max"), (nan, lengths))]


def segments(kind: str, given: str = "lengths", **more: Any) -> Any:
    return lambda d, s: torch.segment_reduce(d, kind, **{given: s}, **more)


def bincount_cases() -> list[Case]:
    places, weight = ints(11, low=0, high=5), rand(11)
    return [
        ("count", lambda i: torch.bincount(i, minlength=5), (places,)),
        ("count_more", lambda i: torch.bincount(i.byte(), minlength=9), (places,)),
        ("count_none", lambda i: torch.bincount(i[:0], minlength=3), (places,)),
        ("count_float", lambda i, w: torch.bincount(i, w, minlength=6), (places, weight)),
        ("count_long", lambda i, w: torch.bincount(i, w.long(), minlength=6), (places, weight)),
        ("count_half", lambda i, w: torch.bincount(i.int(), w.half(), 6), (places, weight)),
    ]


def limited_cases() -> list[Case]:
    table, rows, bags = 2 * rand(7, 4), ints(5, low=0, high=7), ints(3, 4, low=0, high=7)
    x, target, var = rand(3, 5), rand(3, 5, seed=1), rand(3, 5, seed=2).abs()
    return [
        ("embedding", lambda i, w: F.embedding(i, w * 1, max_norm=1.5), (rows, table)),
        ("norm_1", lambda i, w: F.embedding(i, w * 1, max_norm=1.5, norm_type=1.0), (rows, table)),
        ("bag", lambda i, w: F.embedding_bag(i, w * 1, max_norm=1.0), (bags, table)),
        ("gaussian", F.gaussian_nll_loss, (x, target, var)),
        ("one_var", lambda a, b, v: F.gaussian_nll_loss(a, b, v, full=True, reduction="sum"),
         (x, target, var[:, 0])),
        ("no_mean", lambda a, b: F.gaussian_nll_loss(a, b, 0.5, reduction="none"), (x, target)),
        ("normal", lambda a, b, v: Normal(a, v + 0.1).log_prob(b), (x, target, var)),
        ("gamma", lambda a, v: Gamma(v + 0.1, v + 0.5).log_prob(a.abs() + 0.1), (x, var)),
        ("renorm", lambda a: torch.renorm(a, 2, 0, 1.0), (x.bfloat16(),)),
        ("renorm_half", lambda a: torch.renorm(a, 1, 1, 0.7), (x.half(),)),
    ]  # fmt: skip


def binning_cases() -> list[Case]:
    return [*histogram_cases(), *segment_cases(), *bincount_cases(), *limited_cases()]
