"""Counts what a model served: numbers for ``/stats``, ``/metrics`` and the page."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
          5, 10)  # fmt: skip
"""Seconds; upper bounds of the histograms' buckets."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RECENT = 2048
"""Latencies kept for the page's percentiles."""
KEPT = 64
"""What happened that is kept until it is counted."""


class Spans(NamedTuple):
    """Seconds that the parts of a run took.

    Attributes:
        input: Joining the inputs of a batch; 0 where nothing was joined.
        infer: The model.
        output: Sharing the outputs out; 0 where nothing was joined.
    """

    input: float
    infer: float
    output: float

    @property
    def total(self) -> float:
        """The whole run."""
        return self.input + self.infer + self.output


class Runs:
    """How many runs of one kind there were, and the seconds of their parts.

    Attributes:
        count: How many.
        spans: Sums of the seconds.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.count = 0
        self.spans = Spans(0.0, 0.0, 0.0)

    def add(self, spans: Spans, times: int = 1) -> None:
        """Count a run, as often as it was somebody's."""
        self.count += times
        mine = self.spans
        self.spans = Spans(
            mine.input + times * spans.input,
            mine.infer + times * spans.infer,
            mine.output + times * spans.output,
        )

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return the durations as the protocol calls them."""
        pairs = zip(("input", "infer", "output"), self.spans, strict=True)
        return {f"compute_{part}": duration(self.count, seconds) for part, seconds in pairs}


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


class Counts:
    """What one model served since it was loaded.

    Attributes:
        latency: Seconds from the request to its answer, of answered requests.
        queue: Seconds in the queue.
        compute: Seconds of runs.
        batch: Rows of runs.
        requests: The runs, each counted for every request in it.
        by_rows: The runs by how many rows they had.
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
        self.requests = Runs()
        self.by_rows: dict[int, Runs] = {}
        self.failed: dict[int, int] = {}
        self.failed_seconds = 0.0
        self.last = 0
        self.recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def add_batch(self, rows: int, waited: Sequence[float], spans: Spans, at: int) -> None:
        """Count a run that ended at a Unix time, in nanoseconds."""
        self.batch.add(rows)
        self.compute.add(spans.total)
        for seconds in waited:
            self.queue.add(seconds)
        self.requests.add(spans, len(waited))
        runs = self.by_rows.get(rows)
        if runs is None:
            runs = self.by_rows[rows] = Runs()
        runs.add(spans)
        self.last = at // 1_000_000

    def add_answer(self, seconds: float, at: float) -> None:
        """Count a request that was answered at a time of `time.monotonic`."""
        self.latency.add(seconds)
        self.recent.append((at, seconds))

    def add_failure(self, status: int, seconds: float) -> None:
        """Count a request that was not answered."""
        self.failed[status] = self.failed.get(status, 0) + 1
        self.failed_seconds += seconds

    def to_json(self, name: str, version: str) -> dict[str, Any]:
        """Return an entry of ``model_stats``."""
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
                **self.requests.to_json(),
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [
                {"batch_size": rows, **runs.to_json()}
                for rows, runs in sorted(self.by_rows.items())
            ],
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


class Statistics:
    """Keeps what happens to one model, and counts it once somebody looks.

    After a run the processor's caches hold none of the code that counts, and the next request may
    be here already: counting took a tenth of a small request's overhead.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self._counts = Counts()
        self._kept: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()  # metrics may be read by another thread

    @property
    def counts(self) -> Counts:
        """Everything until now."""
        with self._lock:
            while self._kept:
                self._kept.popleft()()
        return self._counts

    def add_batch(self, rows: int, waited: Sequence[float], spans: Spans) -> None:
        """Keep a run.

        Args:
            rows: Its rows.
            waited: The seconds that each of its requests was in the queue.
            spans: The seconds that its parts took.
        """
        self._keep(partial(self._counts.add_batch, rows, waited, spans, time.time_ns()))

    def add_answer(self, seconds: float) -> None:
        """Keep an answered request."""
        self._keep(partial(self._counts.add_answer, seconds, time.monotonic()))

    def add_failure(self, status: int, seconds: float) -> None:
        """Keep a request that was not answered."""
        self._keep(partial(self._counts.add_failure, status, seconds))

    def _keep(self, happened: Callable[[], None]) -> None:
        self._kept.append(happened)
        if len(self._kept) >= KEPT:
            self.counts  # noqa: B018 - it counts


def duration(count: int, seconds: float) -> dict[str, int]:
    """Return a duration as the protocol prints it."""
    return {"count": count, "ns": int(seconds * 1e9)}
