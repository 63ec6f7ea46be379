"""How checks run: in order, skipping what lacks its ground, never failing as a whole."""

import json
import re
import subprocess
import sys
import time

import pytest

from mojoaccel.doctor import check as checking
from mojoaccel.doctor.check import (
    SECONDS,
    STATUSES,
    Check,
    Facts,
    exit_code,
    failed,
    passed,
    run_checks,
    skipped,
    warned,
)
from mojoaccel.doctor.table import CHECKS
from mojoaccel.errors import ExitCode, error

GROUPS = {
    "system": "os processor amx cores memory shm libc clock entropy",
    "python": "python numpy torch optional kernels",
    "mojo": "found version lookalikes alias links packages variables linker formatter retired home",
    "max": "package cache serve",
    "gpu": "nvidia others",
    "cache": "home own compiler temporary",
    "runtime": "processor end-to-end",
    "serving": "packages port",
}
IDS = [f"{group}.{name}" for group, names in GROUPS.items() for name in names.split()]


def findings(*checks):
    return list(run_checks(checks, Facts()))


def raising(exception):
    def run(facts):
        raise exception

    return run


def test_ids_are_stable_and_needs_come_first():
    assert [c.id for c in CHECKS] == IDS
    for number, check in enumerate(CHECKS):
        assert re.fullmatch(r"[a-z]+\.[a-z-]+", check.id)
        assert set(check.needs) <= {c.id for c in CHECKS[:number]}


def test_our_error_is_a_failure_with_its_hint():
    [found] = findings(Check("a.b", "x", raising(error("MA101", "none", notes=["seen"]))))
    assert found.outcome.status == "fail"
    assert found.outcome.summary == "MA101 none"
    assert found.outcome.evidence == ("seen",)
    assert "mojo-compiler==1.2.0" in found.outcome.hint


def test_broken_check_does_not_hide_the_next():
    first, second = findings(
        Check("a.b", "x", raising(ZeroDivisionError("oops"))),
        Check("a.c", "y", lambda facts: passed("fine")),
    )
    assert "ZeroDivisionError: oops" in first.outcome.summary
    assert second.outcome.status == "pass"


@pytest.mark.parametrize(
    ("outcome", "after"),
    [(passed(""), "pass"), (warned(""), "pass"), (failed(""), "skip"), (skipped(""), "skip")],
)
def test_what_a_check_needs(outcome, after):
    second = findings(
        Check("a.b", "x", lambda facts: outcome),
        Check("a.c", "y", lambda facts: passed(""), ("a.b",)),
    )[1]
    assert second.outcome.status == after
    if after == "skip":
        assert second.outcome.summary == "needs a.b"


def test_only_failures_count():
    good = findings(*(Check("a.b", "x", lambda f, o=o: o("")) for o in (passed, warned, skipped)))
    bad = findings(Check("a.b", "x", lambda facts: failed("")))
    assert exit_code(good) == ExitCode.OK
    assert exit_code(good, strict=True) == ExitCode.COMPILE_FAILED
    assert exit_code(findings(*(Check("a.b", "x", lambda f: passed("")),)), strict=True) == 0
    assert exit_code([*good, *bad]) == ExitCode.ENVIRONMENT


def test_a_check_that_hangs_is_left_behind():
    slow = Check("a.b", "x", lambda facts: time.sleep(60) or passed(""))
    after = Check("a.c", "y", lambda facts: passed(""))
    began = time.monotonic()
    first, second = run_checks([slow, after], Facts(), seconds=0.2)
    assert time.monotonic() - began < 5
    assert "did not end within" in first.outcome.summary
    assert first.outcome.fix == "mojoaccel doctor --check a.b"
    assert second.outcome.status == "skip"


def test_the_time_that_starting_took_is_not_given_to_the_checks(monkeypatch):
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    script = "from mojoaccel.doctor.check import *; print(seconds_for_checks())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 0 <= SECONDS - float(done.stdout) < 10
    monkeypatch.setattr(checking.time, "clock_gettime", lambda clock: now + 1000)
    assert checking.seconds_for_checks() == checking.LEAST_SECONDS


def test_json_form():
    [found] = findings(Check("a.b", "title", lambda f: warned("text", "seen", hint="do")))
    data = json.loads(json.dumps(found.to_json()))
    assert data.pop("seconds") >= 0
    assert data == {
        "id": "a.b",
        "title": "title",
        "status": "warn",
        "summary": "text",
        "expected": "",
        "evidence": ["seen"],
        "hint": "do",
        "fix": "",
        "reference": "",
    }


def test_every_check_here_ends_in_a_status():
    quick = [c for c in CHECKS if not c.id.startswith("runtime.")]
    for found in run_checks(quick, Facts()):
        assert found.outcome.status in STATUSES
        assert found.outcome.summary
        assert "the check itself failed" not in found.outcome.summary


def test_doctor_never_imports_torch():
    program = (
        "import sys\n"
        "from mojoaccel.doctor.check import Facts, run_checks\n"
        "from mojoaccel.doctor.table import CHECKS\n"
        "list(run_checks([c for c in CHECKS if c.id.startswith('python')], Facts()))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
