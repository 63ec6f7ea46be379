"""A benchmark's report with round numbers."""

from dataclasses import replace

import pytest

from mojoaccel.bench.accuracy import Accuracy
from mojoaccel.bench.report import BenchReport, RunnerReport
from mojoaccel.bench.statistics import speed_ratio, summarize

OURS = [[1_000_000, 1_100_000] * 30] * 4
EAGER = [[2_000_000, 2_200_000] * 15] * 4
START = {"python": 0.02, "import": 0.05, "load": 0.01, "first_run": 0.02, "total": 0.1}


def runner(name, rounds, **changes):
    settled = {"runs": 20, "seconds": 0.1, "settled": True}
    row = RunnerReport(
        name=name,
        status="ok",
        summary=summarize(rounds),
        rounds=tuple(sum(r) / len(r) / 1e6 for r in rounds),
        speedup=speed_ratio(rounds, EAGER),
        accuracy=Accuracy(1.25e-7, 3e-8, 0, True),
        peak_memory=50_000_000,
        cold_start=START,
        warmup=settled,
    )
    return replace(row, **changes)


@pytest.fixture
def report():
    """Return ours twice as fast as eager, and rivals that could not be measured."""
    wrong = Accuracy(0.6, 0.6, 0, False, "output 0: off by 0.6 of 1")
    return BenchReport(
        model="net",
        target="cpu:x86_64-unknown-linux-gnu+skylake",
        dtype="f32",
        inputs=("ids: i64[2, 64]", "mask: i64[2, 64]"),
        sizes={"batch": 2},
        threads=2,
        items=2,
        tokens=128,
        reference="float64",
        torch_error=2e-7,
        runners=(
            runner("mojoaccel", OURS, compile_seconds=12.0),
            runner("eager", EAGER, version="2.13.0", peak_memory=400_000_000),
            RunnerReport("compile", "unavailable", "needs a C++ compiler"),
            runner("openvino", EAGER, status="wrong output", detail=wrong.reason, accuracy=wrong),
        ),
        machine={"processor": "Some CPU", "cores": 4},
        load_before=0.25,
        load_after=1.5,
        stages={"build": 12.0},
    )
