"""Findings as lines for a terminal and as Markdown for a bug report."""

from __future__ import annotations

from mojoaccel.doctor import lookalikes
from mojoaccel.doctor.check import Facts, Finding, warned
from mojoaccel.doctor.report import finding_lines, hide, markdown_report


def test_lines_fit_80_columns_and_commands_are_whole(shell):
    shell("a/very/long/path/to/a/folder/of/programs/snap/bin", "#!/bin/sh\nsleep 60\n")
    outcome = lookalikes.lookalikes(Facts())
    lines = finding_lines(Finding("mojo.lookalikes", "t", outcome, 0.0))
    assert lines[0].startswith("warn  mojo.lookalikes      ")
    assert f"      fix:      {outcome.fix}" in lines
    for line in lines:
        assert len(line) <= 80 or " " not in line.strip().removeprefix("found:").strip()


def test_reports_hide_names_and_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr("mojoaccel.doctor.report._user", lambda: "ada")
    monkeypatch.setattr("mojoaccel.doctor.report.platform.node", lambda: "difference-engine")
    text = hide(
        "/home/ada/x /home/charles/y MODULAR_AUTH=mut_123 ada@difference-engine adamant "
        "https://me:pass@host/ hf_abcdefghij token: abc /home/adam/z /tmp/pytest-of-ada/1 "
        "/mnt/c/Users/Grace Hopper/bin Bearer abc.def glpat-abc_1"
    )
    assert text == (
        "~/x /home/(user)/y MODULAR_AUTH=(hidden) (user)@(host) adamant "
        "https(hidden)host/ (hidden) (hidden) /home/(user)/z /tmp/pytest-of-(user)/1 "
        "/mnt/c/Users/(user)/bin (hidden) (hidden)"
    )
    outcome = warned("a|b", "/home/ada/bin/mojo", expected="c", fix="rm x")
    report = markdown_report([Finding("a.b", "t", outcome, 0.0)])
    quoted = markdown_report([Finding("a.b", "t", warned("x", "the `mojo`\nof <you>"), 0.0)])
    assert quoted.endswith("| x<br>`` the `mojo` of <you> `` |")
    assert report.endswith("| warn | `a.b` | a\\|b<br>`~/bin/mojo`<br>expected: c<br>fix: `rm x` |")
