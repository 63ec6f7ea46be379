"""The suite's table and its limits."""

import argparse
import subprocess
import sys

from mojoaccel.bench import suite
from mojoaccel.products import STAGES


def record(report, **changes):
    stages = dict.fromkeys(STAGES, 0.5)
    return {
        "model": "net:1",
        "import_seconds": 1.0,
        "construct_seconds": 2.0,
        "stages": stages,
        "artifact_bytes": 11_000_000,
        "weight_bytes": 10_000_000,
        "bench": report.to_json(),
        **changes,
    }


def test_table(report):
    failed = {"model": "other:1", "failed": "MA203 one operator is not supported"}
    assert "\n".join(suite.to_markdown([record(report), failed])[2:]) == (
        "| net:1 | 1.2e-07 | 2e-07 | 1.0 s | 2.0 s | 0.50 s | 0.50 s | 0.50 s | 0.50 s | 0.50 s "
        "| 0.50 s | 3.0 s | 11.0 MB | 10.0 MB | 1.05 ms | 2.10 ms | 2.00x |\n"
        "\n"
        "- other:1: MA203 one operator is not supported"
    )


def options(**changes):
    given = {"timeout": 60.0, "memory": 16.0, "warm_cache": True, **changes}
    return argparse.Namespace(**given)


def test_a_model_that_takes_too_long_or_too_much_is_stopped_with_its_children():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    for limits, reason in (
        ((0.5, 1e12), "stopped after 0.5 s"),
        ((60.0, 1e6), "stopped at 0.001 GB"),
    ):
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        assert suite._watch(process, *limits) == reason
        assert process.poll() is not None


def test_a_model_that_cannot_be_loaded_costs_one_row(tmp_path, monkeypatch):
    file = tmp_path / "models.py"
    file.write_text("ALL = ['a']\n")
    monkeypatch.setattr(sys, "argv", ["suite", str(file)])
    found = suite.run_child("a", options())
    assert found["model"] == "a"
    assert "get" in found["failed"]
