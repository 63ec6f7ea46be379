"""Measure every model of a suite file: ``python -m mojoaccel.bench.suite FILE``.

For developers. FILE is a Python file with ``ALL`` (names) and ``get(name)``, which returns a module
and its example inputs. Each model is compiled and measured in a process of its own, under a limit
of time and memory, so that a failure costs one row and not the rest. Prints a Markdown table: error
against float64 next to PyTorch's own, compile time by stage, artifact against weight bytes, median
next to PyTorch eager.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mojoaccel.bench.report import BenchReport, is_disturbed, markdown_table, milliseconds
from mojoaccel.products import STAGES

HEADER = (
    *("model", "error", "PyTorch's", "import", "construct"),
    *STAGES,
    *("compile", "artifact", "weights", "median", "eager", "speed-up"),
)
ALIGN = "l" + "r" * (len(HEADER) - 1)
POLL_SECONDS = 0.2


def main() -> None:
    """Read the command line, measure, print."""
    options = _parse(sys.argv[1:])
    if options.child:
        print(json.dumps(measure(options.file, options.child, options)))
        return
    names = options.only.split(",") if options.only else _names(options.file)
    results = []
    for name in names:
        began = time.monotonic()
        results.append(run_child(name, options))
        took = time.monotonic() - began
        print(f"{name}: {_outcome(results[-1])} ({took:.0f} s)", file=sys.stderr, flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(to_markdown(results)))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mojoaccel.bench.suite")
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="", metavar="NAME,...")
    parser.add_argument("--vs", default="eager", metavar="NAME,...", help="or none")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("-O", dest="optimization", type=int, default=2)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--warm-cache", action="store_true", help="use the cache of stages")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS")
    parser.add_argument("--memory", type=float, default=16.0, metavar="GB")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _names(file: Path) -> list[str]:
    from mojoaccel.trace.loader import import_file

    return list(import_file(file).ALL)


def run_child(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one model in a process group of its own; stop it at a limit."""
    command = [sys.executable, "-m", "mojoaccel.bench.suite", *sys.argv[1:], "--child", name]
    with tempfile.TemporaryDirectory(prefix="mojoaccel-suite-") as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log.txt"
        environment = dict(os.environ)
        if not options.warm_cache:
            environment["MOJOACCEL_CACHE_DIR"] = folder
        environment["TMPDIR"] = folder
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
            stopped = _watch(process, options.timeout, options.memory * 1e9)
        if stopped:
            return {"model": name, "failed": stopped}
        try:
            found: dict[str, Any] = json.loads(out.read_text())
        except ValueError:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            return {"model": name, "failed": last[0] if last else "no answer"}
        return found


def _watch(process: subprocess.Popen[bytes], timeout: float, memory: float) -> str:
    """Wait for a process; stop it and its children at a limit and say which one."""
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        family = _family(process.pid)
        reason = ""
        if time.monotonic() > deadline:
            reason = f"stopped after {timeout:g} s"
        elif sum(_resident(p) for p in family) > memory:
            reason = f"stopped at {memory / 1e9:g} GB"
        if reason:
            # Benchmark workers have sessions of their own, so the group alone is not enough.
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            return reason
        time.sleep(POLL_SECONDS)
    return ""


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(word) for word in path.read_text().split()]
    return found


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def measure(file: Path, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compile one model and measure the artifact; a failure becomes part of the answer."""
    from mojoaccel.errors import MojoaccelError

    record: dict[str, Any] = {"model": name}
    try:
        with tempfile.TemporaryDirectory() as folder:
            _measure(record, file, name, options, Path(folder) / "model.maccel")
    except MojoaccelError as e:
        record["failed"] = f"{e.code} {e.diagnostics[0].message}"
        record["diagnostics"] = [d.to_json() for d in e.diagnostics]
    return record


def _measure(
    record: dict[str, Any], file: Path, name: str, options: argparse.Namespace, place: Path
) -> None:
    from mojoaccel.bench.api import BenchRequest, bench
    from mojoaccel.bench.workloads import ModelSource
    from mojoaccel.cache import open_cache
    from mojoaccel.deliver import Delivery
    from mojoaccel.driver import Compiler, StageReport
    from mojoaccel.job import Request
    from mojoaccel.settings import Settings, compile_options, read_given

    began = time.perf_counter()
    import torch

    imported = time.perf_counter()
    source = ModelSource(str(file), entry=name)
    example = source.load()
    weights = {t.data_ptr(): t.nbytes for t in example.module.state_dict().values()}
    record["weight_bytes"] = sum(weights.values())
    record["import_seconds"] = imported - began
    record["construct_seconds"] = time.perf_counter() - imported
    record["torch"] = torch.__version__
    given = {"optimization": options.optimization, "dtype": options.dtype, "output": str(place)}
    values = Settings().values("compile", read_given("compile", given))
    stages: dict[str, float] = {}
    record["stages"] = stages

    def finished(row: StageReport) -> None:
        stages[row.name] = row.seconds

    def complain(found: Any) -> None:
        print(found.message, file=sys.stderr)

    compiler = Compiler(open_cache(10**11, complain), finished=finished)
    request = Request(example, compile_options(values), name=name.replace(":", "_"))
    report = compiler.compile(request, Delivery(values).receive)
    manifest = report.products["package"].manifest
    record["verification"] = manifest["verification"]
    record["artifact_bytes"] = report.products["package"].size
    record["library_bytes"] = report.products["build"].size
    record["kernels"] = len(report.products["emit"].kernels)
    record["groups"] = len(report.products["optimize"].groups)
    rivals = () if options.vs == "none" else tuple(options.vs.split(","))
    found = bench(
        BenchRequest(
            place,
            ModelSource(str(file), entry=name, dtype=options.dtype),
            rivals,
            threads=options.threads,
            seconds=options.seconds,
            stages=stages,
        ),
        lambda text: print(text, file=sys.stderr),
    )
    record["bench"] = found.to_json()


def to_markdown(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table; models that failed follow it with their reason."""
    good = [r for r in results if "failed" not in r]
    lines = markdown_table(HEADER, [_cells(r) for r in good], ALIGN)
    notes = [f"- {r['model']}: {r['failed']}" for r in results if "failed" in r]
    busy = [r["model"] for r in good if is_disturbed(BenchReport.from_json(r["bench"]))]
    if busy:
        notes.append(f"- times not reliable, other programs ran beside: {', '.join(busy)}")
    return [*lines, "", *notes] if notes else lines


def _cells(record: Mapping[str, Any]) -> list[str]:
    bench = record["bench"]
    runners = {r["name"]: r for r in bench["runners"]}
    ours = runners["mojoaccel"]
    eager = runners.get("eager", {"summary": None})
    stages = record["stages"]
    return [
        record["model"],
        "-" if ours["accuracy"] is None else f"{ours['accuracy']['error']:.2g}",
        "-" if bench["torch_error"] is None else f"{bench['torch_error']:.2g}",
        f"{record['import_seconds']:.1f} s",
        f"{record['construct_seconds']:.1f} s",
        *(f"{stages.get(s, 0.0):.2f} s" for s in STAGES),
        f"{sum(stages.values()):.1f} s",
        f"{record['artifact_bytes'] / 1e6:.1f} MB",
        f"{record['weight_bytes'] / 1e6:.1f} MB",
        _median(ours) if ours["status"] == "ok" else ours["status"],
        _median(eager),
        "-" if ours["speedup"] is None else f"{ours['speedup']['value']:.2f}x",
    ]


def _median(row: Mapping[str, Any]) -> str:
    return "-" if row["summary"] is None else milliseconds(row["summary"]["median_ms"])


def _outcome(record: Mapping[str, Any]) -> str:
    if "failed" in record:
        return str(record["failed"])
    cells = dict(zip(HEADER, _cells(record), strict=True))
    return f"{cells['median']} against {cells['eager']}, compiled in {cells['compile']}"


if __name__ == "__main__":
    main()
