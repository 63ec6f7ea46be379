"""The Mojo half of an operator of one's own: see my_ops.py."""

from std.sys import simd_width_of

from maccel.math_hyperbolic import tanh
from maccel.operand import Operand
from maccel.team import Team


def soft_cap[
    dt: DType, //, cap: Float64
](team: Team, x: Operand[dt], result: Operand[dt]):
    """Computes `cap * tanh(x / cap)` on this thread's share of the elements."""
    comptime W = simd_width_of[dt]()
    comptime limit = Scalar[dt](cap)
    var share = team.share(x.count(), W)
    var i = share.begin
    while i + W <= share.end:
        var scaled = x.data.unsafe_load[width=W](i) / limit
        result.data.unsafe_store(i, tanh(scaled) * limit)
        i += W
    while i < share.end:
        var scaled = x.data.unsafe_load[width=1](i) / limit
        result.data.unsafe_store(i, tanh(scaled) * limit)
        i += 1
