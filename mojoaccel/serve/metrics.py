"""``/metrics``: the statistics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

if TYPE_CHECKING:
    from mojoaccel.serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABELS = ("model", "version")
HISTOGRAMS = (
    ("latency", "request_duration_seconds", "From a request's arrival to its answer."),
    ("queue", "queue_duration_seconds", "Time that requests waited for an instance."),
    ("compute", "run_duration_seconds", "Time that runs took."),
    ("batch", "batch_rows", "Rows of a run on the batch axis."),
)


class StatisticsCollector:
    """Reads the statistics when Prometheus asks, so that requests pay nothing for it."""

    def __init__(self, service: Service) -> None:
        """Read the models of a service."""
        self.service = service

    def describe(self) -> list[Any]:
        """Return nothing: the families are known by collecting."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metric families."""
        models = self.service.repository.loaded()
        for attribute, name, text in HISTOGRAMS:
            family = HistogramMetricFamily(f"mojoaccel_{name}", text, labels=LABELS)
            for model in models:
                found = getattr(model.statistics.counts, attribute)
                family.add_metric((model.name, model.version), found.cumulative(), found.total)
            yield family
        failures = CounterMetricFamily(
            "mojoaccel_failed_requests", "Requests not answered.", labels=(*LABELS, "status")
        )
        waiting = GaugeMetricFamily("mojoaccel_waiting_requests", "In the queue.", labels=LABELS)
        running = GaugeMetricFamily("mojoaccel_running_batches", "Being run.", labels=LABELS)
        for model in models:
            key = (model.name, model.version)
            waiting.add_metric(key, model.waiting)
            running.add_metric(key, model.running)
            for status, count in sorted(model.statistics.counts.failed.items()):
                failures.add_metric((*key, str(status)), count)
        yield from (failures, waiting, running)
        yield GaugeMetricFamily("mojoaccel_ready", "1 if ready.", value=float(self.service.ready))


def metrics_text(service: Service) -> tuple[bytes, str]:
    """Return the metrics and their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatisticsCollector(service))
    return generate_latest(registry), CONTENT_TYPE
