"""Special functions: their ordinary range, their ends, and what is beyond."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.operator_cases import SPECIAL, Case, flags, ints, rand

S = torch.special
ENDS = torch.tensor([24.999, 25.0, 30.001, 8.0, 2.0, 700.0, 1e-5, 5e-40, -3.0, 20.0])

ANY = {
    "airy_ai": S.airy_ai, "lgamma": torch.lgamma, "digamma": torch.digamma, "i0": torch.i0, "i0e": S.i0e, "i1": S.i1,
    "i1e": S.i1e, "erfcx": S.erfcx, "j0": S.bessel_j0, "j1": S.bessel_j1,
    "spherical_j0": S.spherical_bessel_j0, "log_ndtr": S.log_ndtr, "signbit": torch.signbit,
    "frexp": torch.frexp, "decimals": lambda x: torch.round(x, decimals=2),
    "tens": lambda x: torch.round(x, decimals=-1), "xlogy_by": lambda x: torch.xlogy(x, 2.5),
    "xlog1py_of": lambda x: S.xlog1py(3, x),
}  # fmt: skip
POSITIVE = {
    "y0": S.bessel_y0, "y1": S.bessel_y1, "k0": S.modified_bessel_k0, "k1": S.modified_bessel_k1,
    "k0e": S.scaled_modified_bessel_k0, "k1e": S.scaled_modified_bessel_k1,
    "trigamma": lambda x: torch.polygamma(1, x), "zeta": lambda x: S.zeta(x + 0.5, x.flip(0)),
    "igamma": lambda x: torch.igamma(x, x.flip(0)),
    "igammac": lambda x: torch.igammac(x, x.flip(0)),
}  # fmt: skip
LIMITS = ("airy_ai", "i0", "i1", "j0", "j1", "y0", "y1", "trigamma", "zeta")
ENDLESS = ("i0", "i1", "j0", "j1", "y0", "y1")
"""Those that PyTorch answers with NaN at the infinities."""
POLYNOMIALS = [
    *(f"{s}chebyshev_polynomial_{k}" for s in ("", "shifted_") for k in "tuvw"),
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
    "legendre_polynomial_p",
]  # fmt: skip


def values() -> Tensor:
    return torch.cat([3 * rand(40), 30 * rand(20), SPECIAL, ENDS])


def special_cases() -> list[Case]:
    x = values()
    # Where PyTorch's own formulas overflow, these still have a value.
    near = x[~(x.abs() >= 80)]
    far = torch.tensor([80.5, 700, 1e30, torch.inf, torch.nan, 0])
    inside = {n: near if n in LIMITS else x for n in (*ANY, *POSITIVE)}
    cases: list[Case] = [(n, f, (inside[n].clone(),)) for n, f in ANY.items()]
    cases += [(n, f, (inside[n].abs(),)) for n, f in POSITIVE.items()]
    unit = torch.cat([rand(40).sigmoid(), torch.tensor([0.0, 1.0, 1e-30, 0.5, 1.5, -0.2])])
    cases += [
        ("ndtri", S.ndtri, (unit,)),
        ("trigamma_far", lambda a: torch.polygamma(1, a), (far.clone(),)),
        ("third_derivative", lambda a: torch.polygamma(3, a), (far.clone(),)),
        ("hypot", torch.hypot, (x.clone(), x.flip(0))),
        ("nextafter", torch.nextafter, (x.clone(), x.flip(0))),
        ("ldexp", torch.ldexp, (x.clone(), ints(1))),
    ]
    ends = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0, -0.0])
    cases += [
        (f"{n}_ends", {**ANY, **POSITIVE}[n], (ends.clone(),)) for n in LIMITS if n in ENDLESS
    ]
    return [*cases, *double_cases()]


def double_cases() -> list[Case]:
    """Of float64: those that PyTorch computes to all of its digits."""
    x = torch.cat([values().double(), torch.tensor([1e-300, 1e-310, 1e300, 170.5, -21.5])])
    x = x[~(x.abs() >= 1e10)]
    unit = torch.cat([rand(40).sigmoid().double(), torch.tensor([1e-30, 1e-300, 1e-310, 0.999])])
    order = 1 + torch.tensor([2e-9, 40.3, 11.0, 3.0, 1e3, torch.inf, 0.5, 1.0]).double()
    place = torch.tensor([0.3, 11.0, 9.0, 1e-5, 1.0, 2.5, 3.0, 0.7]).double()
    small = torch.tensor([1e-30, 1e-5, 0.3, 0.05]).double()
    return [
        *((f"{n}_f64", ANY[n], (x.clone(),)) for n in ("erfcx", "lgamma", "i0e", "i1e")),
        ("erfc_f64", torch.erfc, (x.clone(),)),
        ("ndtri_f64", S.ndtri, (unit,)),
        ("zeta_f64", S.zeta, (order, place)),
        ("igammac_f64", torch.igammac, (small, small.flip(0) + 0.2)),
        ("nextafter_bf16", torch.nextafter, (values().bfloat16(), values().flip(0).bfloat16())),
    ]


def polynomial_cases() -> list[Case]:
    degrees = torch.arange(-2, 14).float().repeat(3)
    x = torch.cat([torch.linspace(-1, 1, 32), 2 * rand(16)])
    cases: list[Case] = [(n, getattr(S, n), (x.clone(), degrees.clone())) for n in POLYNOMIALS]
    fifth: Case = ("degree", lambda a: S.chebyshev_polynomial_t(a, 5), (x.clone(),))
    place: Case = ("place", lambda n: S.hermite_polynomial_h(0.7, n), (degrees.clone(),))
    far = torch.tensor([1e30, -1e30, 1e10, -1e10, 700.0, torch.inf, -torch.inf])
    high = torch.tensor([4.0, 17.0, 9.0, 8.0, 19.0, 7.0, 16.0])
    cases += [(f"{n}_far", getattr(S, n), (far.clone(), high.clone())) for n in POLYNOMIALS]
    return [*cases, fifth, place]


def integer_cases() -> list[Case]:
    i, j = ints(77, low=-50, high=50), ints(77, low=-50, high=50, seed=1)
    i[:3], j[2:5] = 0, 0
    count = ints(77, low=-3, high=70, seed=2)
    return [
        ("gcd", torch.gcd, (i.clone(), j.clone())),
        ("lcm", torch.lcm, (i.clone(), j.clone())),
        ("gcd_i8", torch.gcd, (i.to(torch.int8), j.to(torch.int8))),
        ("left", torch.bitwise_left_shift, (i.clone(), count.clone())),
        ("right", torch.bitwise_right_shift, (i.clone(), count.clone())),
        ("left_number", lambda a: a << 3, (i.clone(),)),
        ("right_number", lambda a: a >> 2, (i.int(),)),
        ("number_left", lambda a: torch.bitwise_left_shift(3, a), (count.clone(),)),
        ("sign", torch.signbit, (i.clone(),)),
        ("sign_bool", torch.signbit, (flags(5),)),
        ("lgamma_int", torch.lgamma, (i.clone(),)),
        *unsigned_cases(),
    ]


def unsigned_cases() -> list[Case]:
    """What PyTorch can do with unsigned integers of more than 8 bits, and bits read otherwise."""
    cases: list[Case] = [
        ("float_bits", lambda a: (a * 2).view(torch.int32), (rand(7),)),
        ("half_bits", lambda a: a.view(torch.int16) + 1, (rand(2, 7).bfloat16(),)),
        ("to_byte", lambda a: (9 * a).to(torch.uint8), (rand(33),)),
        ("to_short", lambda a: (9e4 * a).to(torch.int16), (rand(33),)),
        ("bytes", lambda a: a[1:].view(torch.uint8), (ints(5).int(),)),
        ("from_bytes", lambda a: a.view(torch.int32), (ints(3, 8, low=0, high=256).byte(),)),
    ]
    for name, signed in (("uint16", torch.int16), ("uint32", torch.int32), ("uint64", torch.int64)):
        kind = getattr(torch, name)
        x, y = ints(33, low=-9, high=70).to(kind), ints(33, low=0, high=9, seed=1).to(kind)
        two = {
            "mul": torch.mul, "and": torch.bitwise_and, "or": torch.bitwise_or,
            "xor": torch.bitwise_xor, "eq": torch.eq, "ne": torch.ne, "div": torch.div,
            "where": lambda a, b: torch.where(a == b, a, b), "cat": lambda a, b: torch.cat([a, b]),
        }  # fmt: skip
        one = {
            "float": lambda a: a.float(), "long": lambda a: a.long(), "byte": lambda a: a.byte(),
            "bool": lambda a: a.bool(), "bits": lambda a, s=signed: a.view(s),
            "from_float": lambda a, k=kind: ((a.long() % 100).float() * 1.5).to(k),
            "from_int": lambda a, k=kind: (a.long() - 40).to(k),
            "index": lambda a: a[[3, 0, -1]], "sort": lambda a: a.sort(), "sum": lambda a: a.sum(),
            "prod": lambda a: a[:4].prod(), "cumsum": lambda a: a.cumsum(0),
            "any": lambda a: a.any(), "pad": lambda a: torch.nn.functional.pad(a, (1, 2)),
            "roll": lambda a: a.roll(3), "full": lambda a: torch.full_like(a, 7),
            "repeat": lambda a: a.repeat(2), "half": lambda a: a * 2.5,
        }  # fmt: skip
        cases += [(f"{n}_{name}", f, (x.clone(), y.clone())) for n, f in two.items()]
        cases += [(f"{n}_{name}", f, (x.clone(),)) for n, f in one.items()]
    return cases


def narrow_cases() -> list[Case]:
    """Functions that are computed in float64, from and to 16 bits."""
    x, wide = rand(70), rand(70).double()
    half, brain = x.half(), x.bfloat16()
    return [
        *((f"{f.__name__}_bf16", f, (torch.tanh(brain),)) for f in (torch.acos, torch.asin)),
        ("atan_bf16", torch.atan, (brain.clone(),)),
        ("erfc_bf16", torch.erfc, (brain.clone(),)),
        ("pow_bf16", lambda a: a.abs() ** 1.7, (brain.clone(),)),
        ("atan2_bf16", torch.atan2, (brain.clone(), brain.flip(0))),
        ("acos_f16", torch.acos, (torch.tanh(half),)),
        ("pow_f16", lambda a: a.abs() ** 0.3, (half.clone(),)),
        ("f64_to_f16", lambda a: (2 * a).half(), (wide.clone(),)),
        ("f64_to_bf16", lambda a: (2 * a).bfloat16(), (wide.clone(),)),
        ("f64_f32_bf16", lambda a: (2 * a).float().bfloat16(), (wide.clone(),)),
    ]
