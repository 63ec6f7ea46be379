"""Times of fused groups: what is counted, what stays unknown, and the forms they are shown in."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mojoaccel.bench.calibration import Roof
from mojoaccel.bench.profile import GroupTime, Profile, covered, profile_model
from mojoaccel.cache import Cache
from mojoaccel.cli.profile import heading, row
from mojoaccel.config import CompileOptions, PackageOptions
from mojoaccel.example import Example
from mojoaccel.ir.plan import View
from mojoaccel.ir.types import F32
from mojoaccel.job import Request

ROOF = Roof(2, 100e9, 10e9)
GROUPS = (
    GroupTime("linear_1", "linear", "net.py:3 in forward", 2e-6, 100_000, 5000, 4000, 0.5),
    GroupTime("add_1", "pointwise", "", 1e-6, None, 1000, 0, None),
)
FOUND = Profile("Net", 2, {"batch": 4}, 9, ROOF, GROUPS)


def test_the_roof_is_the_larger_of_two_times():
    assert ROOF.seconds(1e9, 0) == pytest.approx(0.01)
    assert ROOF.seconds(1e9, 1e9) == pytest.approx(0.1)


def test_broadcast_elements_are_covered_once():
    view = View("x", F32, (4, 1, 8), (0, 8, 1))
    assert covered(view, {}) == 8 * 4


def test_what_is_not_counted_is_a_dash():
    assert row(GROUPS[0], FOUND) == (
        *("linear_1", "linear", "2.0 us", "66.7%", "50.0", "2.5", "50%", "net.py:3 in forward"),
    )
    assert row(GROUPS[1], FOUND)[4:7] == ("-", "1.0", "-")
    assert heading(FOUND) == (
        "Net at batch=4: 0.003 ms in 2 groups, medians of 9 runs, 2 threads; "
        "roof 100 GFLOP/s, 10.0 GB/s"
    )


def test_a_trace_lays_the_groups_one_after_the_other():
    events = json.loads(FOUND.to_trace())["traceEvents"]
    assert events[0]["ph"] == "M"
    assert [(e["name"], e["ts"], e["dur"]) for e in events[1:]] == [
        ("linear_1", 0.0, 2.0),
        ("add_1", 2.0, pytest.approx(1.0)),
    ]


@pytest.mark.mojo
@pytest.mark.slow
def test_a_profiled_model(tmp_path, monkeypatch):
    monkeypatch.setattr("mojoaccel.bench.profile.calibrate", lambda threads: ROOF)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 16), nn.Softmax(-1))
    options = CompileOptions(package=PackageOptions(threads=1))
    request = Request(Example(module, (torch.randn(32, 64),)), options)
    found = profile_model(request, Cache(tmp_path, 10**9, lambda d: None), 0.1)
    assert [g.kernel for g in found.groups] == ["linear", "linear", "softmax"]
    first = found.groups[0]
    assert first.flops == 2 * 32 * 64 * 256
    assert first.weight_bytes >= 4 * (64 * 256 + 256)
    assert all(g.seconds > 0 for g in found.groups)
    assert found.runs >= 2
