"""Statistics of run times: against numpy where it has the same, by their properties elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mojoaccel.bench.statistics import (
    PERCENTILES,
    Summary,
    effective_runs,
    is_settled,
    speed_ratio,
    summarize,
    supports,
)

times = st.integers(1000, 10**10)  # a microsecond to ten seconds, in ns
rounds = st.lists(st.lists(times, min_size=1, max_size=40), min_size=1, max_size=8)


@given(st.lists(times, min_size=1, max_size=200))
def test_one_round_has_the_usual_median_and_extremes(runs):
    found = summarize([runs])
    assert found.runs == len(runs)
    assert found.median == pytest.approx(np.median(runs) / 1e6)
    assert found.fastest == min(runs) / 1e6
    assert found.mad == pytest.approx(np.median(np.abs(np.array(runs) / 1e6 - found.median)))


@given(rounds)
def test_order_statistics_are_ordered_and_within_the_sample(sample):
    found = summarize(sample)
    values = [found.lower, found.median, found.upper]
    assert values == sorted(values)
    ends = [min(map(min, sample)) / 1e6, max(map(max, sample)) / 1e6]
    assert ends[0] <= found.lower and found.upper <= ends[1]
    shown = [v for _, v in found.percentiles]
    assert shown == sorted(shown)
    assert found.iqr >= 0 and found.mad >= 0


@given(rounds, st.integers(1, 1000))
def test_a_slower_clock_scales_everything(sample, factor):
    slow = summarize([[t * factor for t in r] for r in sample])
    fast = summarize(sample)
    assert slow.median == pytest.approx(fast.median * factor)
    assert slow.iqr == pytest.approx(fast.iqr * factor, abs=1e-6 * factor * fast.upper)


@given(rounds, st.randoms())
def test_the_order_of_runs_does_not_matter(sample, random):
    mixed = [random.sample(r, len(r)) for r in random.sample(sample, len(sample))]
    a, b = summarize(sample), summarize(mixed)
    assert (a.runs, a.fastest) == (b.runs, b.fastest)
    assert a.median == pytest.approx(b.median) and a.mad == pytest.approx(b.mad)


def test_rounds_weigh_the_same_however_many_runs_they_hold():
    busy, quiet = [[20_000_000] * 5] * 6, [[1_000_000] * 500] * 4
    assert summarize(busy + quiet).median == 20.0
    assert summarize([[t for r in busy + quiet for t in r]]).median == 1.0


@given(st.lists(st.integers(1, 400), min_size=1, max_size=10))
def test_effective_runs_lie_between_one_rounds_and_all(lengths):
    found = effective_runs([[1] * n for n in lengths])
    assert min(lengths) - 1e-9 <= found <= sum(lengths) + 1e-9


def test_percentiles_appear_when_five_runs_lie_beyond():
    first = {p: next(n for n in range(1, 1000) if supports(p, n)) for p in PERCENTILES}
    assert first == {50: 10, 90: 50, 95: 100, 99: 500}
    assert [p for p, _ in summarize([list(range(1, 100))]).percentiles] == [50, 90]
    assert summarize([[1] * 9]).percentiles == ()
    # One hurried round among long ones: its three runs stand for a third of the time.
    assert [p for p, _ in summarize([[1] * 500, [1] * 500, [1] * 3]).percentiles] == [50]


def test_nothing_to_summarize_is_an_error():
    with pytest.raises(ValueError, match="no runs"):
        summarize([[], []])


@given(rounds)
def test_a_summary_survives_json(sample):
    found = summarize(sample)
    assert Summary.from_json(found.to_json()) == found
    assert set(found.to_json()) >= {"median_ms", "p50_ms", "p99_ms"}


@given(rounds, st.integers(2, 50))
def test_ratio_of_a_runner_that_is_n_times_as_fast(sample, factor):
    found = speed_ratio(sample, [[t * factor for t in r] for r in sample])
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((factor,) * 3)


@given(rounds, rounds)
def test_ratio_of_a_pair_is_inverse_when_there_is_one_round(a, b):
    there, back = speed_ratio(a[:1], b[:1]), speed_ratio(b[:1], a[:1])
    assert there is not None and back is not None
    assert there.value * back.value == pytest.approx(1.0)


def test_ratio_pairs_rounds_so_drift_cancels():
    ours = [[100], [200], [400]]
    theirs = [[200], [400], [800]]
    assert speed_ratio(ours, theirs).value == 2.0
    assert speed_ratio([], theirs) is None


def test_warm_up_ends_when_three_windows_agree():
    assert not is_settled([])
    assert not is_settled([100.0, 100.0])
    assert is_settled([500.0, 100.0, 101.0, 102.0])
    assert not is_settled([100.0, 100.0, 104.0])
