"""The suite's tables and its limits."""

import subprocess
import sys

import pytest

from mojoaccel.bench import suite
from mojoaccel.bench.suite_report import to_html, to_markdown
from mojoaccel.errors import MojoaccelError
from mojoaccel.products import STAGES

ROOF = {
    "threads": 2,
    "flops": 200e9,
    "bandwidth": 20e9,
    "bf16_flops": None,
    "cache_bandwidth": 80e9,
}


def record(report, **changes):
    return {
        "model": "net:1",
        "construct_seconds": 2.0,
        "stages": dict.fromkeys(STAGES, 0.5),
        "cached": [],
        "artifact_bytes": 11_000_000,
        "weight_bytes": 10_000_000,
        "roof": ROOF,
        "roof_seconds": 0.00084,
        "bench": report.to_json(),
        **changes,
    }


def test_tables(report):
    failed = {"model": "other:1", "failed": "MA203 one operator is not supported"}
    lines = to_markdown([record(report), failed]).splitlines()
    assert lines[0].endswith("| roof | eager | compile | openvino | vs best |")
    assert lines[2] == (
        "| net:1 | 1.2e-07 | 2e-07 | 1.05 ms | 9.5% | - | 80% | 2.10 ms (2.00x) | unavailable "
        "| wrong output | 2.00x |"
    )
    assert "| net:1 | 3.0 s | 11.0 / 10.0 MB | 100 ms | 50 MB |" in lines
    assert "- geometric mean over the best rival of each model: 2.00x; least 2.00x" in lines
    assert "- other:1: MA203 one operator is not supported" in lines
    assert any("reading memory 20.0 GB/s; eager 2.13.0" in line for line in lines)


def test_compile_times_from_the_cache_are_not_shown(report):
    assert "| net:1 | cached | 11.0" in to_markdown([record(report, cached=["build"])])


def test_the_page_has_the_tables_and_a_plot_of_each_ratio(report):
    page = to_html([record(report)])
    assert page.count("<table>") == 2
    assert page.count("<svg") == 2
    assert "<script" not in page


def test_a_suite_without_a_measured_model_still_makes_a_report():
    failed = [{"model": "other:1", "failed": "stopped after 5 s"}]
    assert "- other:1: stopped after 5 s" in to_markdown(failed)
    assert "stopped after 5 s" in to_html(failed)


def test_a_model_that_takes_too_long_or_too_much_is_stopped_with_its_children():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    for limits, reason in (
        ((0.5, 1e12), "stopped after 0.5 s"),
        ((60.0, 1e6), "stopped at 0.001 GB"),
    ):
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        assert suite._watch(process, *limits) == reason
        assert process.poll() is not None


def test_a_model_that_cannot_be_loaded_costs_one_row(tmp_path):
    file = tmp_path / "models.py"
    file.write_text("ALL = ['a']\n")
    found = suite.run_child("a", suite.SuiteOptions(str(file)))
    assert found["model"] == "a"
    assert "get" in found["failed"]


def test_a_model_that_the_file_does_not_have_is_refused(tmp_path):
    file = tmp_path / "models.py"
    file.write_text("ALL = ['a']\n")
    with pytest.raises(MojoaccelError, match="no model b"):
        suite.run_suite(suite.SuiteOptions(str(file), ("b",)))
