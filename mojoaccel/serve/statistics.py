"""Counts what a model served: numbers for ``/stats``, ``/metrics`` and the page."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from typing import Any

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
          5, 10)  # fmt: skip
"""Seconds; upper bounds of the histograms' buckets."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RECENT = 2048
"""Latencies kept for the page's percentiles."""


class Histogram:
    """Counts by bucket, and their sum.

    Attributes:
        bounds: Upper bounds of the buckets; one more has none.
        counts: How many values fell into each.
        total: Sum of the values.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Start empty."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many values up to it) as Prometheus wants them."""
        found, seen = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            found.append(("+Inf" if bound == float("inf") else str(bound), float(seen)))
        return found

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


class Statistics:
    """What one model served since it was loaded.

    Attributes:
        latency: Seconds from the request to its answer, of answered requests.
        queue: Seconds in the queue.
        compute: Seconds of runs.
        batch: Rows of runs.
        failed: Requests by status, of those not answered.
        rows: Rows answered.
        last: Unix time of the last run, in milliseconds.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.latency = Histogram(BOUNDS)
        self.queue = Histogram(BOUNDS)
        self.compute = Histogram(BOUNDS)
        self.batch = Histogram(BATCHES)
        self.failed: dict[int, int] = {}
        self.failed_seconds = 0.0
        self.last = 0
        self.recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def add_batch(self, rows: int, seconds: float) -> None:
        """Count a run."""
        self.batch.add(rows)
        self.compute.add(seconds)
        self.last = time.time_ns() // 1_000_000

    def add_queue(self, seconds: float) -> None:
        """Count the time a request waited."""
        self.queue.add(seconds)

    def add_answer(self, seconds: float) -> None:
        """Count an answered request."""
        self.latency.add(seconds)
        self.recent.append((time.monotonic(), seconds))

    def add_failure(self, status: int, seconds: float) -> None:
        """Count a request that was not answered."""
        self.failed[status] = self.failed.get(status, 0) + 1
        self.failed_seconds += seconds

    def to_json(self, name: str, version: str) -> dict[str, Any]:
        """Return an entry of ``model_stats``."""

        def duration(count: int, seconds: float) -> dict[str, int]:
            return {"count": count, "ns": int(seconds * 1e9)}

        nothing = duration(0, 0.0)
        return {
            "name": name,
            "version": version,
            "last_inference": self.last,
            "inference_count": int(self.batch.total),
            "execution_count": self.batch.count,
            "inference_stats": {
                "success": duration(self.latency.count, self.latency.total),
                "fail": duration(sum(self.failed.values()), self.failed_seconds),
                "queue": duration(self.queue.count, self.queue.total),
                "compute_input": nothing,
                "compute_infer": duration(self.compute.count, self.compute.total),
                "compute_output": nothing,
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [],
        }

    def live(self) -> dict[str, float | None]:
        """Return requests a second and percentiles (ms) of the last ten seconds, for the page."""
        since = time.monotonic() - 10
        times = sorted(s for at, s in self.recent if at >= since)
        if not times:
            return {"rate": 0.0, "p50_ms": None, "p99_ms": None}
        first = next(at for at, _ in self.recent if at >= since)
        span = 10.0 if len(self.recent) < RECENT else max(since + 10 - first, 1e-3)
        return {
            "rate": len(times) / span,
            "p50_ms": times[len(times) // 2] * 1e3,
            "p99_ms": times[min(len(times) - 1, len(times) * 99 // 100)] * 1e3,
        }
