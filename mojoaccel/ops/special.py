"""Special functions of torch.special, and pointwise operators on the parts of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mojoaccel.ir.graph import Node
from mojoaccel.ir.types import BOOL, I32
from mojoaccel.ops.elementwise import Build, binary, op, unary
from mojoaccel.ops.registry import Kernel, OpDef, Pointwise, PointwiseContext

if TYPE_CHECKING:
    from mojoaccel.ops.lowering import KernelContext


def special(name: str, build: Build, *overloads: str) -> OpDef:
    """Make the record of ``torch.special``'s function `name`."""
    names = overloads or ("default",)
    aten = tuple(f"aten.special_{name}.{o}" for o in names)
    return OpDef(f"special_{name}", aten, Pointwise(build))


def polynomial(name: str) -> OpDef:
    """Make the record of an orthogonal polynomial; position or degree may be a number."""
    build = binary(name, "x", "n")
    return special(name, build, "default", "x_scalar", "n_scalar")


def signbit(p: PointwiseContext) -> str:
    """``aten.signbit``: of floats also that of -0."""
    x = p.operands[0]
    assert x is not None
    if p.body.dtypes[x] == BOOL:
        return p.const(False)
    return p.call("signbit", x, dtype=BOOL)


def polygamma(p: PointwiseContext) -> str:
    """``aten.polygamma``: derivative number n of digamma."""
    order = p.node.attr("n")
    if order == 0:
        return p.call("digamma", p.operand(0))
    return p.call("polygamma", p.const(order), p.operand(0))


def round_decimals(p: PointwiseContext) -> str:
    """``aten.round.decimals``: decimals may be negative."""
    decimals = p.node.attr("decimals", 0)
    if not p.dtype.is_float:
        return p.operand(0)
    scale = p.const(10.0 ** abs(decimals))
    return p.call("round_decimals", p.operand(0), scale, p.const(float(decimals >= 0)))


def ldexp(p: PointwiseContext) -> str:
    """``aten.ldexp``: self times a power of two, as PyTorch multiplies."""
    return p.call("mul", p.operand(0), p.call("exp2", p.operand(1)))


def shift(function: str) -> Build:
    """A shift of self by other bits."""
    return lambda p: p.call(function, p.operand(0, "self"), p.operand(1, "other"))


def lower_frexp(ctx: KernelContext, node: Node) -> None:
    """``aten.frexp``: mantissa and exponent are two functions of one number."""
    mantissa, power = node.outputs
    x = ctx.get(str(node.inputs[0]))

    def exponent(p: PointwiseContext) -> str:
        (operand,) = p.operands
        assert operand is not None
        return p.call("frexp_exponent", operand, dtype=I32)

    ctx.define(
        node,
        ctx.pointwise(node, [x], unary("frexp_mantissa"), mantissa.type),
        ctx.pointwise(node, [x], exponent, power.type),
    )


def nextafter(p: PointwiseContext) -> str:
    """``aten.nextafter``: of the stored type, whose neighbours are wider apart."""
    x, y = (p.operand(i, dtype=p.result.dtype) for i in (0, 1))
    return p.body.cast(p.call("nextafter", x, y), p.dtype)


SHIFTS = ("Tensor", "Tensor_Scalar", "Scalar_Tensor")
ONE = ("airy_ai", "i0e", "i1", "i1e", "erfcx", "ndtri", "bessel_j0", "bessel_j1", "bessel_y0",
       "bessel_y1", "spherical_bessel_j0")  # fmt: skip
"""Functions of one number under their own names."""

OTHER_NAMES = {
    "modified_bessel_i0": "i0",
    "modified_bessel_i1": "i1",
    "modified_bessel_k0": "k0",
    "modified_bessel_k1": "k1",
    "scaled_modified_bessel_k0": "k0e",
    "scaled_modified_bessel_k1": "k1e",
}
POLYNOMIALS = ("hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
               "legendre_polynomial_p")  # fmt: skip

OPS = (
    *(op(n, unary(n)) for n in ("lgamma", "digamma", "i0")),
    *(op(n, binary(n)) for n in ("hypot", "gcd", "lcm", "igamma", "igammac")),
    op("nextafter", nextafter),
    op("signbit", signbit),
    op("polygamma", polygamma),
    op("round_decimals", round_decimals, "aten.round.decimals"),
    op("ldexp", ldexp, "Tensor"),
    op(
        "bitwise_left_shift",
        shift("shift_left"),
        *SHIFTS,
        "aten.__lshift__.Tensor",
        "aten.__lshift__.Scalar",
    ),
    op(
        "bitwise_right_shift",
        shift("shift_right"),
        *SHIFTS,
        "aten.__rshift__.Tensor",
        "aten.__rshift__.Scalar",
    ),
    OpDef("frexp", ("aten.frexp.Tensor",), Kernel(lower_frexp)),
    *(special(n, unary(n)) for n in ONE),
    *(special(n, unary(function)) for n, function in OTHER_NAMES.items()),
    *(
        polynomial(f"{shifted}chebyshev_polynomial_{kind}")
        for shifted in ("", "shifted_")
        for kind in "tuvw"
    ),
    *(polynomial(n) for n in POLYNOMIALS),
    special("zeta", binary("zeta"), "default", "other_scalar", "self_scalar"),
)
