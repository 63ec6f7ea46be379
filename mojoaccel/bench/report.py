"""What a benchmark found, as data; and as a table, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mojoaccel.bench.accuracy import Accuracy
from mojoaccel.bench.statistics import BEYOND, PERCENTILES, Ratio, Summary

OURS = "mojoaccel"
HEADER = ("runner", "median", "p95", "spread", "vs eager", "max error", "peak memory")
ALIGN = "lrrrrrr"
DISTURBED = 0.25  # cores that other programs may use before a report warns


@dataclass(frozen=True)
class RunnerReport:
    """One row.

    Attributes:
        name: ``mojoaccel`` or a baseline's name.
        status: ``ok`` | ``wrong output`` | ``failed`` | ``unavailable``.
        detail: Why it is not ``ok``.
        version: Version of the rival.
        summary: Statistics of all counted runs.
        rounds: Median of each round, ms.
        speedup: How many times as fast as PyTorch eager.
        accuracy: Distance from the reference.
        peak_memory: Largest resident size of its process, bytes.
        compile_seconds: Time to compile ahead of time; for ours the sum of the stages.
        cold_start: Seconds from a new process to the first answer: ``python``, ``import``,
            ``load``, ``first_run`` and their ``total``.
        joules: Energy of the whole machine per run.
        warmup: Runs, seconds, and whether the times settled.
        quiet: Whether its threads slept between its turns without being stopped.
    """

    name: str
    status: str
    detail: str = ""
    version: str = ""
    summary: Summary | None = None
    rounds: tuple[float, ...] = ()
    speedup: Ratio | None = None
    accuracy: Accuracy | None = None
    peak_memory: int | None = None
    compile_seconds: float | None = None
    cold_start: Mapping[str, float] | None = None
    joules: float | None = None
    warmup: Mapping[str, Any] = field(default_factory=dict)
    quiet: bool = True

    @property
    def counts(self) -> bool:
        """Whether its times may be compared."""
        return self.status == "ok" and self.summary is not None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; what is unknown is null."""
        data = {**asdict(self), "rounds": list(self.rounds), "warmup": dict(self.warmup)}
        data["summary"] = None if self.summary is None else self.summary.to_json()
        data["cold_start"] = None if self.cold_start is None else dict(self.cold_start)
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> RunnerReport:
        """Read what `to_json` wrote."""
        rest = dict(data)
        for key, read in (
            ("summary", Summary.from_json),
            ("speedup", lambda d: Ratio(**d)),
            ("accuracy", lambda d: Accuracy(**d)),
        ):
            rest[key] = None if data[key] is None else read(data[key])
        rest["rounds"] = tuple(data["rounds"])
        return RunnerReport(**rest)


@dataclass(frozen=True)
class BenchReport:
    """One benchmark.

    Attributes:
        model: Name of the model.
        target: Target string of the artifact.
        dtype: Compute type.
        inputs: ``name: type`` of each input.
        sizes: Size of each named dim.
        threads: Threads of every runner.
        items: Items of one run (see `workloads.Inputs.items`).
        tokens: Tokens of one run, None for models that take none.
        reference: What the answers were compared with: ``float64``, ``check`` or ``PyTorch``.
        torch_error: PyTorch's own distance from float64, None where PyTorch did not run.
        runners: The rows, ours first.
        machine: Facts about the machine.
        load_before: Running processes of the machine, mean of the minute before.
        load_after: The same, after; the benchmark itself included.
        other_cores: Cores that other programs used while runs were timed; None if unknown.
        meter: Name of the energy counter; None where there is none.
        artifact_bytes: Size of the artifact.
        stages: Seconds of each compile stage, where this benchmark compiled the model.
        cached: Those of them that came from the cache.
    """

    model: str
    target: str
    dtype: str
    inputs: tuple[str, ...]
    sizes: Mapping[str, int]
    threads: int
    items: int
    tokens: int | None
    reference: str
    torch_error: float | None
    runners: tuple[RunnerReport, ...]
    machine: Mapping[str, Any]
    load_before: float
    load_after: float
    other_cores: float | None = None
    meter: str | None = None
    artifact_bytes: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    cached: tuple[str, ...] = ()

    @property
    def ours(self) -> RunnerReport:
        """Our row."""
        return self.runners[0]

    @property
    def rivals(self) -> tuple[RunnerReport, ...]:
        """The rivals whose times may be compared, fastest first."""
        return tuple(sorted((r for r in self.runners[1:] if r.counts), key=_median))

    def throughput(self, row: RunnerReport) -> dict[str, float] | None:
        """Return items (and tokens) per second of a row."""
        if row.summary is None:
            return None
        per_second = 1e3 / row.summary.median
        found = {"items_per_second": self.items * per_second}
        if self.tokens is not None:
            found["tokens_per_second"] = self.tokens * per_second
        return found

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        data = {key: getattr(self, key) for key in self.__dataclass_fields__}
        data["runners"] = [{**r.to_json(), "throughput": self.throughput(r)} for r in self.runners]
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> BenchReport:
        """Read what `to_json` wrote.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is unknown.
        """
        rest = {**data, "inputs": tuple(data["inputs"]), "cached": tuple(data["cached"])}
        rest["runners"] = tuple(
            RunnerReport.from_json({k: v for k, v in r.items() if k != "throughput"})
            for r in data["runners"]
        )
        return BenchReport(**rest)


def rows(report: BenchReport) -> list[tuple[str, ...]]:
    """Return the cells of the comparison table, one row per runner."""
    return [_row(r) for r in report.runners]


def _row(row: RunnerReport) -> tuple[str, ...]:
    if row.summary is None or row.status == "wrong output":
        measured: tuple[str, ...] = (row.status, "-", "-", "-")
    else:
        p95 = row.summary.percentile(95)
        measured = (
            milliseconds(row.summary.median),
            "-" if p95 is None else milliseconds(p95),
            f"{100 * row.summary.iqr / row.summary.median:.1f} %",
            "-" if row.speedup is None else f"{row.speedup.value:.2f}x",
        )
    error = "-" if row.accuracy is None else f"{row.accuracy.error:.2g}"
    return (row.name, *measured, error, megabytes(row.peak_memory))


def heading(report: BenchReport) -> str:
    """Return one line that says what was measured."""
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    return f"{report.model}  {', '.join(report.inputs)}  {report.dtype}, {threads}"


def footnotes(report: BenchReport) -> list[str]:
    """Return what a reader of the table must know, one line each."""
    lines = [_ours_line(report)] if report.ours.summary is not None else []
    lines += [_ratio_line(report, r) for r in report.rivals if r.name != "eager"]
    lines.append(_reference_line(report))
    if is_disturbed(report):
        lines.append(
            f"not reliable: other programs used {report.other_cores:.1f} of {cores(report)} cores "
            "meanwhile, and runners that share their work out evenly suffer most"
        )
    lines += [_energy_line(report), _machine_line(report)]
    lines.append(
        "median of all runs, every round weighing the same; spread is the interquartile range "
        f"over the median; ratios are medians over the rounds; a percentile needs {BEYOND} runs "
        "beyond it"
    )
    lines += [f"{r.name}: {r.status}, {r.detail}" for r in report.runners if r.detail]
    lines += [
        f"{r.name}: its times had not settled when measuring began"
        for r in report.runners
        if r.warmup and not r.warmup["settled"]
    ]
    lines += [
        f"{r.name}: its threads went on spinning and were stopped between its turns"
        for r in report.runners
        if not r.quiet
    ]
    return lines


def _ours_line(report: BenchReport) -> str:
    ours = report.ours
    found = report.throughput(ours) or {}
    items = found["items_per_second"]
    parts = [f"{OURS}: {items:.{digits(items)}f} items/s"]
    if "tokens_per_second" in found:
        parts.append(f"{found['tokens_per_second']:.0f} tokens/s")
    if ours.cold_start is not None:
        start = ours.cold_start
        parts.append(
            f"cold start {start['total']:.2f} s (python {start['python']:.2f}, "
            f"import {start['import']:.2f}, load {start['load']:.2f}, "
            f"first run {start['first_run']:.2f})"
        )
    if ours.compile_seconds is not None:
        cached = f" ({len(report.cached)} stages cached)" if report.cached else ""
        parts.append(f"compiled in {ours.compile_seconds:.1f} s{cached}")
    return ", ".join(parts)


def _ratio_line(report: BenchReport, rival: RunnerReport) -> str:
    ratio = ratio_to(report, rival)
    start = rival.cold_start
    parts = [f"{rival.name} {rival.version}".rstrip() + f": {OURS} is {ratio:.2f}x as fast"]
    if start is not None:
        parts.append(f"its cold start {start['total']:.2f} s")
    if rival.compile_seconds is not None:
        parts.append(f"built in {rival.compile_seconds:.1f} s")
    return ", ".join(parts)


def _reference_line(report: BenchReport) -> str:
    if report.reference == "check":
        return "errors against the float64 answers that the artifact carries"
    if report.reference == "none":
        return "answers not checked: the artifact carries none for these sizes"
    if report.reference == "PyTorch":
        return "errors against PyTorch (the model does not run in float64)"
    return f"errors against float64; PyTorch's own error is {report.torch_error or 0.0:.2g}"


def _energy_line(report: BenchReport) -> str:
    used = [f"{r.name} {r.joules:.3g} J" for r in report.runners if r.joules is not None]
    if report.meter is None or not used:
        return "energy: unknown (no counter can be read)"
    return f"energy per run of everything on the machine ({report.meter}): {', '.join(used)}"


def is_disturbed(report: BenchReport) -> bool:
    """Return whether other programs left fewer cores than there were threads."""
    others = report.other_cores or 0.0
    return others + report.threads > cores(report) + DISTURBED


def cores(report: BenchReport) -> int:
    """Return the cores that the benchmark could use."""
    return int(report.machine["cores"])


def _machine_line(report: BenchReport) -> str:
    return (
        f"{report.machine['processor']}, {cores(report)} cores, load {report.load_before:.1f} "
        f"before and {report.load_after:.1f} after"
    )


def ratio_to(report: BenchReport, rival: RunnerReport) -> float:
    """Return how many times as fast ours is as a rival that counts: the median over the rounds."""
    pairs = zip(report.ours.rounds, rival.rounds, strict=False)
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def to_csv(report: BenchReport) -> str:
    """Return one line per runner with every figure; unknown ones are empty."""
    out = io.StringIO()
    names = [
        *("model", "dtype", "threads", "runner", "status", "version", "runs", "median_ms"),
        *(f"p{p}_ms" for p in PERCENTILES),
        *(
            "lower_quartile_ms",
            "upper_quartile_ms",
            "iqr_ms",
            "mad_ms",
            "fastest_ms",
            "items_per_second",
            "tokens_per_second",
        ),
        *("speedup_vs_eager", "max_error", "peak_memory_bytes", "compile_seconds"),
        *("cold_start_seconds", "joules_per_run"),
    ]
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in report.runners:
        summary = {} if row.summary is None else row.summary.to_json()
        record = {
            **{"model": report.model, "dtype": report.dtype, "threads": report.threads},
            **{"runner": row.name, "status": row.status, "version": row.version},
            **summary,
            **(report.throughput(row) or {}),
            "speedup_vs_eager": None if row.speedup is None else row.speedup.value,
            "max_error": None if row.accuracy is None else row.accuracy.error,
            "peak_memory_bytes": row.peak_memory,
            "compile_seconds": row.compile_seconds,
            "cold_start_seconds": row.cold_start["total"] if row.cold_start else None,
            "joules_per_run": row.joules,
        }
        writer.writerow({k: "" if v is None else v for k, v in record.items()})
    return out.getvalue()


def to_markdown(report: BenchReport) -> str:
    """Return the table and its notes as Markdown."""
    lines = [f"**{heading(report)}**", "", *markdown_table(HEADER, rows(report), ALIGN), ""]
    return "\n".join(lines + [f"- {note}" for note in footnotes(report)]) + "\n"


def markdown_table(header: Sequence[str], cells: Sequence[Sequence[str]], align: str) -> list[str]:
    """Return the lines of a Markdown table; `align` has one letter a column, ``l`` or ``r``."""
    rule = ["--:" if side == "r" else ":--" for side in align]
    escaped = [[c.replace("|", "\\|") for c in row] for row in cells]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *escaped)]


def milliseconds(value: float) -> str:
    """Print a time in ms with three significant digits, in the unit that fits: ``12.3 us``."""
    for unit, scale in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        shown = value / scale
        if shown < 999.5 or unit == "s":
            return f"{shown:.{digits(shown)}f} {unit}"
    raise AssertionError


def digits(value: float) -> int:
    """Return the decimals that show three significant digits of a value of 1 or more."""
    return 2 if value < 9.995 else 1 if value < 99.95 else 0


def megabytes(size: int | None) -> str:
    """Print a size in MB, or a dash."""
    return "-" if size is None else f"{size / 1e6:.0f} MB"


def _median(row: RunnerReport) -> float:
    assert row.summary is not None
    return row.summary.median
