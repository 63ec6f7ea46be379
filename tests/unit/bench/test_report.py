"""What a report looks like: exact text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.dom.minidom import parseString

import pytest

from mojoaccel.bench.page import to_html
from mojoaccel.bench.report import (
    ALIGN,
    HEADER,
    BenchReport,
    footnotes,
    heading,
    markdown_table,
    megabytes,
    milliseconds,
    rows,
    to_csv,
    to_markdown,
)
from mojoaccel.cli.console import table_lines

TABLE = """\
runner           median      p95  spread  vs eager  max error  peak memory
mojoaccel       1.05 ms  1.10 ms   9.5 %     2.00x    1.2e-07        50 MB
eager           2.10 ms  2.20 ms   9.5 %     1.00x    1.2e-07       400 MB
compile     unavailable        -       -         -          -            -
openvino   wrong output        -       -         -        0.6        50 MB"""

NOTES = """\
mojoaccel: 1905 items/s, 121905 tokens/s, cold start 0.10 s (python 0.02, import 0.05, load 0.01, \
first run 0.02), compiled in 12.0 s
errors against float64; PyTorch's own error is 2e-07
energy: unknown (no counter can be read)
Some CPU, 4 cores, load 0.2 before and 1.5 after
median of all runs, every round weighing the same; spread is the interquartile range over the \
median; ratios are medians over the rounds; a percentile needs 5 runs beyond it
compile: unavailable, needs a C++ compiler
openvino: wrong output, output 0: off by 0.6 of 1"""


def test_table(report):
    assert "\n".join(table_lines(HEADER, rows(report), ALIGN)) == TABLE


def test_heading_and_notes(report):
    assert heading(report) == "net  ids: i64[2, 64], mask: i64[2, 64]  f32, 2 threads"
    assert "\n".join(footnotes(report)) == NOTES


def test_notes_name_other_rivals_trouble_and_energy(report):
    eager = report.runners[1]
    restless = replace(
        eager, name="onnxruntime", version="1.32", quiet=False, joules=0.5, compile_seconds=4.0
    )
    ours = replace(report.ours, warmup={"runs": 9, "seconds": 5.0, "settled": False}, joules=0.25)
    notes = footnotes(replace(report, runners=(ours, restless), meter="RAPL", cached=("build",)))
    assert notes[0].endswith("compiled in 12.0 s (1 stages cached)")
    assert notes[1] == (
        "onnxruntime 1.32: mojoaccel is 2.00x as fast, its cold start 0.10 s, built in 4.0 s"
    )
    assert (
        "energy per run of everything on the machine (RAPL): mojoaccel 0.25 J, onnxruntime 0.5 J"
        in notes
    )
    assert "mojoaccel: its times had not settled when measuring began" in notes
    assert "onnxruntime: its threads went on spinning and were stopped between its turns" in notes


def test_a_disturbed_run_says_so(report):
    assert not any("not reliable" in n for n in footnotes(replace(report, other_cores=2.2)))
    assert (
        "not reliable: other programs used 2.4 of 4 cores meanwhile, and runners that share "
        "their work out evenly suffer most"
    ) in footnotes(replace(report, other_cores=2.4))


def test_json_reads_back_and_keeps_unknowns_null(report):
    data = json.loads(json.dumps(report.to_json()))
    assert BenchReport.from_json(data) == report
    assert data["meter"] is None
    assert data["runners"][0]["joules"] is None
    assert data["runners"][0]["summary"]["p99_ms"] is None  # 240 runs do not support it
    assert data["runners"][0]["throughput"]["tokens_per_second"] == pytest.approx(128 / 1.05e-3)
    assert data["runners"][2]["summary"] is None


def test_csv(report):
    head, ours, _, compiled, _ = to_csv(report).splitlines()
    cells = dict(zip(head.split(","), ours.split(","), strict=True))
    assert cells["median_ms"] == "1.05" and cells["p99_ms"] == ""
    assert cells["speedup_vs_eager"] == "2.0" and cells["compile_seconds"] == "12.0"
    assert compiled == "net,f32,2,compile,unavailable" + "," * (head.count(",") - 4)


def test_markdown(report):
    lines = to_markdown(report).splitlines()
    assert lines[0] == f"**{heading(report)}**"
    assert lines[3] == "| :-- | --: | --: | --: | --: | --: | --: |"
    assert lines[4] == "| mojoaccel | 1.05 ms | 1.10 ms | 9.5 % | 2.00x | 1.2e-07 | 50 MB |"
    assert markdown_table(("a",), [("x|y",)], "l")[-1] == "| x\\|y |"


class Page(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_page_is_self_contained_and_escaped(report):
    page = to_html(replace(report, model="<script>alert(1)</script>"))
    parsed = Page()
    parsed.feed(page)
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert not {"src", "href", "onload"} & {name for name, _ in parsed.attributes}
    assert "http" not in page and "url(" not in page
    assert "prefers-color-scheme: dark" in page
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 3
    for plot in plots:
        for node in parseString(plot).getElementsByTagName("*"):
            for name in ("x", "x1", "x2", "width"):
                if node.hasAttribute(name):
                    assert 0 <= float(node.getAttribute(name)) <= 720
    assert to_html(report) == to_html(report)


def test_page_without_anything_measured(report):
    failed = replace(report.runners[2], name="mojoaccel", status="failed")
    page = to_html(replace(report, runners=(failed,)))
    assert "<svg" not in page and "failed" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "12.3 us"),
        (0.9994, "999 us"),
        (0.9996, "1.00 ms"),
        (9.994, "9.99 ms"),
        (9.996, "10.0 ms"),
        (123.4, "123 ms"),
        (1234.0, "1.23 s"),
        (2_000_000.0, "2000 s"),
    ],
)
def test_times_have_three_digits(value, text):
    assert milliseconds(value) == text


def test_sizes():
    assert megabytes(None) == "-"
    assert megabytes(123_456_789) == "123 MB"
