"""Measures every model of a suite file: ``mojoaccel bench --suite FILE``.

FILE is a Python file with ``ALL`` (names) and ``get(name)``, which returns a module and its example
inputs. Each model is compiled and measured against the rivals, in turns, in a process of its own
(``python -m mojoaccel.bench.suite OPTIONS NAME``), under a limit of time and memory, so that a
failure costs one row and not the rest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mojoaccel.log import log_command

if TYPE_CHECKING:
    from mojoaccel.driver import Report

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class SuiteOptions:
    """What to measure and how.

    Attributes:
        file: The suite file.
        only: Names of models; all of them if empty.
        rivals: Names of baselines.
        threads: Threads of every runner; 0 is one per usable core.
        seconds: Counted time per runner.
        rounds: Number of rounds; 0 chooses it.
        optimization: Level to compile at.
        dtype: Compute type.
        fresh: Compile without the cache of stages, so that compile times count.
        timeout: Seconds for one model before it is stopped.
        memory: Bytes of memory for one model before it is stopped.
    """

    file: str
    only: Sequence[str] = ()
    rivals: Sequence[str] = ("eager",)
    threads: int = 0
    seconds: float = 5.0
    rounds: int = 0
    optimization: int = 2
    dtype: str = "f32"
    fresh: bool = True
    timeout: float = 1800.0
    memory: float = 32e9


def run_suite(
    options: SuiteOptions, show: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """Measure the models one after the other.

    Args:
        options: What and how.
        show: Told which model is measured.

    Returns:
        One record a model (`measure`); ``failed`` says why a model could not be measured. Each
        names the ``roof`` of the machine and, in ``roof_seconds``, the least time of a run by it;
        null where there is none.

    Raises:
        MojoaccelError: MA903, the file has no such model or a rival is unknown; MA2xx, it cannot
            be loaded.
    """
    from mojoaccel.bench.api import check_rivals
    from mojoaccel.bench.calibration import calibrate
    from mojoaccel.bench.machine import usable_cores
    from mojoaccel.errors import error

    check_rivals(options.rivals, has_model=True)
    known = names(Path(options.file))
    for name in options.only:
        if name not in known:
            raise error("MA903", f"{options.file} has no model {name}", hint=", ".join(known))
    show("measuring the machine")
    roof = calibrate(options.threads or usable_cores())
    records = []
    for name in options.only or known:
        show(name)
        record = run_child(name, options)
        record["roof"] = asdict(roof)
        record["roof_seconds"] = None
        if record.get("flops"):
            record["roof_seconds"] = roof.model_seconds(
                record["flops"], record["read_bytes"], options.dtype, record["cache_bytes"]
            )
        records.append(record)
    return records


def names(file: Path) -> list[str]:
    """Return the names of the models of a suite file."""
    from mojoaccel.trace.loader import import_file

    return list(import_file(file).ALL)


def run_child(name: str, options: SuiteOptions) -> dict[str, Any]:
    """Measure one model in a process group of its own; stop it at a limit."""
    command = [sys.executable, "-m", "mojoaccel.bench.suite", json.dumps(asdict(options)), name]
    log_command(command)
    with tempfile.TemporaryDirectory(prefix="mojoaccel-suite-") as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log.txt"
        environment = {**os.environ, "TMPDIR": folder}
        if options.fresh:
            environment["MOJOACCEL_CACHE_DIR"] = folder
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
            stopped = _watch(process, options.timeout, options.memory)
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


def measure(name: str, options: SuiteOptions) -> dict[str, Any]:
    """Compile one model and measure the artifact; a failure becomes part of the answer.

    Returns:
        ``model``; ``weight_bytes`` of its distinct tensors; ``construct_seconds``; ``stages`` with
        their seconds; ``cached`` ones; ``artifact_bytes``; ``verification``; ``flops`` and
        ``read_bytes`` of weights of one run; ``cache_bytes`` of the last-level cache; ``bench``,
        the `BenchReport`. Or ``failed`` and ``diagnostics``.
    """
    from mojoaccel.errors import MojoaccelError

    record: dict[str, Any] = {"model": name}
    try:
        with tempfile.TemporaryDirectory() as folder:
            _measure(record, name, options, Path(folder))
    except MojoaccelError as e:
        record["failed"] = f"{e.code} {e.diagnostics[0].message}"
        record["diagnostics"] = [d.to_json() for d in e.diagnostics]
    return record


def _measure(record: dict[str, Any], name: str, options: SuiteOptions, folder: Path) -> None:
    from mojoaccel.bench.workloads import ModelSource

    began = time.perf_counter()
    source = ModelSource(options.file, entry=name)
    example = source.load()  # first: a broken file need not wait for the compiler

    from mojoaccel.bench.api import BenchRequest, bench
    from mojoaccel.cache import open_cache
    from mojoaccel.deliver import Delivery
    from mojoaccel.driver import Compiler, StageReport
    from mojoaccel.job import Request
    from mojoaccel.settings import Settings, compile_options, read_given

    place = folder / "model.maccel"
    weights = {t.data_ptr(): t.nbytes for t in example.module.state_dict().values()}
    scale = 2 if options.dtype == "bf16" else 1
    record["weight_bytes"] = sum(weights.values()) // scale
    record["construct_seconds"] = time.perf_counter() - began
    given = {"optimization": options.optimization, "dtype": options.dtype, "output": str(place)}
    values = Settings().values("compile", read_given("compile", given))
    stages: dict[str, float] = {}
    cached: list[str] = []
    record["stages"], record["cached"] = stages, cached

    def finished(row: StageReport) -> None:
        stages[row.name] = row.seconds
        if row.status == "cached":
            cached.append(row.name)

    def complain(found: Any) -> None:
        print(found.message, file=sys.stderr)

    cache = open_cache(10**11, complain)
    request = Request(example, compile_options(values), name=name.replace(":", "_"))
    report = Compiler(cache, finished=finished).compile(request, Delivery(values).receive)
    record["verification"] = report.products["package"].manifest["verification"]
    record["artifact_bytes"] = report.products["package"].size
    record["kernels"] = len(report.products["emit"].kernels)
    record["groups"] = len(report.products["optimize"].groups)
    record |= count_run(report)
    found = bench(
        BenchRequest(
            place,
            ModelSource(options.file, entry=name, dtype=options.dtype),
            tuple(options.rivals),
            threads=options.threads,
            seconds=options.seconds,
            rounds=options.rounds,
            stages=stages,
            cached=cached,
        ),
        lambda text: print(text, file=sys.stderr),
    )
    record["bench"] = found.to_json()


def count_run(report: Report) -> dict[str, int]:
    """Return a run's operations and the bytes of weights it reads.

    Tables that are only looked up are not read.
    """
    from mojoaccel.bench.profile import count

    plan, sizes = report.products["optimize"], dict(report.products["trace"].example)
    counted = [c for c in (count(g, plan, sizes) for g in plan.groups) if c[0]]
    return {
        "flops": sum(flops for flops, _, _ in counted),
        "read_bytes": sum(weights for _, _, weights in counted),
        "cache_bytes": report.products["detect"].l3_bytes,
    }


def main() -> None:
    """Measure one model: what a child process does."""
    options = SuiteOptions(**json.loads(sys.argv[1]))
    print(json.dumps(measure(sys.argv[2], options)))


if __name__ == "__main__":
    main()
