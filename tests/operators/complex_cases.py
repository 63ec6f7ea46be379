"""Complex numbers: at the edges, in arithmetic, in products, and Fourier transforms."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.operator_cases import Case, flags, ints, rand

fft = torch.fft


def pairs(*shape: int, seed: int = 0) -> Tensor:
    return torch.complex(rand(*shape, seed=seed), rand(*shape, seed=seed + 7))


UNARY = {
    "abs": torch.abs, "angle": torch.angle, "conj": lambda a: a.conj() * 1, "real": lambda a: a.real + 0,
    "imag": lambda a: a.imag + 0, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "square": torch.square, "neg": torch.neg,
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "sinh": torch.sinh, "cosh": torch.cosh,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "sgn": torch.sgn,
    "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "asinh": torch.asinh, "acosh": torch.acosh,
    "atanh": torch.atanh, "log1p": torch.log1p, "log1p_near": lambda a: torch.log1p(a * 1e-3), "log2": torch.log2,
    "log10": torch.log10, "expm1": lambda a: torch.expm1(a * 1e-2), "asin_far": lambda a: torch.asin(a * 1e6), "acosh_near": lambda a: torch.acosh(1 + a * 1e-3),
    "linspace": lambda a: a[0] * torch.linspace(1 + 2j, 3, 5), "logspace": lambda a: a[0] * torch.logspace(1j, 2, 5),
    "silu": torch.nn.functional.silu, "exp2": torch.exp2, "narrow_copy": lambda a: torch.narrow_copy(a, 1, 1, 3), "norm_p": lambda a: torch.norm(a, 3, 1),
    "logsumexp": lambda a: torch.logsumexp(a, 1), "logsumexp_all": lambda a: torch.logsumexp(a, (0, 1), True), "nonzero": lambda a: torch.nonzero_static(a, size=9),
    "prod": lambda a: a.prod(), "prod_1": lambda a: a.prod(1, keepdim=True), "prod_0": lambda a: a.prod(0), "cumprod": lambda a: a.cumprod(1), "count_nonzero": torch.count_nonzero, "std": torch.std,
    "prod_none": lambda a: a[:, :0].prod(1), "var_mean": torch.var_mean, "std_mean": lambda a: torch.std_mean(a, 1, keepdim=True),
    "pow2": lambda a: a**2, "pow3": lambda a: a**3, "pow_1": lambda a: a**-1, "pow_half": lambda a: a**0.5,
    "pow_real": lambda a: a**1.7, "pow0": lambda a: a**0, "times_i": lambda a: a * 1j, "plus": lambda a: a + (2 - 1j),
    "rsub": lambda a: 1j - a, "over": lambda a: a / 2j, "under": lambda a: 1 / a, "half": lambda a: a / 2,
    "isnan": torch.isnan, "isfinite": torch.isfinite, "isreal": torch.isreal,
    "view_as_real": lambda a: torch.view_as_real(a) * 2, "both": lambda a: torch.cat([a.real, a.imag]),
    "conj_imag": lambda a: a.conj().imag, "norm": lambda a: torch.linalg.vector_norm(a, dim=-1),
    "norm1": lambda a: torch.linalg.vector_norm(a, 1), "sum": lambda a: a.sum(-1), "mean": lambda a: a.mean(0),
    "sum_all": lambda a: a.sum(), "t": lambda a: a.t() + 0, "mH": lambda a: a.mH @ a, "flip": lambda a: a.flip(1) * 1,
    "slice": lambda a: a[1:, ::2] * 1, "select": lambda a: a[0] * 1, "reshape": lambda a: a.reshape(5, 3) * 1,
    "expand": lambda a: a[:, None].expand(3, 2, 5) * 1, "stack": lambda a: torch.stack([a, a * 2], 1),
    "cat_real": lambda a: torch.cat([a, a.real]), "split": lambda a: [x * 1 for x in a.split(2, 1)],
    "unbind": lambda a: a.unbind(0)[1] * 1, "repeat": lambda a: a.repeat(2, 1), "roll": lambda a: a.roll(1, 1),
    "pad": lambda a: torch.nn.functional.pad(a, (1, 2)), "tril": lambda a: a.tril(), "to128": lambda a: a.to(torch.complex128),
    "diagonal": lambda a: a.diagonal() * 1, "write": lambda a: _write(a), "same": lambda a: a, "twice": lambda a: (a, a),
    "full": lambda a: a + torch.full((5,), 1 + 2j), "zeros": lambda a: torch.zeros_like(a), "ones": lambda a: torch.ones_like(a) * a,
    "eq": lambda a: a == a.flip(0), "ne": lambda a: a != a.flip(0), "any": lambda a: a.any(1),
    "outer": lambda a: torch.outer(a[0], a[1]), "logical": lambda a: torch.logical_not(a), "cumsum": lambda a: a.cumsum(1),
}  # fmt: skip


STFT = torch.stft(rand(2, 64), 16, 4, window=torch.hann_window(16), return_complex=True)


def _write(a: Tensor) -> Tensor:
    b = a.clone()
    b[:, 1:3] = b[:, 3:5] * 1j
    return b


def complex_cases() -> list[Case]:
    z, w, x = pairs(3, 5), pairs(3, 5, seed=3), rand(3, 5)
    cases: list[Case] = [(name, f, (z,)) for name, f in UNARY.items()]
    cases += [
        ("add", torch.add, (z, w)), ("sub", torch.sub, (z, w)), ("mul", torch.mul, (z, w)),
        ("div", torch.div, (z, w)), ("add_alpha", lambda a, b: torch.add(a, b, alpha=2), (z, w)),
        ("add_alpha_i", lambda a, b: torch.sub(a, b, alpha=1j), (z, w)),
        ("mul_real", torch.mul, (z, x)), ("real_mul", torch.mul, (x, z)), ("div_real", torch.div, (z, x)),
        ("real_div", torch.div, (x, z)), ("add_int", torch.add, (z, ints(3, 5))),
        ("addcmul", lambda a, b: torch.addcmul(a, b, a, value=2), (z, w)), ("addcdiv", lambda a, b: torch.addcdiv(a, b, a, value=1j), (z, w)),
        ("dist", torch.dist, (z, w)), ("dist1", lambda a, b: torch.dist(a, b, 1), (z, w)), ("take", lambda a, i: a.take(i), (z, ints(4, low=0, high=15))),
        ("put", lambda a, i, b: a.put(i, b, accumulate=True), (z, ints(5, low=0, high=15), w[0])), ("index_fill", lambda a, i: a.index_fill(1, i, 2 - 1j), (z, ints(2, low=0, high=5))),
        ("as_strided_scatter", lambda a, b: a.as_strided_scatter(b, (5,), (2,), 1), (z, w[0])),
        ("ldexp", torch.ldexp, (z, ints(3, 5))), ("masked_scatter", lambda a, m, b: a.masked_scatter(m, b), (z, flags(3, 5), w)),
        ("row", torch.mul, (z, w[0])), ("column", torch.add, (z[:, :1], w)), ("pow", torch.pow, (z, w)),
        ("to_complex", lambda a: a.to(torch.complex64) * 1j, (x,)), ("complex", torch.complex, (x, rand(3, 5, seed=2))),
        ("polar", torch.polar, (x.abs(), rand(3, 5, seed=2))), ("as_complex", torch.view_as_complex, (rand(3, 5, 2),)),
        ("rotary", rotary, (rand(2, 4, 3, 8), rand(4, 4))),
        ("where", torch.where, (flags(3, 5), z, w)), ("where_real", torch.where, (flags(3, 5), z, x)),
        ("where_number", lambda m, a: torch.where(m, a, 2.0), (flags(3, 5), z)),
        ("masked_fill", lambda a, m: a.masked_fill(m, 1 + 1j), (z, flags(3, 5))),
        ("index", lambda a, i: a[:, i], (z, ints(4, low=0, high=5))),
        ("gather", lambda a, i: a.gather(1, i), (z, ints(3, 2, low=0, high=5))),
        ("mm", torch.mm, (z, w.T.contiguous())), ("mm_t", lambda a, b: a @ b.T, (z, w)),
        ("bmm", torch.bmm, (pairs(2, 3, 4), pairs(2, 4, 5))), ("mm_real", lambda a, b: a @ b.to(a.dtype), (z, rand(5, 2))),
        ("mv", torch.mv, (z, w[0])), ("dot", torch.dot, (z[0], w[0])), ("vdot", torch.vdot, (z[0], w[0])),
        ("linear", torch.nn.functional.linear, (z, w, pairs(3))), ("addmm", lambda c, a, b: torch.addmm(c, a, b.T, alpha=2), (pairs(3), z, w)),
        ("baddbmm", torch.baddbmm, (pairs(2, 3, 5), pairs(2, 3, 4), pairs(2, 4, 5))),
        ("einsum", lambda a, b: torch.einsum("bi,oi->bo", a, b), (z, w)),
        ("matmul_4d", torch.matmul, (pairs(2, 1, 3, 4), pairs(5, 4, 2))),
        ("ones_real", lambda a: torch.ones_like(a, dtype=torch.float64), (z,)),
        ("full_wide", lambda a: torch.full_like(a, 0.1, dtype=torch.complex128), (z,)),
        ("empty", lambda a: a * 2j, (pairs(0, 3),)), ("scalar", lambda a: a.abs() + a.real, (torch.tensor(3 - 4j),)),
        ("c128", lambda a: (a * a).exp().abs(), (z.to(torch.complex128),)),
    ]  # fmt: skip
    return cases


def rotary(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary positions as LLaMA's first code has them."""
    turns = torch.polar(torch.ones_like(angles), angles)
    z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(z * turns[None, :, None]).flatten(3)


def fourier_cases() -> list[Case]:
    cases: list[Case] = []
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 25, 30, 32, 49, 61, 64, 67, 100, 101,
              120, 128, 134, 243, 256, 509, 600, 1000, 1024):  # fmt: skip
        z, x = pairs(3, n), rand(3, n)
        cases += [(f"fft{n}", fft.fft, (z,)), (f"rfft{n}", fft.rfft, (x,))]
        if n > 1:
            cases.append((f"irfft{n}", lambda a, n=n: fft.irfft(a, n), (pairs(3, n // 2 + 1),)))
        if n % 4 == 1:
            cases.append((f"ifft{n}", fft.ifft, (z,)))
    z, x = pairs(2, 6, 9), rand(2, 6, 9)
    for norm in ("backward", "ortho", "forward"):
        cases += [
            (f"{name}_{norm}", lambda a, f=f, m=norm: f(a, norm=m), (a,))
            for name, f, a in [
                ("fft", fft.fft, z), ("ifft", fft.ifft, z), ("rfft", fft.rfft, x), ("irfft", fft.irfft, z),
                ("hfft", fft.hfft, z), ("ihfft", fft.ihfft, x), ("fft2", fft.fft2, z), ("ifft2", fft.ifft2, z),
                ("rfft2", fft.rfft2, x), ("irfft2", fft.irfft2, z), ("fftn", fft.fftn, z), ("ifftn", fft.ifftn, z),
                ("rfftn", fft.rfftn, x), ("irfftn", fft.irfftn, z), ("hfft2", fft.hfft2, z), ("ihfft2", fft.ihfft2, x),
            ]
        ]  # fmt: skip
    window = torch.hann_window(16)
    cases += [
        ("fft_real", fft.fft, (x,)), ("ifft_real", fft.ifft, (x,)), ("fft_int", fft.fft, (ints(3, 8),)),
        ("fft_dim0", lambda a: fft.fft(a, dim=0), (z,)), ("fft_dim1", lambda a: fft.fft(a, dim=1), (z,)),
        ("rfft_dim1", lambda a: fft.rfft(a, dim=1), (x,)), ("irfft_dim1", lambda a: fft.irfft(a, dim=1), (z,)),
        ("fft_pad", lambda a: fft.fft(a, 13), (z,)), ("fft_crop", lambda a: fft.fft(a, 5), (z,)),
        ("irfft_odd", lambda a: fft.irfft(a, 7), (z,)), ("rfft_strided", lambda a: fft.rfft(a[:, ::2, 1:]), (x,)),
        ("fft_transposed", lambda a: fft.fft(a.mT), (z,)), ("fftn_some", lambda a: fft.fftn(a, dim=(0, 2)), (z,)),
        ("fftn_size", lambda a: fft.fftn(a, s=(4, 10)), (z,)), ("shift", fft.fftshift, (x,)), ("ishift", fft.ifftshift, (x,)),
        ("shift_complex", fft.fftshift, (z,)), ("freq", lambda a: a[0, 0] * fft.fftfreq(9, 0.5), (x,)),
        ("freq_even", lambda a: a[0, :, 0] + fft.fftfreq(6), (x,)), ("rfreq", lambda a: a[0, 0, :5] * fft.rfftfreq(9), (x,)),
        ("fourier_mixing", lambda a: fft.fft(fft.fft(a, dim=-1), dim=-2).real, (x,)),
        ("filter", lambda a, b: fft.irfft(fft.rfft(a, 18) * fft.rfft(b, 18), 18)[..., :9], (x, rand(9))),
        ("f64", fft.fft, (z.to(torch.complex128),)), ("rfft_f64", fft.rfft, (x.double(),)),
        ("long", fft.fft, (pairs(1, 8192),)), ("many", fft.rfft, (rand(40, 400),)),
        ("stft", lambda a: torch.stft(a, 16, 4, window=window.to(a.dtype), return_complex=True).abs(), (rand(2, 64),)),
        ("stft_real", lambda a: torch.view_as_real(torch.stft(a, 16, center=False, return_complex=True)), (rand(50),)),
        ("istft", lambda a: torch.istft(a, 16, 4, window=window.to(a.real.dtype)), (STFT,)),
        ("istft_length", lambda a: torch.istft(a, 16, 4, window=window.to(a.real.dtype), length=50), (STFT,)),
        ("stft_full", lambda a: torch.stft(a, 16, 5, 12, onesided=False, normalized=True, return_complex=True), (rand(2, 64),)),
    ]  # fmt: skip
    return cases
