"""Placing temporaries: live buffers never overlap, whatever their sizes and lifetimes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mojoaccel.ir.dims import Dim, evaluate, symbol
from mojoaccel.ir.plan import Buffer, FusionGroup
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
