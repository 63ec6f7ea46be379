"""What a server did under load, as JSON, CSV, Markdown and one HTML page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from mojoaccel.bench import page
from mojoaccel.bench.load import Level
from mojoaccel.bench.report import markdown_table, milliseconds
from mojoaccel.bench.statistics import BEYOND, PERCENTILES

HEADER = ("load", "requests/s", "answered", "failed", "p50", "p90", "p95", "p99")
ALIGN = "lrrrrrrr"
LATE = 1.0
"""Milliseconds of lateness from which the generator is said to have disturbed the times."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A server under load.

    Attributes:
        server: Its address.
        software: Name and version that it gives.
        model: The model's name.
        version: Its version.
        inputs: Every input as text.
        wire: ``binary`` or ``json``.
        request_bytes: Size of a request.
        machine: What the generator ran on.
        levels: What every level gave.
    """

    server: str
    software: str
    model: str
    version: str
    inputs: tuple[str, ...]
    wire: str
    request_bytes: int
    machine: Mapping[str, Any]
    levels: Sequence[Level]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; percentiles that the samples do not support are null."""
        data = asdict(self)
        data["levels"] = [_level_json(level) for level in self.levels]
        return data

    def heading(self) -> str:
        """Return one line that says what was measured."""
        return f"{self.model}  {', '.join(self.inputs)}  {self.wire}, {self.server}"

    def notes(self) -> list[str]:
        """Return what a reader of the table must know."""
        lines = [
            f"{self.software}, model version {self.version or 'unknown'}, requests of "
            f"{self.request_bytes} bytes; generator on {self.machine['processor']}, "
            f"{self.machine['cores']} cores",
            "closed: so many clients, each of which asks again once it has its answer; open: so "
            "many requests a second arrive as a Poisson process, and times run from the moment a "
            "request was due",
            f"a percentile needs {BEYOND} answers beyond it",
        ]
        lines += [
            f"{name(level)}: the generator was {level.late:.1f} ms late (p99), which its times hold"
            for level in self.levels
            if level.late is not None and level.late > LATE
        ]
        lines += [
            f"{name(level)}: only {level.throughput:.3g}/s were answered, so the times grow with "
            "the length of the run"
            for level in self.levels
            if is_behind(level)
        ]
        lines += [
            f"{name(level)}: {', '.join(f'{n} x {why}' for why, n in level.failed.items())}"
            for level in self.levels
            if level.failed
        ]
        return lines


def is_behind(level: Level) -> bool:
    """Whether an open loop's server answers less than arrives, by more than chance makes it."""
    if level.kind != "open" or level.failed:
        return False
    due = level.asked * level.seconds
    return due - level.answered > 3 * math.sqrt(due)  # a Poisson count has this deviation


def name(level: Level) -> str:
    """Return a level's load as text."""
    return f"closed, {level.asked:g}" if level.kind == "closed" else f"open, {level.asked:g}/s"


def _level_json(level: Level) -> dict[str, Any]:
    data = {k: getattr(level, k) for k in ("kind", "asked", "seconds", "answered", "failed")}
    summary = None if level.latency is None else level.latency.to_json()
    return {
        **data,
        "requests_per_second": level.throughput,
        "latency": summary,
        "generator_late_p99_ms": level.late,
    }


def rows(report: LoadReport) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row a level."""
    found = []
    for level in report.levels:
        values = [
            None if level.latency is None else level.latency.percentile(p) for p in (PERCENTILES)
        ]
        times = tuple("-" if v is None else milliseconds(v) for v in values)
        counts = (f"{level.throughput:.1f}", str(level.answered), str(sum(level.failed.values())))
        found.append((name(level), *counts, *times))
    return found


def to_csv(report: LoadReport) -> str:
    """Return one line a level with every figure; unknown ones are empty."""
    out = io.StringIO()
    names = ["server", "model", "version", "wire", "kind", "asked", "seconds", "answered", "failed"]
    names += ["requests_per_second", "median_ms", *(f"p{p}_ms" for p in PERCENTILES)]
    names += ["fastest_ms", "generator_late_p99_ms"]
    writer = csv.DictWriter(out, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for level in report.levels:
        data = _level_json(level)
        record = {**asdict(report), **data, **(data["latency"] or {})}
        record["failed"] = sum(level.failed.values())
        writer.writerow({k: "" if v is None else v for k, v in record.items()})
    return out.getvalue()


def to_markdown(report: LoadReport) -> str:
    """Return the table and its notes as Markdown."""
    lines = [f"**{report.heading()}**", "", *markdown_table(HEADER, rows(report), ALIGN), ""]
    return "\n".join(lines + [f"- {note}" for note in report.notes()]) + "\n"


def to_html(report: LoadReport) -> str:
    """Return the table with plots as one page."""
    parts = [
        *page.opening(f"{report.model}: load", report.heading()),
        page.table(HEADER, rows(report), ALIGN),
    ]
    answered = [(name(level), level.throughput) for level in report.levels if level.answered]
    medians = [(name(x), x.latency.median) for x in report.levels if x.latency is not None]
    for title, caption, values in (
        ("Throughput", "Answered requests a second.", answered),
        ("Latency", "Median in milliseconds.", medians),
    ):
        if values:
            parts += [f"<h2>{title}</h2>", page.figure(page.levels(title, values), caption)]
    notes = "".join(f"<li>{escape(n)}</li>" for n in report.notes())
    return "\n".join([*parts, f"<h2>Notes</h2><ul>{notes}</ul>", "</body></html>"]) + "\n"
