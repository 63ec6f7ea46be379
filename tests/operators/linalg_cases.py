"""Linear algebra on small matrices: solving, inverting, factoring; batches and odd sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.operator_cases import Case, rand

la = torch.linalg


def regular(*shape: int, seed: int = 0) -> Tensor:
    """Return well-conditioned square matrices that need pivoting."""
    n = shape[-1]
    return (rand(*shape, seed=seed) + 3 * torch.eye(n)).flip(-1)


def positive(*shape: int) -> Tensor:
    a = rand(*shape)
    return a @ a.mT + torch.eye(shape[-1])


def rebuilt_svd(a: Tensor, **options: Any) -> tuple[Tensor, ...]:
    u, s, vh = la.svd(a, **options)
    k = s.shape[-1]
    return s, (u[..., :k] * s[..., None, :]) @ vh[..., :k, :], u.mT @ u, vh @ vh.mT


def rebuilt_eigh(a: Tensor, uplo: str = "L") -> tuple[Tensor, ...]:
    values, v = la.eigh(a, UPLO=uplo)
    return values, (v * values[..., None, :]) @ v.mT, v.mT @ v


def linalg_cases() -> list[Case]:
    cases: list[Case] = []
    for name, shape in (
        ("1", (1, 1)),
        ("5", (5, 5)),
        ("batch", (2, 3, 4, 4)),
        ("17", (17, 17)),
        ("none", (0, 3, 3)),
    ):
        a, p = regular(*shape), positive(*shape)
        b = rand(*shape[:-1], 2, seed=3)
        cases += [
            (f"inv_{name}", la.inv, (a,)), (f"det_{name}", la.det, (a,)), (f"slogdet_{name}", la.slogdet, (a,)),
            (f"cholesky_{name}", la.cholesky, (p,)), (f"cholesky_upper_{name}", lambda x: la.cholesky(x, upper=True), (p,)),
            (f"solve_{name}", la.solve, (a, b)), (f"solve_right_{name}", lambda x, y: la.solve(x, y.mT, left=False), (a, b)),
            (f"lu_{name}", la.lu, (a,)), (f"lu_factor_{name}", la.lu_factor, (a,)),
            (f"lu_solve_{name}", lambda x, y: la.lu_solve(*la.lu_factor(x), y), (a, b)),
            (f"lower_{name}", lambda x, y: la.solve_triangular(x.tril(), y, upper=False), (p, b)),
            (f"upper_{name}", lambda x, y: la.solve_triangular(x, y, upper=True), (p, b)),
            (f"unit_{name}", lambda x, y: la.solve_triangular(x / 9, y, upper=True, unitriangular=True), (p, b)),
            (f"lower_right_{name}", lambda x, y: la.solve_triangular(x, y.mT, upper=False, left=False), (p, b)),
            (f"cholesky_solve_{name}", lambda y, x: torch.cholesky_solve(y, la.cholesky(x)), (b, p)),
            (f"cholesky_inverse_{name}", lambda x: torch.cholesky_inverse(la.cholesky(x)), (p,)),
            (f"exp_{name}", torch.matrix_exp, (rand(*shape),)), (f"qr_{name}", la.qr, (a,)),
            (f"eigh_{name}", rebuilt_eigh, (p,)), (f"svd_{name}", rebuilt_svd, (a,)),
            (f"power_{name}", lambda x: la.matrix_power(x, -2), (a,)),
        ]  # fmt: skip
    tall, wide = rand(2, 7, 3), rand(2, 3, 7)
    low = rand(6, 2) @ rand(2, 5)
    a, b = regular(4, 4), rand(4)
    cases += [
        ("geqrf", torch.geqrf, (tall,)), ("geqrf_wide", torch.geqrf, (wide,)),
        ("householder", lambda x: la.householder_product(*torch.geqrf(x)), (tall,)),
        ("householder_fewer", lambda x: la.householder_product(x, torch.geqrf(x)[1][..., :2]), (tall,)),
        *((f"ormqr_{left}_{turned}", lambda x, y, left=left, turned=turned: torch.ormqr(*torch.geqrf(x), y if left else y.mT, left, turned), (tall, rand(2, 7, 4))) for left in (True, False) for turned in (True, False)),
        ("qr_tall", la.qr, (tall,)), ("qr_wide", la.qr, (wide,)),
        ("qr_complete", lambda x: la.qr(x, "complete"), (tall,)), ("qr_r", lambda x: la.qr(x, "r")[1], (tall,)),
        ("svd_tall", rebuilt_svd, (tall,)), ("svd_wide", rebuilt_svd, (wide,)),
        ("svd_reduced", lambda x: rebuilt_svd(x, full_matrices=False), (tall,)),
        ("svd_reduced_wide", lambda x: rebuilt_svd(x, full_matrices=False), (wide,)),
        ("svd_low_rank", lambda x: rebuilt_svd(x)[1:3], (low,)), ("svdvals", la.svdvals, (wide,)),
        ("pinv", la.pinv, (tall,)), ("pinv_wide", la.pinv, (wide,)), ("pinv_low_rank", lambda x: la.pinv(x, rtol=1e-4), (low,)),
        ("pinv_hermitian", lambda x: la.pinv(x, hermitian=True), (positive(4, 4),)),
        ("pinv_lower", lambda x: la.pinv(x, hermitian=True, rtol=1e-3), (rand(2, 5, 5),)),
        ("pinv_atol", lambda x: la.pinv(x, atol=0.1, rtol=0.01), (tall,)),
        ("rank", lambda x: la.matrix_rank(x, rtol=1e-4), (low,)), ("cond", la.cond, (a,)),
        ("norm_2", lambda x: la.matrix_norm(x, 2), (tall,)), ("norm_nuclear", lambda x: la.matrix_norm(x, "nuc"), (wide,)),
        ("norm_fro", la.matrix_norm, (tall,)), ("norm_1", lambda x: la.matrix_norm(x, 1), (tall,)),
        ("eigh_upper", lambda x: rebuilt_eigh(x.triu() + 0, "U"), (positive(5, 5),)), ("eigvalsh", la.eigvalsh, (positive(2, 4, 4),)),
        ("eigh_diagonal", rebuilt_eigh, (torch.diag(torch.tensor([3.0, -1.0, 2.0, 2.0])),)),
        ("solve_vector", la.solve, (a, b)), ("solve_vectors", la.solve, (regular(3, 4, 4), rand(3, 4))),
        ("solve_broadcast", la.solve, (a, rand(3, 4, 2))), ("solve_triangular_broadcast", lambda x, y: la.solve_triangular(x, y, upper=True), (positive(4, 4), rand(3, 4, 2))),
        ("lu_tall", la.lu, (tall,)), ("lu_wide", la.lu, (wide,)), ("lu_unpack", lambda x: torch.lu_unpack(*la.lu_factor(x)), (wide,)),
        ("lu_solve_adjoint", lambda x, y: la.lu_solve(*la.lu_factor(x), y, adjoint=True), (a, rand(4, 2))),
        ("lu_solve_right", lambda x, y: la.lu_solve(*la.lu_factor(x), y, left=False), (a, rand(2, 4))),
        ("lu_solve_both", lambda x, y: la.lu_solve(*la.lu_factor(x), y, left=False, adjoint=True), (a, rand(2, 4))),
        ("triangular_solve", lambda y, x: torch.triangular_solve(y, x, upper=False)[0], (rand(4, 2), positive(4, 4))),
        ("triangular_transposed", lambda y, x: torch.triangular_solve(y, x, transpose=True)[0], (rand(4, 2), positive(4, 4))),
        ("cholesky_info", lambda x: la.cholesky_ex(x).info, (torch.tensor([[[1.0, 2], [2, 1]], [[2, 1], [1, 2]]]),)),
        ("inv_info", lambda x: la.inv_ex(x).info, (torch.tensor([[1.0, 2], [2, 4]]),)),
        ("det_singular", la.det, (torch.tensor([[1.0, 2], [2, 4]]),)), ("slogdet_singular", la.slogdet, (torch.zeros(2, 2),)),
        ("inv_f64", la.inv, (regular(6, 6).double(),)), ("logdet", torch.logdet, (positive(3, 3),)),
        ("f64_to_bf16", lambda x: (x * 2).to(torch.bfloat16), (torch.cat([rand(9).double(), torch.tensor([float("nan"), float("inf"), 1e300, 0.0], dtype=torch.float64)]),)),
        ("exp_large", torch.matrix_exp, (rand(4, 4) * 4,)), ("exp_0", torch.matrix_exp, (torch.zeros(3, 3),)),
        ("inv_strided", lambda x: la.inv(x.mT[1:, 1:]), (regular(5, 5),)), ("tensorinv", lambda x: la.tensorinv(x.reshape(2, 2, 4), 2), (a,)),
        ("inverse_times", lambda x, y: la.inv(x) @ y, (a, rand(4, 2))), ("multi", lambda x: la.inv(x).relu() + 1, (a,)),
    ]  # fmt: skip
    return cases
