"""Stored benchmarks: save a report under a name or path, read it back, compare two, judge one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mojoaccel.bench.report import (
    OURS,
    BenchReport,
    RunnerReport,
    is_disturbed,
    milliseconds,
    ratio_to,
)
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.paths import cache_root
from mojoaccel.placing import write_text

FORMAT = 1
_NAME = re.compile(r"[\w][\w.+-]*")


@dataclass(frozen=True)
class Change:
    """One runner, then and now.

    Attributes:
        runner: Its name.
        then: Stored median, ms.
        now: New median, ms.
        speedup_then: Stored speed-up over eager, where eager was measured.
        speedup_now: New one.
        verdict: ``faster`` | ``slower`` | ``same``: whether the middle halves of the rounds lie
            apart; in speed-ups over eager where both runs have them, since those do not depend
            on how busy the machine was.
    """

    runner: str
    then: float
    now: float
    speedup_then: float | None
    speedup_now: float | None
    verdict: str


def report_path(name: str) -> Path:
    """Return where a stored benchmark lies: a path, or a name in the cache folder.

    Raises:
        MojoaccelError: MA903, it is neither.
    """
    if "/" in name or name.endswith(".json"):
        return Path(name).expanduser()
    if not _NAME.fullmatch(name):
        raise error("MA903", f"{name!r} is neither a name nor a path")
    return cache_root() / "benchmarks" / f"{name}.json"


def save_report(report: BenchReport, name: str) -> Path:
    """Store a report; an older one of that name is replaced.

    Raises:
        MojoaccelError: MA603, it cannot be written.
    """
    path = report_path(name)
    data = {"format": FORMAT, "report": report.to_json()}
    write_text(path, json.dumps(data, indent=1) + "\n")
    return path


def load_report(name: str) -> BenchReport:
    """Read a stored report.

    Raises:
        MojoaccelError: MA903, there is none, or it is not one.
    """
    path = report_path(name)
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return BenchReport.from_json(data["report"])
    except FileNotFoundError as e:
        raise error("MA903", f"no benchmark is stored as {path}", hint=_known(path.parent)) from e
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise error("MA903", f"{path} is not a stored benchmark: {e}") from e


def compare_reports(then: BenchReport, now: BenchReport) -> tuple[list[Change], list[str]]:
    """Compare the runners that both have; say what else differs between the two."""
    stored = {r.name: r for r in then.runners if r.counts}
    pairs = [(stored[r.name], r) for r in now.runners if r.counts and r.name in stored]
    return [_change(a, b) for a, b in pairs], _differences(then, now)


def change_rows(changes: list[Change]) -> list[tuple[str, ...]]:
    """Return the cells of the table: runner, then, now, speed, vs eager then and now, verdict."""
    return [
        (
            c.runner,
            milliseconds(c.then),
            milliseconds(c.now),
            f"{c.then / c.now:.2f}x",
            "-" if c.speedup_then is None else f"{c.speedup_then:.2f}x",
            "-" if c.speedup_now is None else f"{c.speedup_now:.2f}x",
            c.verdict,
        )
        for c in changes
    ]


CHANGE_HEADER = ("runner", "then", "now", "speed", "vs eager then", "vs eager now", "verdict")
CHANGE_ALIGN = "lrrrrrl"


def judge_speed(
    report: BenchReport, threshold: float, stored: BenchReport | None = None
) -> MojoaccelError | None:
    """Return MA801 if ours is not `threshold` times as fast as it must be, else None.

    It is measured against the fastest rival that counts; without rivals, against itself in the
    stored run.

    Raises:
        MojoaccelError: MA903, there is nothing to measure it against.
    """
    if not report.ours.counts:
        return None  # its own failure has been reported
    if report.rivals:
        best = report.rivals[0]
        against, ratio = best.name, ratio_to(report, best)
    elif stored is not None and stored.ours.counts:
        assert stored.ours.summary is not None and report.ours.summary is not None
        against = "the stored run"
        ratio = stored.ours.summary.median / report.ours.summary.median
    else:
        raise error(
            "MA903",
            "--fail-under has nothing to compare with: no rival could be measured",
            hint="add --vs eager, or --compare NAME",
        )
    if ratio >= threshold:
        return None
    return error(
        "MA801",
        f"{OURS} is {ratio:.2f}x as fast as {against}, asked for was {threshold:g}x",
        notes=["the machine was busy with other programs"] if is_disturbed(report) else (),
        hint="bench on a quiet machine; --html FILE shows how the times are spread",
    )


def _change(then: RunnerReport, now: RunnerReport) -> Change:
    assert then.summary is not None and now.summary is not None
    a, b = then.speedup, now.speedup
    if a is not None and b is not None and now.name != "eager":
        faster, slower = b.low > a.high, b.high < a.low
    else:
        distance = (then.summary.iqr + now.summary.iqr) / 2
        faster = then.summary.median - now.summary.median > distance
        slower = now.summary.median - then.summary.median > distance
    return Change(
        now.name,
        then.summary.median,
        now.summary.median,
        None if a is None else a.value,
        None if b is None else b.value,
        "faster" if faster else "slower" if slower else "same",
    )


def _differences(then: BenchReport, now: BenchReport) -> list[str]:
    """Say what makes the two runs hard to compare."""
    facts = [
        ("model", then.model, now.model),
        ("inputs", ", ".join(then.inputs), ", ".join(now.inputs)),
        ("dtype", then.dtype, now.dtype),
        ("target", then.target, now.target),
        ("threads", then.threads, now.threads),
        ("processor", then.machine["processor"], now.machine["processor"]),
        ("cores", then.machine["cores"], now.machine["cores"]),
    ]
    found = [f"other {name}: {a} then, {b} now" for name, a, b in facts if a != b]
    versions = {r.name: r.version for r in then.runners if r.version}
    found += [
        f"other {r.name}: {versions[r.name]} then, {r.version} now"
        for r in now.runners
        if r.version and versions.get(r.name, r.version) != r.version
    ]
    return found


def _known(folder: Path) -> str:
    names = sorted(f.stem for f in folder.glob("*.json")) if folder.is_dir() else []
    return f"stored: {', '.join(names)}" if names else "store one with --save NAME"
