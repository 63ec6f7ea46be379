"""Checks attention against a naive loop in float64, on real threads."""

from std.math import exp, sqrt
from std.testing import assert_almost_equal, assert_equal

from maccel.attention import attention, attention_scratch
from maccel.attention_buffers import can_pair
from maccel.pool import pool_create, pool_destroy, pool_run, pool_set_scratch
from maccel.team import Team
from maccel.types import Args, Ptr, arg_int, arg_ptr

from team_fixture import buffer, filled, tiles_permitted

comptime F = DType.float32
comptime LOWEST = -3.4028234663852886e38


@always_inline
def hidden(b: Int, h: Int, i: Int, j: Int) -> Bool:
    """The mask of the tests: scattered holes, and every fifth query sees nothing.
    """
    return (b + h + 3 * i + 5 * j) % 7 == 0 or (i + h) % 5 == 4


@always_inline
def drowned(h: Int, i: Int) -> Bool:
    """Rows whose mask is the lowest finite float32: scores drown, weights are equal.
    """
    return (i + h) % 5 == 3


def task[
    dt: DType,
    acc: DType,
    D: Int,
    DV: Int,
    causal: Bool,
    has_mask: Bool,
](args: Args, pool: Args, tid: Int) abi("C"):
    """Runs one thread; positions of all heads interleave, as after a joint projection.
    """
    var y = arg_ptr[acc](args, 3)
    var batch = arg_int(args, 4)
    var heads = arg_int(args, 5)
    var q_len = arg_int(args, 6)
    var k_len = arg_int(args, 7)
    var group = arg_int(args, 8)
    var kv_heads = heads // group

    @always_inline
    def mask[w: Int](b: Int, h: Int, i: Int, j: Int) {imm} -> SIMD[acc, w]:
        var values = SIMD[acc, w](0)
        comptime for t in range(w):
            values[t] = Scalar[acc](0.25) * Scalar[acc]((i + j + t) % 3)
            if hidden(b, h, i, j + t):
                values[t] = -1 / Scalar[acc](0)
            elif drowned(h, i):
                values[t] = Scalar[acc](LOWEST)
        return values

    @always_inline
    def store[w: Int](b: Int, h: Int, i: Int, d: Int, v: SIMD[acc, w]) {imm}:
        var at = ((b * heads + h) * q_len + i) * DV + d
        y.unsafe_store(at, y.unsafe_load[width=w](at) + v)

    attention[acc=acc, D=D, DV=DV, causal=causal, has_mask=has_mask](
        Team(pool, tid),
        batch,
        heads,
        q_len,
        k_len,
        group,
        arg_ptr[dt](args, 0),
        q_len * heads * D,
        D,
        heads * D,
        arg_ptr[dt](args, 1),
        k_len * kv_heads * D,
        D,
        kv_heads * D,
        arg_ptr[dt](args, 2),
        k_len * kv_heads * DV,
        DV,
        kv_heads * DV,
        Float64(arg_int(args, 9)) / sqrt(Float64(D)),
        mask,
        store,
    )


def check[
    dt: DType,
    acc: DType,
    D: Int,
    DV: Int,
    causal: Bool,
    has_mask: Bool,
](
    batch: Int,
    heads: Int,
    q_len: Int,
    k_len: Int,
    group: Int,
    threads: Int,
    sharpness: Int = 1,
) raises:
    var kv_heads = heads // group
    var q = filled[dt](batch * heads * q_len * D + 1, 1)
    var k = filled[dt](batch * kv_heads * k_len * D + 1, 2)
    var v = filled[dt](batch * kv_heads * k_len * DV + 1, 3)
    var count = batch * heads * q_len * DV
    var y = buffer[acc](count + 1)
    for i in range(count + 1):
        y[unsafe_offset=i] = 0
    comptime bytes = (attention_scratch[D, DV, acc]() + 63) // 64 * 64
    var pool = pool_create(threads)
    pool_set_scratch(
        pool, Int(buffer[DType.int64](threads * bytes // 8)), bytes
    )
    var args = buffer[DType.int64](16)
    args[unsafe_offset=0] = Int64(Int(q))
    args[unsafe_offset=1] = Int64(Int(k))
    args[unsafe_offset=2] = Int64(Int(v))
    args[unsafe_offset=3] = Int64(Int(y))
    args[unsafe_offset=4] = Int64(batch)
    args[unsafe_offset=5] = Int64(heads)
    args[unsafe_offset=6] = Int64(q_len)
    args[unsafe_offset=7] = Int64(k_len)
    args[unsafe_offset=8] = Int64(group)
    args[unsafe_offset=9] = Int64(sharpness)
    pool_run(pool, task[dt, acc, D, DV, causal, has_mask], args, threads)
    pool_destroy(pool)
    var weights = buffer[DType.float64](k_len + 1)
    # Pairs round the weights to bfloat16: by 2^-9 of values that are 1 at most.
    comptime paired = can_pair[dt, dt, dt, acc, D]()
    comptime exact = 1.0 / 512 if paired else 2e-6
    var tolerance = exact * Float64(1 if paired else abs(sharpness))
    for b in range(batch):
        for h in range(heads):
            for i in range(q_len):
                var top = Float64(-1e300)
                for j in range(k_len):
                    var s = Float64(0)
                    for d in range(D):
                        s += (
                            q[
                                unsafe_offset=((b * q_len + i) * heads + h) * D
                                + d
                            ].cast[DType.float64]()
                            * k[
                                unsafe_offset=(
                                    (b * k_len + j) * kv_heads + h // group
                                )
                                * D
                                + d
                            ].cast[DType.float64]()
                        )
                    s *= Float64(sharpness) / sqrt(Float64(D))
                    comptime if has_mask:
                        s += 0.25 * Float64((i + j) % 3)
                        if drowned(h, i):
                            s = LOWEST
                        if hidden(b, h, i, j):
                            s = -1e300
                    comptime if causal:
                        if j > i:
                            s = -1e300
                    weights[unsafe_offset=j] = s
                    top = max(top, s)
                var total = Float64(0)
                for j in range(k_len):
                    var e = Float64(0)
                    if weights[unsafe_offset=j] > -1e299:
                        e = exp(weights[unsafe_offset=j] - top)
                    weights[unsafe_offset=j] = e
                    total += e
                for d in range(DV):
                    var sum = Float64(0)
                    for j in range(k_len):
                        sum += (
                            weights[unsafe_offset=j]
                            * v[
                                unsafe_offset=(
                                    (b * k_len + j) * kv_heads + h // group
                                )
                                * DV
                                + d
                            ].cast[DType.float64]()
                        )
                    if total > 0:
                        sum /= total
                    assert_almost_equal(
                        y[
                            unsafe_offset=((b * heads + h) * q_len + i) * DV + d
                        ].cast[DType.float64](),
                        sum,
                        atol=tolerance,
                        rtol=tolerance,
                    )
    assert_equal(y[unsafe_offset=count], 0)


def test_plain() raises:
    for length in range(0, 20):
        check[F, F, 64, 64, False, False](1, 2, length, 3 * length + 1, 1, 2)
    check[F, F, 64, 64, False, False](2, 3, 77, 300, 1, 4)
    check[F, F, 64, 64, False, False](1, 1, 600, 31, 1, 3)
    check[F, F, 64, 64, False, False](1, 2, 5, 0, 1, 2)


def test_masked_causal_and_odd_depths() raises:
    for length in range(1, 18):
        check[F, F, 33, 17, True, True](2, 2, length, length, 1, 3)
    check[F, F, 33, 17, True, True](1, 4, 70, 300, 2, 2)
    check[F, F, 33, 17, True, True](1, 4, 300, 70, 2, 4)
    check[F, F, 33, 17, True, True](1, 1, 600, 600, 1, 4)


def test_few_queries_split_the_keys() raises:
    for length in range(1, 10):
        check[F, F, 33, 17, True, True](1, 3, length, 600, 1, 1)
    check[F, F, 64, 64, False, False](1, 1, 1, 1500, 1, 4)
    check[F, F, 64, 64, False, False](1, 14, 1, 1500, 7, 4)
    check[F, F, 33, 17, True, True](1, 2, 3, 1100, 1, 4)
    check[F, F, 33, 17, True, True](1, 6, 5, 1100, 3, 3)


def test_other_types() raises:
    comptime D = DType.float64
    check[D, D, 20, 12, True, True](1, 4, 19, 23, 2, 2)
    check[DType.bfloat16, F, 20, 12, True, True](1, 4, 19, 300, 2, 2)
    check[DType.bfloat16, F, 20, 12, True, True](1, 1, 1, 1100, 1, 2)
    check[DType.bfloat16, F, 33, 17, False, False](1, 2, 20, 33, 1, 2)


def test_pairs_of_bfloat16() raises:
    comptime H = DType.bfloat16
    for length in range(7, 20):
        check[H, F, 64, 64, False, False](1, 2, length, 3 * length + 1, 1, 2)
    check[H, F, 64, 64, True, False](1, 2, 270, 301, 1, 3)
    check[H, F, 34, 18, True, True](1, 4, 300, 75, 2, 4)
    check[H, F, 34, 18, False, True](2, 2, 10, 1100, 1, 3)
    check[H, F, 80, 80, True, True](1, 4, 300, 75, 2, 4)
    check[H, F, 64, 40, False, True](2, 2, 10, 1100, 1, 3)
    check[H, F, 64, 40, False, True](1, 3, 70, 520, 1, 2)


def test_scores_that_grow_and_scales_of_either_sign() raises:
    """Later tiles exceed what weights are relative to by more than the slack, or by less.
    """
    comptime H = DType.bfloat16
    for sharpness in [-14, -3, 3, 14, 40]:
        check[F, F, 64, 64, False, False](1, 2, 21, 1100, 1, 2, sharpness)
        check[F, F, 64, 64, True, False](1, 2, 300, 900, 1, 2, sharpness)
        check[F, F, 33, 17, True, True](1, 2, 3, 1100, 1, 4, sharpness)
        check[H, F, 64, 64, False, False](1, 2, 21, 1100, 1, 2, sharpness)
        check[H, F, 64, 40, False, True](1, 2, 21, 700, 1, 2, sharpness)


def main() raises:
    if not tiles_permitted():
        return
    test_plain()
    test_masked_causal_and_odd_depths()
    test_few_queries_split_the_keys()
    test_other_types()
    test_pairs_of_bfloat16()
    test_scores_that_grow_and_scales_of_either_sign()
    print("ok")
