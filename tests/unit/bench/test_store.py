"""Stored benchmarks and thresholds."""

from dataclasses import replace

import pytest

from mojoaccel.bench.report import OURS
from mojoaccel.bench.statistics import Ratio, summarize
from mojoaccel.bench.store import (
    change_rows,
    compare_reports,
    judge_speed,
    load_report,
    report_path,
    save_report,
)
from mojoaccel.errors import ExitCode, MojoaccelError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "cache"))


def slower(report, factor):
    """Return the report with ours `factor` times as slow."""
    ours = report.ours
    rounds = tuple(v * factor for v in ours.rounds)
    times = [[int(v * 1e6)] * 60 for v in rounds]
    value = ours.speedup.value / factor
    changed = replace(
        ours, rounds=rounds, summary=summarize(times), speedup=Ratio(value, value, value)
    )
    return replace(report, runners=(changed, *report.runners[1:]))


@pytest.mark.parametrize("name", ["nightly", "v1.2+cpu", "./here.json", "sub/there.json"])
def test_saved_reports_read_back(report, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save_report(report, name)
    assert path.is_file()
    assert load_report(name) == report
    again = replace(report, load_before=9.0)
    save_report(again, name)
    assert load_report(name) == again


def test_names_lie_in_the_cache_folder(tmp_path):
    assert report_path("a") == tmp_path / "cache" / "benchmarks" / "a.json"
    with pytest.raises(MojoaccelError, match="MA903"):
        report_path("a b")


def test_unknown_and_damaged_reports_are_usage_errors(report, tmp_path):
    save_report(report, "nightly")
    with pytest.raises(MojoaccelError) as found:
        load_report("nightle")
    assert found.value.exit_code == ExitCode.USAGE
    assert found.value.diagnostics[0].hint == "stored: nightly"
    for text in ("", "[]", '{"format": 99}', '{"format": 1, "report": {}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(MojoaccelError, match="not a stored benchmark"):
            load_report(str(tmp_path / "bad.json"))


def test_comparison_of_equal_reports(report):
    changes, differences = compare_reports(report, report)
    assert [(c.runner, c.verdict) for c in changes] == [(OURS, "same"), ("eager", "same")]
    assert differences == []
    assert change_rows(changes)[0] == (
        *(OURS, "1.05 ms", "1.05 ms", "1.00x", "2.00x", "2.00x", "same"),
    )


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, "slower"), (0.5, "faster"), (1.0, "same")])
def test_comparison_tells_which_way(report, factor, verdict):
    changes, _ = compare_reports(slower(report, 1.0), slower(report, factor))
    assert changes[0].verdict == verdict


def test_a_busy_machine_alone_is_no_change(report):
    """Everybody twice as slow: the speed-up over eager is what is judged."""
    busy = slower(report, 2.0)
    same_ratio = replace(busy.ours, speedup=report.ours.speedup)
    changes, _ = compare_reports(report, replace(busy, runners=(same_ratio, *busy.runners[1:])))
    assert changes[0].verdict == "same"
    assert changes[0].now == pytest.approx(2 * changes[0].then, rel=1e-3)


def test_comparison_names_what_else_differs(report):
    eager = replace(report.runners[1], version="2.14.0")
    other = replace(
        report, threads=4, dtype="bf16", runners=(report.ours, eager, *report.runners[2:])
    )
    assert compare_reports(report, other)[1] == [
        "other dtype: f32 then, bf16 now",
        "other threads: 2 then, 4 now",
        "other eager: 2.13.0 then, 2.14.0 now",
    ]


def test_threshold_against_the_fastest_rival_that_counts(report):
    fast = replace(report.runners[1], name="fast", rounds=(1.5,) * 4)
    fast = replace(fast, summary=summarize([[1_500_000] * 20] * 4))
    wrong = replace(fast, name="wrong", status="wrong output", rounds=(0.1,) * 4)
    found = replace(report, runners=(*report.runners, fast, wrong))
    assert judge_speed(found, 1.42) is None
    failure = judge_speed(found, 1.43)
    assert failure is not None
    assert (failure.code, failure.exit_code) == ("MA801", ExitCode.PERFORMANCE)
    assert failure.diagnostics[0].message == (
        "mojoaccel is 1.43x as fast as fast, asked for was 1.43x"
    )


def test_a_failed_threshold_says_when_the_machine_was_busy(report):
    assert judge_speed(report, 9.0).diagnostics[0].notes == ()
    failure = judge_speed(replace(report, other_cores=3.0), 9.0)
    assert failure.diagnostics[0].notes == ("the machine was busy with other programs",)


def test_threshold_against_a_stored_run_when_there_are_no_rivals(report):
    alone = replace(report, runners=(report.ours,))
    assert judge_speed(alone, 1.0, stored=report) is None
    failure = judge_speed(slower(alone, 2.0), 0.9, stored=report)
    assert failure is not None and "0.50x as fast as the stored run" in str(failure)
    with pytest.raises(MojoaccelError, match="nothing to compare with"):
        judge_speed(alone, 1.0)


def test_threshold_is_not_judged_when_ours_failed(report):
    failed = replace(report.runners[2], name=OURS)
    assert judge_speed(replace(report, runners=(failed, *report.runners[1:])), 1.0) is None
