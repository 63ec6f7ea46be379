"""Times the reference target: PyTorch interpreting the graph, reported as just that."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from typing import Any

import numpy as np

from mojoaccel.bench.statistics import summarize
from mojoaccel.loading import load
from mojoaccel.runtime.sizes import evaluate


def time_reference(path: str, seconds: float) -> dict[str, Any]:
    """Run a reference artifact for some time; return `benchmark_modular`'s figures.

    Args:
        path: The reference artifact.
        seconds: How long.
    """
    session = load(path)
    rng = np.random.default_rng(0)
    values = [_random(t, rng) for t in session.manifest.inputs]
    times: list[int] = []
    session.run_flat(values)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        began = time.perf_counter_ns()
        session.run_flat(values)
        times.append(time.perf_counter_ns() - began)
    summary = summarize([times])
    return {
        "throughput_tokens_per_sec": None,
        "throughput_items_per_sec": 1e3 / summary.median,
        "latency_ms": {f"p{p}": summary.percentile(p) for p in (50, 95, 99)},
        "memory_usage_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "energy_consumption_watts": None,
        "comparison_vs_baseline": None,
        "simulated": True,
        "report": {"runner": "PyTorch, interpreting the traced graph", "runs": len(times)},
    }


def _random(spec: Any, rng: np.random.Generator) -> Any:
    shape = tuple(evaluate(s, defaultdict(lambda: 2)) for s in spec.shape)
    if spec.dtype.startswith(("int", "uint", "bool")):
        return np.zeros(shape, spec.dtype)
    return rng.standard_normal(shape).astype("float32" if spec.dtype == "bfloat16" else spec.dtype)
