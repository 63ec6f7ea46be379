"""Calls of operators that write at computed positions."""

from __future__ import annotations

import torch

from tests.operator_cases import Case, flags, ints, rand


def place(*shape: int, below: int, seed: int = 0) -> torch.Tensor:
    """Return indices in [0, below)."""
    return ints(*shape, low=0, high=below, seed=seed)


def scatter_cases() -> list[Case]:
    x, s = rand(5, 7, 3), rand(4, 6, 3, seed=1)
    i = place(4, 6, 3, below=5)
    n, m = ints(5, 7), ints(6, 7, seed=2)
    k = place(6, 7, below=5, seed=3)
    cases: list[Case] = []
    for dim in (0, 1, -1):
        j = place(4, 6, 3, below=x.shape[dim], seed=dim)
        cases += [
            (f"scatter{dim}", lambda a, b, c, d=dim: a.scatter(d, b, c), (x, _apart(j, dim), s)),
            (f"scatter_value{dim}", lambda a, b, d=dim: a.scatter(d, b, 0.5), (x, j)),
            (f"scatter_add{dim}", lambda a, b, c, d=dim: a.scatter_add(d, b, c), (x, j, s)),
        ]
        for how in ("sum", "prod", "mean", "amax", "amin"):
            for keep in (True, False):
                cases.append((
                    f"scatter_{how}{dim}{keep}",
                    lambda a, b, c, d=dim, h=how, w=keep: a.scatter_reduce(
                        d, b, c, h, include_self=w
                    ),
                    (x, j, s),
                ))  # fmt: skip
    cases += [
        ("scatter_larger_source", lambda a, b, c: a.scatter(0, b[:1, :2], c), (x, i, s)),
        ("scatter_multiply", lambda a, b, c: a.scatter(0, b, c, reduce="multiply"), (x, i, s)),
        ("scatter_value_add", lambda a, b: a.scatter(1, b, 2.0, reduce="add"), (x, i)),
        ("scatter_int", lambda a, b, c: a.scatter_add(0, b, c), (n, k, m)),
        ("scatter_int_mean", lambda a, b, c: a.scatter_reduce(0, b, c, "mean"), (n, k, m)),
        ("scatter_int_amax", lambda a, b, c: a.scatter_reduce(0, b, c, "amax", include_self=False),
         (n, k, m)),
        ("scatter_bool", lambda a, b: a.scatter(0, b, True), (flags(5, 7), k)),
        ("scatter_add_bool", lambda a, b, c: a.scatter_add(0, b, c), (flags(5, 7), k, flags(6, 7))),
        ("scatter_bf16", lambda a, b, c: a.scatter_add(0, b, c), (x.bfloat16(), i, s.bfloat16())),
        ("scatter_f64", lambda a, b, c: a.scatter_add(0, b, c), (x.double(), i, s.double())),
        ("scatter_f16", lambda a, b, c: a.scatter_reduce(0, b, c, "amax"), (x.half(), i, s.half())),
        ("scatter_0d", lambda a, b, c: a.scatter(0, b, c),
         (rand(), torch.tensor(0), torch.tensor(2.0))),
        ("scatter_empty", lambda a, b, c: a.scatter(0, b[:0], c), (x, i, s)),
        ("scatter_transposed", lambda a, b, c: a.mT.scatter_add(2, b.mT, c.mT), (x, i, s)),
        ("scatter_fused", lambda a, b, c: (a * 2).scatter_add(0, b % 5, c.exp()).relu(), (x, i, s)),
        ("scatter_nan", lambda a, b, c: a.scatter_reduce(0, b, c, "amax"),
         (x, i, torch.where(s > 1, torch.nan, s))),
        ("one_hot", lambda a: torch.nn.functional.one_hot(a, 7), (i,)),
    ]  # fmt: skip
    return cases


def _apart(index: torch.Tensor, dim: int) -> torch.Tensor:
    """Make indices along `dim` differ, so that a plain scatter has one answer."""
    return index.argsort(dim)


def index_write_cases() -> list[Case]:
    x, s = rand(6, 8, 5), rand(6, 4, 5, seed=1)
    k = torch.tensor([3, 0, 7, 5])
    twice = torch.tensor([3, 0, 3, 3])
    cases: list[Case] = [
        ("index_add", lambda a, i, b: a.index_add(1, i, b), (x, twice, s)),
        ("index_add_alpha", lambda a, i, b: a.index_add(1, i, b, alpha=-0.5), (x, twice, s)),
        ("index_add0", lambda a, i, b: a.index_add(0, i, b), (x, twice, rand(4, 8, 5))),
        ("index_add_last", lambda a, i, b: a.index_add(-1, i, b), (x, twice, rand(6, 8, 4))),
        ("index_add_int", lambda a, i, b: a.index_add(0, i, b, alpha=3), (ints(6, 5), twice, ints(4, 5))),
        ("index_add_i32", lambda a, i, b: a.index_add(0, i, b), (ints(6, 5).int(), twice.int(), ints(4, 5).int())),
        ("index_add_0d", lambda a, i, b: a.index_add(0, i, b), (rand(), torch.tensor([0]), rand())),
        ("index_copy", lambda a, i, b: a.index_copy(1, i, b), (x, k, s)),
        ("index_copy0", lambda a, i, b: a.index_copy(0, i, b), (x, k[:2], rand(2, 8, 5))),
        ("index_copy_bool", lambda a, i, b: a.index_copy(0, i, b), (flags(6, 5), k[:2], flags(2, 5))),
        ("index_fill", lambda a, i: a.index_fill(1, i, 7.0), (x, k)),
        ("index_fill_negative", lambda a, i: a.index_fill(1, i - 8, 7.0), (x, k)),
        ("index_fill_tensor", lambda a, i, v: a.index_fill(2, i, v), (x, k % 5, torch.tensor(3.0))),
        ("index_fill_int", lambda a, i: a.index_fill(0, i, 7), (ints(9), k)),
        ("index_write_empty", lambda a, i, b: a.index_add(1, i[:0], b[:, :0]), (x, k, s)),
        ("index_add_large", lambda a, i, b: a.index_add(0, i, b), (rand(50, 300), ints(90, low=0, high=50), rand(90, 300))),
    ]  # fmt: skip
    for how in ("prod", "mean", "amax", "amin"):
        for keep in (True, False):
            cases.append((
                f"index_reduce_{how}{keep}",
                lambda a, i, b, h=how, w=keep: a.index_reduce(1, i, b, h, include_self=w),
                (x, twice, s),
            ))  # fmt: skip
    return cases


def _put(*index: object) -> object:
    def write(a: torch.Tensor, v: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        b = a.clone()
        b[tuple(more[i] if isinstance(i, int) else i for i in index)] = v
        return b

    return write


def index_put_cases() -> list[Case]:
    x, v = rand(6, 8, 5), rand(3, 4)
    i, j = torch.tensor([[1], [5], [-3]]), torch.tensor([7, 0, 2, -2])
    every = slice(None)
    mask = flags(6, 8)
    put = torch.ops.aten.index_put
    return [
        ("put_first", _put(0), (x, rand(4, 8, 5), j % 6)),
        ("put_pair", _put(0, 1), (x, rand(3, 4, 5), i, j)),
        ("put_apart", _put(0, every, 1), (x, rand(3, 4, 8), i, j % 5)),
        ("put_last", _put(every, every, 0), (x, rand(6, 8, 2), j[:2] % 5)),
        ("put_middle", _put(every, 0), (x, rand(4, 5), j)),
        ("put_all", _put(0, 1, 2), (x, v, i, j, j % 5)),
        ("put_scalar", _put(0, 1), (x, torch.tensor(2.0), i, j)),
        ("put_number", lambda a, k: _put(0)(a, 4.0, k), (x, j % 6)),
        ("put_accumulate", lambda a, k, b: put(a, [k], b, True), (x, torch.tensor([1, 1, 5, 1]), rand(4, 8, 5))),
        ("put_accumulate2", lambda a, k, n, b: put(a, [k, n], b, True), (x, i, j % 2, rand(5))),
        ("put_accumulate_int", lambda a, k, b: put(a, [None, k], b, True), (ints(3, 4), torch.tensor([1, 1]), ints(3, 2))),
        ("put_accumulate_bool", lambda a, k, b: put(a, [k], b, True), (flags(6), torch.tensor([1, 1]), flags(2))),
        ("put_mask", _put(0), (x, torch.tensor(-1.0), mask)),
        ("put_mask_number", lambda a, m: _put(0)(a, 0.25, m), (x, x > 0)),
        ("put_mask_row", _put(0), (x, rand(5), mask)),
        ("put_mask_row1", _put(0), (x, rand(1, 5), mask)),
        ("put_mask_inner", _put(every, 0), (x, rand(6, 1, 5), mask[0])),
        ("put_mask_last", _put(every, every, 0), (x, rand(6, 8, 1), flags(5))),
        ("put_mask_add", lambda a, m, b: put(a, [m], b, True), (x, mask, torch.tensor(3.0))),
        ("put_mask_rows", _put(0), (x, rand(int(mask.sum()), 5), mask)),
        ("put_mask_rows1", _put(0), (x, rand(int(mask.sum()), 1), mask)),
        ("put_mask_rows_inner", _put(every, 0), (x, rand(6, int(mask[0].sum()), 5), mask[0])),
        ("put_mask_rows_last", _put(every, every, 0), (x, rand(int(mask[:5, 0].sum())), mask[:5, 0])),
        ("put_mask_rows_add", lambda a, m, b: put(a, [m], b, True), (ints(6, 8), mask, ints(int(mask.sum())))),
        ("put_mask_int", lambda a, m: _put(0)(a, 3, m), (ints(6, 8), mask)),
        ("put_", lambda a, k, b: a.put(k, b), (x, torch.tensor([[3, -1], [100, 7]]), rand(2, 2))),
        ("put_add", lambda a, k, b: a.put(k, b, accumulate=True), (x, torch.tensor([3, 3, 100]), rand(3))),
        ("masked_scatter", lambda a, m, b: a.masked_scatter(m, b), (x[..., 0], mask, rand(60))),
        ("masked_scatter_row", lambda a, m, b: a.masked_scatter(m, b), (x, flags(5), rand(300))),
        ("masked_scatter_int", lambda a, m, b: a.masked_scatter(m, b), (ints(6, 8), mask, ints(60))),
        ("put_empty", lambda a, k, b: put(a, [k], b), (x, torch.empty(0, dtype=torch.int64), rand(0, 8, 5))),
        ("put_i32", _put(0), (x, rand(8, 5), torch.tensor([1, 4]).int())),
        ("put_cache", _put(every, every, 0), (rand(2, 4, 9, 8), rand(2, 4, 3, 8), torch.tensor([2, 3, 4]))),
    ]  # fmt: skip
