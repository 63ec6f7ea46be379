"""The report as one HTML page: tables and plots in inline SVG, no scripts, nothing loaded.

The plots show medians with their middle halves, the medians round by round (drift and trouble show
there), and where the time of a cold start goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from mojoaccel.bench.report import (
    ALIGN,
    HEADER,
    OURS,
    BenchReport,
    RunnerReport,
    footnotes,
    heading,
    milliseconds,
    rows,
)
from mojoaccel.bench.statistics import Summary

WIDTH = 720
LEFT = 110  # room for the runners' names
RIGHT = 90  # room for the values
BAR = 22
GAP = 12
PLOT_HEIGHT = 240
PARTS = ("python", "import", "load", "first_run")  # of a cold start
COLORS = 6  # runner colours in the style sheet; further runners start again

STYLE = """\
:root { color-scheme: light dark; --ink: #1d2330; --soft: #687083; --line: #d9dde5; --paper: #fff;
  --c0: #d9480f; --c1: #1c6dd0; --c2: #2b8a3e; --c3: #9c36b5; --c4: #b08900; --c5: #0b7285; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #9aa3b5; --line: #343b4a;
  --paper: #151922; --c0: #ff8c4d; --c1: #74b0ff; --c2: #69db7c; --c3: #da8bf0; --c4: #ffd43b;
  --c5: #3bc9db; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 760px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 2rem 0 .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left; }
.r { text-align: right; } li, figcaption { color: var(--soft); }
.table, figure { overflow-x: auto; margin: 0; } svg { max-width: 100%; height: auto; }
text { fill: var(--ink); font: 12px system-ui, sans-serif; } .soft { fill: var(--soft); }
.rule { stroke: var(--line); } .whisker { stroke: var(--ink); stroke-width: 1.5; }
"""


def to_html(report: BenchReport) -> str:
    """Return the page."""
    shown = [r for r in report.runners if r.counts]
    parts = [
        *opening(f"{report.model}: {OURS} bench", heading(report)),
        table(HEADER, rows(report), ALIGN),
    ]
    if shown:
        parts += [
            "<h2>Time of a run</h2>",
            figure(_bars(shown), "Median; the line spans the middle half of all runs."),
            "<h2>Round by round</h2>",
            figure(_lines(shown), "Median of each round, logarithmic."),
        ]
    starts = {r.name: r.cold_start for r in report.runners if r.cold_start is not None}
    if starts:
        caption = "From a new process to the first answer."
        parts += ["<h2>Cold start</h2>", figure(_stacks(starts), caption)]
    notes = "".join(f"<li>{escape(n)}</li>" for n in footnotes(report))
    return "\n".join([*parts, f"<h2>Notes</h2><ul>{notes}</ul>", "</body></html>"]) + "\n"


def opening(title: str, heading: str = "") -> list[str]:
    """Return the page up to its heading, which is the title if none is given."""
    return [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}{_color_rules()}</style></head><body>",
        f"<h1>{escape(heading or title)}</h1>",
    ]


def _color_rules() -> str:
    return "".join(
        f".f{i} {{ fill: var(--c{i}); }} .s{i} {{ stroke: var(--c{i}); fill: none; }}\n"
        for i in range(COLORS)
    )


def table(header: Sequence[str], cells: Sequence[Sequence[str]], align: str) -> str:
    """Return a table; `align` has one letter a column, ``l`` or ``r``."""

    def line(tag: str, row: Sequence[str]) -> str:
        made = (
            f'<{tag} class="{side}">{escape(cell)}</{tag}>'
            for cell, side in zip(row, align, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(line("td", row) for row in cells)
    return f'<div class="table"><table>\n{line("th", header)}\n{body}\n</table></div>'


def figure(svg: str, caption: str) -> str:
    """Return a plot with its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    body = "\n".join(parts)
    return f'<svg {size} role="img" aria-label="{escape(title)}">\n{body}\n</svg>'


def _bars(shown: Sequence[RunnerReport]) -> str:
    """Draw a bar per runner up to its median, with the quartiles' distance as a line."""
    limit = max(_summary(r).upper for r in shown)
    scale = (WIDTH - LEFT - RIGHT) / limit
    parts = []
    for index, row in enumerate(shown):
        top = GAP + index * (BAR + GAP)
        middle = top + BAR / 2
        found = _summary(row)
        low, end, high = (LEFT + v * scale for v in (found.lower, found.median, found.upper))
        parts += [
            _text(LEFT - 8, middle + 4, row.name, "end"),
            f'<rect class="f{index % COLORS}" x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" '
            f'height="{BAR}" rx="3"/>',
            _line(low, middle, high, middle, "whisker"),
            _text(high + 6, middle + 4, milliseconds(found.median), "start"),
        ]
    return _svg(2 * GAP + len(shown) * (BAR + GAP), "median time of a run by runner", parts)


def levels(title: str, values: Sequence[tuple[str, float]], mark: float | None = None) -> str:
    """Draw a bar per name up to its value, and a line at `mark` if there is one."""
    scale = (WIDTH - LEFT - RIGHT) / max(mark or 0.0, *(value for _, value in values))
    height = 2 * GAP + len(values) * (BAR + GAP)
    parts = []
    for index, (name, value) in enumerate(values):
        top = GAP + index * (BAR + GAP)
        color = "f0" if mark is None or value >= mark else "f1"
        parts += [
            _text(LEFT - 8, top + BAR / 2 + 4, name, "end"),
            f'<rect class="{color}" x="{LEFT}" y="{top}" width="{value * scale:.1f}" '
            f'height="{BAR}" rx="3"/>',
            _text(LEFT + value * scale + 6, top + BAR / 2 + 4, f"{value:.2f}", "start"),
        ]
    if mark is not None:
        at = LEFT + mark * scale
        parts.append(_line(at, 0, at, height, "whisker"))
    return _svg(height, title, parts)


def _lines(shown: Sequence[RunnerReport]) -> str:
    """Draw each runner's round medians on a logarithmic scale."""
    values = [v for r in shown for v in r.rounds]
    low, high = log10(min(values)), log10(max(values))
    low, high = low - 0.05, high + 0.05
    count = max(len(r.rounds) for r in shown)
    step = (WIDTH - LEFT - RIGHT) / max(1, count - 1)

    def place(value: float) -> float:
        return GAP + (high - log10(value)) / (high - low) * (PLOT_HEIGHT - 2 * GAP)

    parts = []
    for tick in _ticks(10**low, 10**high):
        y = place(tick)
        parts += [
            _line(LEFT, y, WIDTH - RIGHT, y, "rule"),
            _text(LEFT - 8, y + 4, milliseconds(tick), "end", "soft"),
        ]
    labels: list[float] = []
    for index, row in sorted(enumerate(shown), key=lambda p: place(p[1].rounds[-1])):
        points = " ".join(f"{LEFT + i * step:.1f},{place(v):.1f}" for i, v in enumerate(row.rounds))
        # Names of lines that end close together are moved apart.
        y = max(place(row.rounds[-1]) + 4, labels[-1] + 13 if labels else 0)
        labels.append(y)
        parts += [
            f'<polyline class="s{index % COLORS}" fill="none" stroke-width="2" points="{points}"/>',
            _text(WIDTH - RIGHT + 8, y, row.name, "start"),
        ]
    height = max(PLOT_HEIGHT, *(y + GAP for y in labels))
    return _svg(height, "median time of a run by round", parts)


def _stacks(starts: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the parts of every cold start one after the other."""
    scale = (WIDTH - LEFT - RIGHT) / max(s["total"] for s in starts.values())
    parts = []
    for number, part in enumerate(PARTS):
        x = LEFT + 90.0 * number
        parts += [
            f'<rect class="f{number}" x="{x:.1f}" y="4" width="10" height="10"/>',
            _text(x + 15, 13, part.replace("_", " "), "start", "soft"),
        ]
    for index, (name, start) in enumerate(starts.items()):
        top = 2 * GAP + index * (BAR + GAP)
        x = float(LEFT)
        for number, part in enumerate(PARTS):
            width = start[part] * scale
            parts.append(
                f'<rect class="f{number}" x="{x:.1f}" y="{top}" width="{width:.1f}" '
                f'height="{BAR}"><title>{part.replace("_", " ")} {start[part]:.3f} s</title></rect>'
            )
            x += width
        parts += [
            _text(LEFT - 8, top + BAR / 2 + 4, name, "end"),
            _text(x + 6, top + BAR / 2 + 4, f"{start['total']:.2f} s", "start"),
        ]
    return _svg(3 * GAP + len(starts) * (BAR + GAP), "cold start by runner", parts)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two positive values."""
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _summary(row: RunnerReport) -> Summary:
    assert row.summary is not None
    return row.summary
