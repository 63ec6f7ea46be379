"""Checks scalar functions against float64 identities and at the special values."""

import std.math
from std.testing import assert_equal, assert_true

import maccel.math as m

comptime F = DType.float32
comptime D = DType.float64
comptime V = SIMD[F, 8]
comptime INF = Float32(3e38) * 10
comptime NAN = INF - INF


def near(found: V, expected: SIMD[D, 8], what: StaticString) raises:
    """Checks float32 results to 4 units in the last place."""
    for lane in range(8):
        var e = expected[lane]
        var limit = 4 * 1.2e-7 * max(abs(e), 1e-30)
        var miss = abs(found[lane].cast[D]() - e)
        if not (miss <= limit):
            raise Error(what, " at lane ", lane, ": ", found[lane], " ", e)


def test_functions_match_float64() raises:
    for step in range(-400, 400):
        var x = V(Float32(step) / 37.0)
        comptime for lane in range(8):
            x[lane] += Float32(lane) / 311.0
        var d = x.cast[D]()
        var p = abs(d) + 0.001
        var q = p.cast[F]()
        p = q.cast[D]()
        near(m.exp(x), std.math.exp(d), "exp")
        near(m.exp2(x), std.math.exp2(d), "exp2")
        near(m.log(q), std.math.log(p), "log")
        near(m.log2(q), std.math.log(p) * 1.4426950408889634, "log2")
        near(m.sigmoid(x), 1 / (1 + std.math.exp(-d)), "sigmoid")
        near(m.silu(x), d / (1 + std.math.exp(-d)), "silu")
        near(m.cosh(x), (std.math.exp(d) + std.math.exp(-d)) / 2, "cosh")
        near(m.pow(q, x), std.math.exp(std.math.log(p) * d), "pow")
        # Identities that double precision carries.
        var t = m.tanh(d)
        near(m.tanh(x), t, "tanh")
        near(m.sinh(x), m.sinh(d), "sinh")
        near(m.erf(x), m.erf(d), "erf")
        near(m.expm1(x), m.expm1(d), "expm1")
        near(m.log1p(q), m.log1p(p), "log1p")
        near(m.sin(x), m.sin(d), "sin")
        near(m.cos(x), m.cos(d), "cos")
        near(m.tan(x), m.tan(d), "tan")
        near(m.lgamma(q), m.lgamma(p), "lgamma")
        var s = m.sin(d)
        var c = m.cos(d)
        assert_true(abs(s * s + c * c - 1).reduce_max() < 1e-15)
        assert_true(abs(m.atan(m.tan(d * 0.1)) - d * 0.1).reduce_max() < 2e-15)
        assert_true(abs(m.erf(d) + m.erfc(d) - 1).reduce_max() < 1e-15)


def one(x: V) -> Float32:
    return x[0]


def is_nan(x: V) -> Bool:
    return not (x[0] == x[0])


def test_special_values() raises:
    assert_equal(one(m.exp(V(-INF))), 0.0)
    assert_equal(one(m.exp(V(INF))), INF)
    assert_equal(one(m.exp(V(-200.0))), 0.0)
    assert_equal(one(m.exp(V(200.0))), INF)
    assert_true(one(m.exp(V(-100.0))) > 0.0)
    assert_equal(one(m.log(V(0.0))), -INF)
    assert_equal(one(m.log(V(INF))), INF)
    assert_true(is_nan(m.log(V(-1.0))))
    assert_true(is_nan(m.exp(V(NAN))))
    assert_true(is_nan(m.relu(V(NAN))))
    assert_true(is_nan(m.maximum(V(NAN), V(1.0))))
    assert_true(is_nan(m.minimum(V(1.0), V(NAN))))
    assert_equal(one(m.fmax(V(NAN), V(1.0))), 1.0)
    assert_true(m.ne(V(NAN), V(NAN)).reduce_and())
    assert_true(m.cast[DType.bool](V(NAN)).reduce_and())
    assert_equal(one(m.tanh(V(INF))), 1.0)
    assert_equal(one(m.erf(V(-INF))), -1.0)
    assert_equal(one(m.round(V(2.5))), 2.0)
    assert_equal(one(m.round(V(-3.5))), -4.0)
    assert_equal(one(m.pow(V(-2.0), V(3.0))), -8.0)
    assert_true(is_nan(m.pow(V(-2.0), V(0.5))))
    assert_equal(one(m.pow(V(NAN), V(0.0))), 1.0)
    # Huge angles: sin(1e22) is the classic check of argument reduction.
    assert_true(abs(m.sin(SIMD[D, 1](1e22))[0] + 0.8522008497671888) < 1e-15)


def test_division_rules() raises:
    comptime I = SIMD[DType.int32, 4]
    var x = I(7, -7, 7, -7)
    var y = I(2, 2, -2, -2)
    assert_equal(m.div_floor(x, y), I(3, -4, -4, 3))
    assert_equal(m.div_trunc(x, y), I(3, -3, -3, 3))
    assert_equal(m.remainder(x, y), I(1, 1, -1, -1))
    assert_equal(m.fmod(x, y), I(1, -1, 1, -1))
    assert_equal(m.div_floor(x, I(0)), I(0))
    assert_equal(m.div_floor(I(Int32.MIN), I(-1)), I(Int32.MIN))
    assert_equal(m.pow(I(3, -2, -1, 2), I(4, 3, -3, -1)), I(81, -8, -1, 0))
    var f = SIMD[F, 4](5.5, -5.5, 5.5, -5.5)
    var g = SIMD[F, 4](2, 2, -2, -2)
    assert_equal(m.remainder(f, g), SIMD[F, 4](1.5, 0.5, -0.5, -1.5))
    assert_equal(m.fmod(f, g), SIMD[F, 4](1.5, -1.5, 1.5, -1.5))
    # 3e38 mod 3e-39, the quotient beyond float32: exact, below the divisor.
    var r = m.fmod(V(3e38), V(3e-39))
    assert_true((r.ge(0) & r.lt(3e-39)).reduce_and())


def main() raises:
    test_functions_match_float64()
    test_special_values()
    test_division_rules()
