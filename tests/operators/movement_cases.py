"""Calls of operators that make tensors, look at them otherwise, or read them by index."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.operator_cases import Case, flags, ints, rand

X = rand(2, 3, 4, 5)
S = rand(6, 8)


def window_cases() -> dict[str, Callable[[Tensor], Tensor]]:
    cases: dict[str, Callable[[Tensor], Tensor]] = {}
    for make in (torch.bartlett_window, torch.blackman_window, torch.hamming_window,
                 torch.kaiser_window):  # fmt: skip
        for length, periodic in ((9, True), (8, False), (1, True), (0, True)):
            cases[f"{make.__name__}_{length}"] = lambda a, m=make, n=length, p=periodic: (
                a[0, 0] * m(n, p)
            )
    cases["hamming_own"] = lambda a: torch.hamming_window(9, True, 0.5, 0.4, dtype=a.dtype)
    cases["kaiser_double"] = lambda a: torch.kaiser_window(9, False, 5.0, dtype=torch.float64)
    return cases


def creation_cases() -> list[Case]:
    s, n = S, ints(3, 4)
    made = {
        "full": lambda a: torch.full((2, 3), 2.5), "full_int": lambda a: torch.full((2, 3), 7),
        "full_bool": lambda a: torch.full((2,), True), "full_0d": lambda a: torch.full((), 3.0),
        "full_bf16": lambda a: torch.full((3,), 0.1, dtype=torch.bfloat16),
        "zeros": lambda a: torch.zeros(3, 2), "zeros_i32": lambda a: torch.zeros(3, dtype=torch.int32),
        "ones": lambda a: torch.ones(2, 2), "ones_f64": lambda a: torch.ones(4, dtype=torch.float64),
        "empty_shape": lambda a: torch.zeros(0, 3), "zeros_like": torch.zeros_like,
        "ones_like": lambda a: torch.ones_like(a, dtype=torch.int64), "full_like": lambda a: torch.full_like(a, -2.0),
        "full_like_int": lambda a: torch.full_like(a, 3, dtype=torch.int32),
        "new_zeros": lambda a: a.new_zeros(2, 3), "new_ones": lambda a: a.new_ones(2, dtype=torch.bool),
        "new_full": lambda a: a.new_full((3,), 0.5), "new_tensor": lambda a: a.new_tensor([1.0, 2.0]),
        "arange": lambda a: torch.arange(7), "arange_step": lambda a: torch.arange(-3, 9, 2),
        "arange_float": lambda a: torch.arange(0, 1, 0.1), "arange_down": lambda a: torch.arange(5, -5, -3),
        "arange_f64": lambda a: torch.arange(1.0, 3.0, 0.25, dtype=torch.float64), "arange_i32": lambda a: torch.arange(4, dtype=torch.int32),
        "arange_mixed": lambda a: torch.arange(0, 5, 1, dtype=torch.float32), "arange_empty": lambda a: torch.arange(3, 3),
        "arange_bf16": lambda a: torch.arange(0, 4, 0.5, dtype=torch.bfloat16),
        "linspace": lambda a: torch.linspace(-1, 1, 11), "linspace_even": lambda a: torch.linspace(0, 3, 8),
        "linspace_one": lambda a: torch.linspace(2, 5, 1), "linspace_none": lambda a: torch.linspace(2, 5, 0),
        "linspace_int": lambda a: torch.linspace(0, 10, 7, dtype=torch.int64), "linspace_int_cut": lambda a: torch.linspace(0.3, 49.9, 50, dtype=torch.int64), "linspace_tensor_cut": lambda a: torch.linspace(a.flatten()[0] * 20, 4.3, 50, dtype=torch.int64), "linspace_to_tensor": lambda a: torch.linspace(4.3, a.flatten()[1] * 20, 50, dtype=torch.int32), "logspace_int": lambda a: torch.logspace(0, 5, 9, base=2, dtype=torch.int64), "linspace_f64": lambda a: torch.linspace(5, -5, 6, dtype=torch.float64),
        "logspace": lambda a: torch.logspace(-2, 2, 7), "logspace2": lambda a: torch.logspace(0, 4, 5, base=2),
        "eye": lambda a: torch.eye(4), "eye_wide": lambda a: torch.eye(2, 5), "eye_int": lambda a: torch.eye(3, dtype=torch.int64),
        "tril_indices": lambda a: torch.tril_indices(4, 6), "tril_indices_up": lambda a: torch.tril_indices(4, 3, 1),
        "tril_indices_down": lambda a: torch.tril_indices(5, 5, -2), "triu_indices": lambda a: torch.triu_indices(4, 6, 1),
        "triu_indices_down": lambda a: torch.triu_indices(5, 3, -1), "triu_indices_none": lambda a: torch.triu_indices(2, 2, 5),
        "triu_i32": lambda a: torch.triu_indices(3, 3, dtype=torch.int32),
        "scalar_tensor": lambda a: torch.scalar_tensor(2.5), "tensor": lambda a: torch.tensor([1, 2, 3]),
        "zero_": lambda a: a.clone().zero_(), "fill_": lambda a: a.clone().fill_(3.5), "fill_diagonal": lambda a: a.clone().fill_diagonal_(9.0),
        "meshgrid": lambda a: torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij"),
        "cartesian": lambda a: torch.cartesian_prod(torch.arange(3), torch.arange(2)), "vander": lambda a: torch.vander(a[0], 3),
        "hann": lambda a: torch.hann_window(8),
        **window_cases(),
        "bartlett_bf16": lambda a: torch.bartlett_window(7, False, dtype=torch.bfloat16), "kaiser_seven": lambda a: torch.kaiser_window(33, True, 7.0),
        "range": lambda a: torch.range(0, 1, 0.1), "range_down": lambda a: torch.range(5, 2, -1, dtype=torch.int64),
    }  # fmt: skip
    cases: list[Case] = [(name, f, (s,)) for name, f in made.items()]
    for d in (-7, -2, 0, 1, 9):
        cases += [
            (f"tril{d}", lambda a, d=d: a.tril(d), (X,)), (f"triu{d}", lambda a, d=d: a.triu(d), (n,)),
            (f"tril_bool{d}", lambda a, d=d: a.tril(d), (flags(5, 5),)),
        ]  # fmt: skip
    return cases


def _assign(a: Tensor, v: Tensor) -> Tensor:
    b = a.clone()
    b[1, ..., ::2] = v
    b[:, -1] = 0
    return b


def view_cases() -> list[Case]:
    x, s, n, b = X, S, ints(4, 6), flags(4, 6)
    f = {
        "view_dtype_same": lambda a: a.view(6, 20), "reshape": lambda a: a.reshape(-1, 5), "reshape_mixed": lambda a: a.permute(0, 2, 1, 3).reshape(8, -1),
        "flatten": lambda a: a.flatten(1, 2), "unflatten": lambda a: a.unflatten(2, (2, 2)), "ravel": lambda a: a.mT.ravel(),
        "permute": lambda a: a.permute(-1, 0, 2, 1), "movedim": lambda a: a.movedim((0, 1), (-1, -2)), "swapaxes": lambda a: a.swapaxes(0, 3),
        "expand": lambda a: a[:, :1].expand(-1, 7, -1, -1), "expand_new": lambda a: a.expand(2, 2, 3, 4, 5), "broadcast": lambda a: torch.broadcast_to(a[0, 0, 0], (3, 5)),
        "squeeze": lambda a: a[:1, :, :1].squeeze(), "squeeze_dims": lambda a: a[:1, :, :1].squeeze((0, 1, 2)), "squeeze_none": lambda a: a.squeeze(1),
        "unsqueeze": lambda a: a.unsqueeze(-1), "select": lambda a: a.select(2, -2), "narrow": lambda a: a.narrow(3, 1, 3), "narrow_negative": lambda a: a.narrow(3, -2, 2),
        "slice_step": lambda a: a[:, :, 1::2, ::3], "slice_beyond": lambda a: a[:, -9:99], "slice_none": lambda a: a[:, 3:1], "ellipsis": lambda a: a[..., 2, None],
        "diagonal": lambda a: a.diagonal(0, 1, 3), "diagonal_up": lambda a: a.diagonal(2, -2, -1), "diagonal_down": lambda a: a.diagonal(-3, 2, 3), "diagonal_none": lambda a: a.diagonal(9, 2, 3),
        "diag": lambda a: torch.diag(a[0, 0, 0]), "diag_of": lambda a: torch.diag(a[0, 0], 1), "diag_embed": lambda a: torch.diag_embed(a, 1, 0, 2), "diagflat": lambda a: torch.diagflat(a[0, 0], -1),
        "unfold": lambda a: a.unfold(3, 2, 1), "unfold_step": lambda a: a.unfold(2, 3, 2), "unfold_sum": lambda a: a.unfold(3, 3, 1).sum(-1),
        "unbind": lambda a: a.unbind(-1), "split": lambda a: a.split(2, 3), "split_sizes": lambda a: a.split([1, 0, 4], 3), "chunk": lambda a: a.chunk(3, 2), "tensor_split": lambda a: a.tensor_split(3, 3), "tensor_split_at": lambda a: a.tensor_split((1, 2), 2),
        "hsplit": lambda a: torch.hsplit(a, 3), "flip": lambda a: a.flip(0, -1), "fliplr": torch.fliplr, "flipud": torch.flipud,
        "roll": lambda a: a.roll(2), "roll_dims": lambda a: a.roll((1, -2), (1, 3)), "rot90": lambda a: a.rot90(1, (2, 3)), "rot180": lambda a: a.rot90(2, (1, 3)), "rot270": lambda a: a.rot90(-1, (0, 1)),
        "repeat": lambda a: a.repeat(2, 1, 1, 3), "repeat_new": lambda a: a[0, 0].repeat(2, 3, 1, 1), "repeat_zero": lambda a: a.repeat(0, 1, 1, 1), "tile": lambda a: a.tile(2, 2),
        "repeat_interleave": lambda a: a.repeat_interleave(2, dim=1), "repeat_interleave_flat": lambda a: a.repeat_interleave(2),
        "cat_self": lambda a: torch.cat([a, a], -2), "cat_one": lambda a: torch.cat([a], 1), "stack": lambda a: torch.stack([a, a + 1], 2), "hstack": lambda a: torch.hstack([a, a]),
        "vstack": lambda a: torch.vstack([a[0], a[1]]), "dstack": lambda a: torch.dstack([a, a]), "column_stack": lambda a: torch.column_stack([a, a]), "block_diag": lambda a: torch.block_diag(a[0, 0], a[0, 1, :2]),
        "atleast": lambda a: torch.atleast_3d(a[0, 0]), "T": lambda a: a[0, 0].T, "mT": lambda a: a.mT * 2, "as_strided": lambda a: a.as_strided((3, 4), (7, 2), 5), "as_strided_window": lambda a: a[0, 1:].as_strided((3, 4), (7, 2)), "as_strided_window_at": lambda a: a.transpose(0, 3)[1:].as_strided((4,), (3,), 5),
        "as_strided_overlap": lambda a: a.as_strided((10, 6), (3, 1)),
        "as_strided_broadcast": lambda a: torch.as_strided(a * 1, (2, 5), (0, 4)), "slice_scatter": lambda a: a.slice_scatter(a[:, :, :2] * 2, 2, 1, 4, 2), "select_scatter": lambda a: a.select_scatter(a[:, 0] + 1, 1, -1),
        "diagonal_scatter": lambda a: a.diagonal_scatter(a[..., :4, 0] * 5, 0, 2, 3), "as_strided_scatter": lambda a: a.as_strided_scatter(a[0, 0, 0, :3], (3,), (4,), 2), "diagonal_scatter_up": lambda a: a.diagonal_scatter(a[:, :, :3, 0] * 5, 2, 2, 3),
        "clone": lambda a: a.mT.clone(), "contiguous": lambda a: a.permute(3, 1, 0, 2).contiguous() * 1, "to": lambda a: a.to(torch.float16), "to_bool": lambda a: a.to(torch.bool), "to_i8": lambda a: (a * 50).to(torch.int8),
        "trace": lambda a: a[0, 0].trace(), "kron": lambda a: torch.kron(a[0, 0], a[0, 1]), "pad_last": lambda a: F.pad(a, (1, 2)), "view_as": lambda a: a.view_as(a.reshape(2, 3, 20).unflatten(2, (4, 5))),
        "meshgrid": lambda a: torch.meshgrid(a[0, 0, 0], a[0, 0, :, 0], indexing="xy"), "getitem": lambda a: a[1, None, :2, -1], "complex_index": lambda a: a[:, [0, 2]][..., [1, 1]], "where_scalar": lambda a: torch.where(a > 0, a, 0.0),
    }  # fmt: skip
    cases: list[Case] = [(name, g, (x,)) for name, g in f.items()]
    cases += [
        ("assign", _assign, (x, rand(3, 4, 3))), ("flip_int", lambda a: a.flip(1), (n,)), ("roll_bool", lambda a: a.roll(1, 0), (b,)),
        ("cat_empty", lambda a: torch.cat([a, a[:0]]), (s,)), ("cat_legacy", lambda a: torch.cat([torch.empty(0), a]), (s,)),
        ("cat_promote", lambda a, c: torch.cat([a, c]), (n, s[:, :6])), ("cat_bool", lambda a: torch.cat([a, ~a], 1), (b,)), ("stack_0d", lambda a: torch.stack([a[0, 0], a[1, 1]]), (s,)),
        ("masked_fill", lambda a, m: a.masked_fill(m, 2), (n, b)), ("masked_fill_tensor", lambda a, m, v: a.masked_fill(m, v), (s[:4, :6], b, torch.tensor(3.0))),
        ("masked_fill_bool", lambda a, m: a.masked_fill(m, True), (b, flags(6))), ("copy", lambda a, c: torch.ops.aten.copy(a, c), (s, n[0, 0])),
        ("expand_0d", lambda a: a.expand(3, 4), (rand(),)), ("view_0d", lambda a: a.view(1, 1), (rand(),)), ("reshape_empty", lambda a: a.reshape(0, 5), (rand(5, 0),)),
    ]  # fmt: skip
    return cases


def read_cases() -> list[Case]:
    x, s, b = X, S, flags(6, 8)
    i = ints(3, 4, low=0, high=6)
    j = torch.tensor([[1], [-2], [0]])
    k = torch.tensor([4, -5, 2, 0])
    every = slice(None)

    def at(*index: object):  # type: ignore[no-untyped-def]
        return lambda a, *more: a[tuple(more[p] if isinstance(p, int) else p for p in index)]

    return [
        ("index", at(0), (s, i)), ("index_negative", at(0), (s, i - 6)), ("index_none", at(None, 0), (s, i)),
        ("index_apart", at(0, every, 1), (x, j % 2, k % 4)), ("index_slice", at(slice(0, 2), 0), (x, j % 3)), ("index_pair", at(0, 1), (s, j, k)),
        ("index_all", at(0, 1, 0, 1), (x, j % 2, k % 3)), ("index_last", at(..., 0), (x, k)), ("index_i32", at(0), (s, i.int())),
        ("index_empty", at(0), (s, torch.empty(0, dtype=torch.int64))), ("index_transposed", lambda a, p: a.t()[p], (s, i)), ("index_bool_value", at(0), (b, i)),
        ("index_fused", lambda a, p: (a * 2)[p + 1 - 1].relu(), (s, i)), ("index_int", at(every, 0), (ints(4, 6), torch.tensor([5, 5, 0]))), ("index_bf16", at(0), (s.bfloat16(), i)),
        ("index_u8_list", lambda a: a[:, [7, 0, -1]], (s,)), ("index_step", lambda a, p: a[::2][p % 3], (s, i)),
        ("take", lambda a, p: a.take(p), (s, ints(2, 5, low=-48, high=48))), ("take_transposed", lambda a, p: a.t().take(p), (s, i)),
        ("gather", lambda a, p: a.gather(1, p), (s, i)), ("gather0", lambda a, p: a.gather(0, p[:2]), (s, i)), ("gather_last", lambda a, p: a.gather(-1, p), (x, ints(1, 2, 3, 9, low=0, high=5))),
        ("gather_0d", lambda a, p: a.gather(0, p), (rand(), torch.tensor(0))), ("gather_0d_1", lambda a, p: a.gather(0, p), (rand(), torch.tensor([0]))), ("gather_1d_0", lambda a, p: a.gather(0, p), (rand(5), torch.tensor(3))),
        ("gather_empty", lambda a, p: a.gather(1, p[:, :0]), (s, i)), ("gather_bool", lambda a, p: a.gather(1, p), (b, i)), ("gather_argmax", lambda a: a.gather(1, a.argmax(1, True)), (s,)),
        ("take_along", lambda a, p: torch.take_along_dim(a, p, 1), (s[:3], i)), ("take_along_wide", lambda a, p: torch.take_along_dim(a, p, 1), (s[:1], i)), ("take_along_flat", lambda a, p: torch.take_along_dim(a, p), (s, i)),
        ("index_select", lambda a, p: a.index_select(1, p), (s, i[0])), ("index_select_0d", lambda a, p: a.index_select(0, p), (rand(), torch.tensor([0]))),
        ("index_select_scalar", lambda a, p: a.index_select(0, p), (s, torch.tensor(2))), ("index_select_i32", lambda a, p: a.index_select(2, p), (x, torch.tensor([3, 3]).int())), ("index_select_empty", lambda a, p: a.index_select(0, p[:0]), (s, i[0])),
        ("where_index", lambda a, p: torch.where(p[:, :1] > 2, a[:3, :4], a[p[:, 0]][:, :4]), (s, i)),
        ("index_item", at(0), (s, torch.tensor(3))), ("index_item_last", at(..., 0), (x, torch.tensor(-2))), ("narrow_item", lambda a, p: a.narrow(1, p, 2), (s, torch.tensor(3))), ("narrow_item_negative", lambda a, p: torch.narrow(a, -1, p, 2), (x, torch.tensor(-3))), ("index_item_pair", lambda a, p: a[p, p - 2], (s, torch.tensor(3))),
        ("assign_item", lambda a, p: torch.select_scatter(a, a[0, :6] * 2, 1, p.item()), (s, torch.tensor(3))), ("scale_item", lambda a, p: a * p.item(), (s, torch.tensor(3))),
        ("unsafe_index", lambda a, p: torch.ops.aten._unsafe_index(a, [None, p]), (s, i)),
        ("masked_index", lambda a, m, p: torch.ops.aten._unsafe_masked_index(a, m[0], [None, p], 9.0), (s, b[:, :6], torch.tensor([0, 1, 2, 3, 4, 5]))),
    ]  # fmt: skip
