"""A suite's records as tables in Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import exp, log
from typing import Any

from mojoaccel.bench import page
from mojoaccel.bench.report import (
    OURS,
    BenchReport,
    RunnerReport,
    is_disturbed,
    markdown_table,
    megabytes,
    milliseconds,
    ratio_to,
)

Record = Mapping[str, Any]
AROUND = ("model", "compile", "artifact / weights", "cold start", "peak memory")
SPREAD_NOTE = (
    "spread is the interquartile range over the median; p99 is over the median too; a ratio is how "
    "many times as fast mojoaccel is, the median over rounds in which the runners take turns"
)


@dataclass(frozen=True)
class Suite:
    """What a suite's tables are made from.

    Attributes:
        records: What `suite.run_suite` returned.
    """

    records: Sequence[Record]

    @property
    def measured(self) -> list[tuple[Record, BenchReport]]:
        """Records whose model could be compiled and measured, with their reports."""
        good = [r for r in self.records if "failed" not in r]
        return [(r, BenchReport.from_json(r["bench"])) for r in good]

    @property
    def rivals(self) -> list[str]:
        """Names of all rivals, in the order they were asked for."""
        found = (r.name for _, b in self.measured for r in b.runners[1:])
        return list(dict.fromkeys(found))

    def header(self) -> tuple[str, ...]:
        """Return the columns of the table of speed."""
        ours = ("model", "error", "PyTorch's error", OURS, "spread", "p99", "roof")
        return (*ours, *self.rivals, "vs best")

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table of speed."""
        return [self._row(record, report) for record, report in self.measured]

    def _row(self, record: Record, report: BenchReport) -> tuple[str, ...]:
        ours = report.ours
        by_name = {r.name: r for r in report.runners}
        share = roof_share(record, report)
        return (
            record["model"],
            "-" if ours.accuracy is None else f"{ours.accuracy.error:.2g}",
            "-" if report.torch_error is None else f"{report.torch_error:.2g}",
            *_times(ours),
            "-" if share is None else f"{share:.0%}",
            *(_rival(report, by_name.get(name)) for name in self.rivals),
            _ratio(best_ratio(report)),
        )

    def around(self) -> list[tuple[str, ...]]:
        """Return the table of everything around the run."""
        rows: list[tuple[str, ...]] = []
        for record, report in self.measured:
            ours = report.ours
            start = "-" if ours.cold_start is None else f"{ours.cold_start['total'] * 1e3:.0f} ms"
            sizes = f"{record['artifact_bytes'] / 1e6:.1f} / {record['weight_bytes'] / 1e6:.1f} MB"
            took = "cached" if record["cached"] else f"{sum(record['stages'].values()):.1f} s"
            rows.append((record["model"], took, sizes, start, megabytes(ours.peak_memory)))
        return rows

    def notes(self) -> list[str]:
        """Return what a reader of the tables must know."""
        lines = []
        ratios = [x for _, b in self.measured if (x := best_ratio(b)) is not None]
        if ratios:
            mean = exp(sum(map(log, ratios)) / len(ratios))
            lines.append(
                f"geometric mean over the best rival of each model: {mean:.2f}x; "
                f"least {min(ratios):.2f}x"
            )
        lines += [f"{r['model']}: {r['failed']}" for r in self.records if "failed" in r]
        for record, report in self.measured:
            lines += [
                f"{record['model']}: {row.name} {row.status}, {row.detail}"
                for row in report.runners
                if row.status != "ok"
            ]
        busy = [r["model"] for r, b in self.measured if is_disturbed(b)]
        if busy:
            lines.append(f"times not reliable, other programs ran beside: {', '.join(busy)}")
        if self.measured:
            record, report = self.measured[-1]
            lines += [_machine(record, report), SPREAD_NOTE]
        return lines


def roof_share(record: Record, report: BenchReport) -> float | None:
    """Return the least time by the machine's roof over ours."""
    least = record.get("roof_seconds")
    if least is None or report.ours.summary is None:
        return None
    return float(least) * 1e3 / report.ours.summary.median


def best_ratio(report: BenchReport) -> float | None:
    """Return how many times as fast ours is as the fastest rival whose answer counts."""
    if not report.ours.counts or not report.rivals:
        return None
    return ratio_to(report, report.rivals[0])


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _times(row: RunnerReport) -> tuple[str, str, str]:
    if row.summary is None or row.status != "ok":
        return row.status, "-", "-"
    p99 = row.summary.percentile(99)
    return (
        milliseconds(row.summary.median),
        f"{row.summary.iqr / row.summary.median:.1%}",
        "-" if p99 is None else f"{p99 / row.summary.median:.2f}",
    )


def _rival(report: BenchReport, row: RunnerReport | None) -> str:
    if row is None or row.summary is None or not row.counts or not report.ours.counts:
        return "-" if row is None else row.status
    return f"{milliseconds(row.summary.median)} ({ratio_to(report, row):.2f}x)"


def _machine(record: Record, report: BenchReport) -> str:
    roof = record["roof"]
    parts = [f"float32 {roof['flops'] / 1e9:.0f} GFLOP/s"]
    if roof["bf16_flops"] is not None:
        parts.append(f"bfloat16 {roof['bf16_flops'] / 1e9:.0f} GFLOP/s")
    parts.append(f"reading memory {roof['bandwidth'] / 1e9:.1f} GB/s")
    versions = [f"{r.name} {r.version}" for r in report.runners[1:] if r.version]
    return (
        f"{report.dtype}, {report.threads} threads of {report.machine['processor']}, "
        f"{report.machine['cores']} cores; {', '.join(parts)}; {', '.join(versions)}"
    )


def to_markdown(records: Sequence[Record]) -> str:
    """Return the tables and their notes as Markdown."""
    suite = Suite(records)
    header = suite.header()
    lines = markdown_table(header, suite.rows(), "l" + "r" * (len(header) - 1))
    lines += ["", *markdown_table(AROUND, suite.around(), "lrrrr"), ""]
    return "\n".join(lines + [f"- {note}" for note in suite.notes()]) + "\n"


def to_html(records: Sequence[Record]) -> str:
    """Return the tables with plots as one page."""
    suite = Suite(records)
    header = suite.header()
    parts = [
        *page.opening(f"{OURS} suite"),
        page.table(header, suite.rows(), "l" + "r" * (len(header) - 1)),
    ]
    ratios = [(r["model"], best_ratio(b)) for r, b in suite.measured]
    shares = [(r["model"], roof_share(r, b)) for r, b in suite.measured]
    for title, caption, values, mark in (
        ("Against the best rival", "Times as fast; the line is the rival.", ratios, 1.0),
        ("Share of the roof", "Of what the machine can do at most.", shares, 1.0),
    ):
        known = [(name, value) for name, value in values if value is not None]
        if known:
            parts += [f"<h2>{title}</h2>", page.figure(page.levels(title, known, mark), caption)]
    parts += ["<h2>Around the run</h2>", page.table(AROUND, suite.around(), "lrrrr")]
    notes = "".join(f"<li>{escape(n)}</li>" for n in suite.notes())
    return "\n".join([*parts, f"<h2>Notes</h2><ul>{notes}</ul>", "</body></html>"]) + "\n"
