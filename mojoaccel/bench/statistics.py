"""Statistics of run times: what a sample supports, ratios between runners, when a warm-up ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Times = np.ndarray[Any, np.dtype[np.float64]]
PERCENTILES = (50, 90, 95, 99)
BEYOND = 5
"""A percentile is reported when at least this many runs lie beyond it: p50 from 10 runs on, p90
from 50, p95 from 100, p99 from 500. With fewer, chance decides its value. Runs are counted as
`effective_runs` does."""

SETTLED_WITHIN = 0.03
"""A warm-up is over when the medians of three windows in a row lie within this of each other."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sample of run times says; times in milliseconds.

    Attributes:
        runs: Number of runs.
        median: Middle of the sample.
        percentiles: (percent, value), only those that the number of runs supports.
        lower: Lower quartile.
        upper: Upper quartile.
        mad: Median distance from the median.
        fastest: Smallest time.
    """

    runs: int
    median: float
    percentiles: tuple[tuple[int, float], ...]
    lower: float
    upper: float
    mad: float
    fastest: float

    @property
    def iqr(self) -> float:
        """Distance between the quartiles."""
        return self.upper - self.lower

    def percentile(self, percent: int) -> float | None:
        """Return a percentile, or None where the sample does not support it."""
        return dict(self.percentiles).get(percent)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; unsupported percentiles are null."""
        return {
            "runs": self.runs,
            "median_ms": self.median,
            **{f"p{p}_ms": self.percentile(p) for p in PERCENTILES},
            "lower_quartile_ms": self.lower,
            "upper_quartile_ms": self.upper,
            "iqr_ms": self.iqr,
            "mad_ms": self.mad,
            "fastest_ms": self.fastest,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Summary:
        """Read what `to_json` wrote."""
        found = tuple((p, data[f"p{p}_ms"]) for p in PERCENTILES if data[f"p{p}_ms"] is not None)
        return Summary(
            data["runs"],
            data["median_ms"],
            found,
            data["lower_quartile_ms"],
            data["upper_quartile_ms"],
            data["mad_ms"],
            data["fastest_ms"],
        )


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one runner is as another.

    Attributes:
        value: Median over the rounds of (the other's median / this one's median). Rounds are
            paired because the machine's speed drifts between them.
        low: Lower quartile over the rounds.
        high: Upper quartile over the rounds.
    """

    value: float
    low: float
    high: float


def supports(percent: int, runs: float) -> bool:
    """Return whether a sample of `runs` supports a percentile (see `BEYOND`)."""
    return runs * (100 - percent) >= BEYOND * 100


def summarize(rounds: Sequence[Sequence[int]]) -> Summary:
    """Summarize run times in nanoseconds; every round weighs the same.

    A turn is limited by time, so a round in which the machine was busy holds fewer runs. Counting
    runs alike would let the fast rounds outvote the slow ones.

    Raises:
        ValueError: There are no runs.
    """
    filled = [r for r in rounds if len(r)]
    if not filled:
        raise ValueError("no runs to summarize")
    times = np.concatenate([np.asarray(r, dtype=np.float64) for r in filled]) / 1e6
    weights = np.concatenate([np.full(len(r), 1 / len(r)) for r in filled])
    lower, median, upper = _quantiles(times, weights, (0.25, 0.5, 0.75))
    supported = [p for p in PERCENTILES if supports(p, effective_runs(filled))]
    values = _quantiles(times, weights, [p / 100 for p in supported])
    return Summary(
        runs=len(times),
        median=median,
        percentiles=tuple(zip(supported, values, strict=True)),
        lower=lower,
        upper=upper,
        mad=_quantiles(np.abs(times - median), weights, (0.5,))[0],
        fastest=float(times.min()),
    )


def effective_runs(rounds: Sequence[Sequence[int]]) -> float:
    """Return how many equally weighted runs say as much as these (Kish's effective size)."""
    filled = [r for r in rounds if len(r)]
    return float(len(filled) ** 2 / sum(1 / len(r) for r in filled))


def _quantiles(times: Times, weights: Times, shares: Sequence[float]) -> list[float]:
    """Interpolate between the middles of the runs' weights, laid end to end in order of time."""
    order = np.lexsort((weights, times))
    ends = np.cumsum(weights[order])
    middles = (ends - weights[order] / 2) / ends[-1]
    # The sums of weights leave noise in the last digits.
    return [round(float(v), 9) for v in np.interp(shares, middles, times[order])]


def speed_ratio(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> Ratio | None:
    """Return how many times as fast `ours` is as `theirs`, from times by round.

    None without a round in which both ran.
    """
    ratios = [
        float(np.median(b) / np.median(a))
        for a, b in zip(ours, theirs, strict=False)
        if len(a) and len(b)
    ]
    if not ratios:
        return None
    low, value, high = np.percentile(ratios, (25, 50, 75))
    return Ratio(float(value), float(low), float(high))


def is_settled(medians: Sequence[float]) -> bool:
    """Return whether a warm-up with these window medians is over."""
    last = medians[-3:]
    return len(last) == 3 and max(last) <= min(last) * (1 + SETTLED_WITHIN)
