"""Placing temporaries: live buffers never overlap, whatever their sizes and lifetimes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mojoaccel.ir.dims import Dim, evaluate, symbol
from mojoaccel.ir.plan import Arg, Body, Buffer, Closure, FusionGroup, KernelCall, ScalarOp, View
from mojoaccel.ir.types import F32
from mojoaccel.passes.plan_memory import plan_memory

lifetimes = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 300)), min_size=1, max_size=12
)


def groups_of(spans: list[tuple[int, int, int]]) -> list[FusionGroup]:
    groups = []
    for step in range(10):
        writes = tuple(f"b{i}" for i, (a, b, _) in enumerate(spans) if min(a, b) == step)
        reads = tuple(f"b{i}" for i, (a, b, _) in enumerate(spans) if max(a, b) == step)
        groups.append(FusionGroup(f"g{step}", (), reads, writes))
    return groups


def check(spans: list[tuple[int, int, int]], dynamic: bool, sizes: dict[str, int]) -> None:
    n = symbol("n") if dynamic else 1
    buffers = {f"b{i}": Buffer(f"b{i}", F32, s * n, "arena") for i, (_, _, s) in enumerate(spans)}
    plan = plan_memory(groups_of(spans), buffers, [Dim("n")] if dynamic else [])
    places = []
    for name, offset in plan.offsets:
        index = int(name[1:])
        start = evaluate(offset, sizes)
        end = start + evaluate(buffers[name].numel, sizes) * 4
        assert start % 64 == 0
        assert end <= evaluate(plan.size, sizes)
        first, last = sorted(spans[index][:2])
        places.append((first, last, start, end))
    for i, (a0, a1, s0, e0) in enumerate(places):
        for b0, b1, s1, e1 in places[i + 1 :]:
            if a0 <= b1 and b0 <= a1:
                assert e0 <= s1 or e1 <= s0


@given(lifetimes)
@settings(max_examples=100, deadline=None)
def test_static_buffers_never_overlap(spans: list[tuple[int, int, int]]) -> None:
    check(spans, False, {})


@given(lifetimes, st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_dynamic_buffers_never_overlap(spans: list[tuple[int, int, int]], n: int) -> None:
    check(spans, True, {"n": n})


def residual_sum(kernel: str, second_read: bool = False) -> FusionGroup:
    """Return the group that writes a kernel's value plus `x` to `y`."""
    shape, strides = (4, 8), (8, 1)
    x, y = (View(name, F32, shape, strides) for name in "xy")
    body = Body((ScalarOp("v0", "load", (0,), F32), ScalarOp("v1", "arg", (), F32)), ("v1",))
    store = Closure("store", shape, ((0,), (1,)), (x,), (y,), body)
    args = (Arg("ptr", replace(x, buffer="x" if second_read else "a")), Arg("closure", store))
    return FusionGroup("g1", (KernelCall("maccel.linear", kernel, (), args),), ("x", "a"), ("y",))


@pytest.mark.parametrize(
    ("group", "dies", "shared"),
    [
        (residual_sum("linear"), True, True),
        (residual_sum("linear"), False, False),
        (residual_sum("linear", second_read=True), True, False),
        (residual_sum("some_other"), True, False),
    ],
)
def test_a_sum_is_written_over_its_residual_if_nobody_else_reads_it(
    group: FusionGroup, dies: bool, shared: bool
) -> None:
    buffers = {n: Buffer(n, F32, 32, "arena") for n in "axy"}
    before = FusionGroup("g0", (), (), ("a", "x"))
    after = FusionGroup("g2", (), ("y",) if dies else ("x", "y"), ())
    places = dict(plan_memory([before, group, after], buffers, []).offsets)
    assert (places["x"] == places["y"]) is shared
    assert places["a"] not in (places["x"], places["y"])
