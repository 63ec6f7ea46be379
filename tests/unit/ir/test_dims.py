"""Size expressions: printing reads back, and arithmetic agrees with Python's."""

import operator
from collections.abc import Callable
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from mojoaccel.ir.dims import (
    Dim,
    Size,
    bounds,
    evaluate,
    exact_div,
    floordiv,
    free_dims,
    mod,
    parse_size,
    size_max,
    size_min,
    symbol,
)
from mojoaccel.ir.types import F32, TensorType, parse_type

Pair = tuple[Size, Callable[[int, int], int]]


def combine(children: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    plain = [operator.add, operator.sub, operator.mul]

    def binary(a: Pair, b: Pair, f: Callable[..., int]) -> Pair:
        return f(a[0], b[0]), lambda x, y: f(a[1](x, y), b[1](x, y))

    def divided(a: Pair, n: int, pair: tuple[Callable[..., Size], Callable[..., int]]) -> Pair:
        return pair[0](a[0], n), lambda x, y: pair[1](a[1](x, y), n)

    def bounded(a: Pair, b: Pair, pair: tuple[Callable[..., Size], Callable[..., int]]) -> Pair:
        return pair[0](a[0], b[0]), lambda x, y: pair[1](a[1](x, y), b[1](x, y))

    return st.one_of(
        st.builds(binary, children, children, st.sampled_from(plain)),
        st.builds(
            divided,
            children,
            st.integers(1, 9),
            st.sampled_from([(floordiv, operator.floordiv), (mod, operator.mod)]),
        ),
        st.builds(bounded, children, children, st.sampled_from([(size_max, max), (size_min, min)])),
    )


leaves: st.SearchStrategy[Pair] = st.one_of(
    st.integers(0, 9).map(lambda n: (n, lambda x, y: n)),
    st.just((symbol("b"), lambda x, y: x)),
    st.just((symbol("s"), lambda x, y: y)),
)
sizes = st.recursive(leaves, combine, max_leaves=6)


@given(sizes, st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_expressions_agree_with_python(pair: Pair, b: int, s: int) -> None:
    size, meaning = pair
    assert evaluate(size, {"b": b, "s": s}) == meaning(b, s)


@given(sizes)
@settings(max_examples=300, deadline=None)
def test_printing_reads_back(pair: Pair) -> None:
    size = pair[0]
    assert parse_size(str(size)) == size
    t = TensorType(F32, (size, 3))
    assert parse_type(str(t)) == t


def test_exact_division_and_bounds() -> None:
    b, s = symbol("b"), symbol("s")
    assert exact_div(b * s * 384, s * 64) == b * 6
    assert exact_div(b * s + 1, s) is None
    assert (b * 8 + 3) // 4 == b * 2
    dims = {"b": Dim("b", 1, 4), "s": Dim("s", 2)}
    assert bounds(b * b * 2 - 3, dims) == (-1, 29)
    assert bounds(64 - size_min(s, 64), dims) == (0, 62)
    assert bounds(mod(s, b) - floordiv(s, 2), dims) == (-inf, 2)
    assert bounds(symbol("unknown") * 0 + size_max(s, 5) * -1, dims) == (-inf, -5)
    assert free_dims(floordiv(b + 1, 2) * s) == {"b", "s"}
