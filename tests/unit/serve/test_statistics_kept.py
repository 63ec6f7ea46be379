"""What happens is kept, and counted once somebody looks or much is kept."""

from mojoaccel.serve.statistics import KEPT, Spans, Statistics

SPANS = Spans(0.0, 0.25, 0.0)


def test_counted_once_looked_at():
    statistics = Statistics()
    statistics.add_batch(3, [0.0, 0.5], SPANS)
    statistics.add_answer(0.75)
    statistics.add_failure(504, 2.0)
    counts = statistics.counts
    assert counts is statistics.counts and not statistics._kept
    assert (counts.batch.total, counts.queue.count, counts.latency.count) == (3, 2, 1)
    assert counts.failed == {504: 1} and counts.failed_seconds == 2 and counts.last > 0
    assert counts.live()["p50_ms"] == 750


def test_never_more_than_some_are_kept():
    statistics = Statistics()
    for _ in range(3 * KEPT + 5):
        statistics.add_answer(0.1)
        assert len(statistics._kept) < KEPT
    assert statistics.counts.latency.count == 3 * KEPT + 5
