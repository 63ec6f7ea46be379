"""Gives runners turns: each in its own process, one at a time, in rounds.

The machine's speed drifts (other load, clock, temperature), so nobody is measured in one piece:
every round gives each runner one turn, in an order that changes from round to round, and runners
are compared within rounds. Only the runner whose turn it is computes; the others wait for a
request, asleep. A runner whose threads still spin a second after its turn is stopped meanwhile.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mojoaccel.bench.energy import Meter
from mojoaccel.bench.machine import busy_seconds
from mojoaccel.bench.process import WorkerFailed, WorkerProcess

ROUNDS = 10
LEAST_ROUNDS = 3
WARM_SECONDS = 5.0
COLD_STARTS = 3  # the first fills the disk caches and counts only if it stays the only one
COLD_START_SECONDS = 20.0  # a runner that takes longer is not started again


@dataclass
class Contender:
    """One runner in the benchmark.

    Attributes:
        name: ``mojoaccel`` or a baseline's name.
        request: What its worker is told.
        process: Its process while it runs.
        version: Version it reported.
        build_seconds: Time to compile it ahead of time, None if it does not.
        starts: Parts of every cold start, in seconds.
        warmup: Runs, seconds and whether the times settled.
        rounds: Run times of every round, ns.
        joules: Energy of the counted turns.
        metered_runs: Runs during those.
        memory: Peak memory in bytes.
        quiet: Whether its threads slept between turns by themselves.
        failure: Why it could not be measured; empty if it could.
        code: Error code of the failure, if it was one of ours.
    """

    name: str
    request: dict[str, Any]
    process: WorkerProcess | None = None
    version: str = ""
    build_seconds: float | None = None
    starts: list[dict[str, float]] = field(default_factory=list)
    warmup: dict[str, Any] = field(default_factory=dict)
    rounds: list[list[int]] = field(default_factory=list)
    joules: float | None = None
    metered_runs: int = 0
    memory: int | None = None
    quiet: bool = True
    failure: str = ""
    code: str = ""

    def fail(self, e: WorkerFailed) -> None:
        """Drop out."""
        self.failure, self.code = str(e), e.code
        self.kill()

    def close(self) -> None:
        """End the process in good order."""
        if self.process is not None:
            self.process.close()
            self.process = None

    def kill(self) -> None:
        """End the process whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.process = None


@dataclass
class Track:
    """Runs contenders.

    Attributes:
        folder: Shared with the workers: inputs, answers, logs.
        threads: Threads of every runner.
        timeout: Seconds for one request.
        meter: Energy counter, if there is one.
        show: Told what is going on.
        others: Cores that other programs used, on average, while turns were given; None where
            that is unknown.
    """

    folder: Path
    threads: int
    timeout: float
    meter: Meter | None
    show: Callable[[str], None]
    others: float | None = None

    def start(self, name: str) -> WorkerProcess:
        """Start a worker process."""
        return WorkerProcess(self.folder, self.threads, self.folder / f"{name}.log")

    def once(self, name: str, do: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask a fresh worker one thing.

        Raises:
            WorkerFailed: It failed.
        """
        worker = self.start(name)
        try:
            return worker.ask(do, self.timeout, **request)
        finally:
            worker.kill()

    def build(self, contender: Contender) -> None:
        """Compile a rival ahead of time, in a process of its own."""
        self.show(f"building {contender.name}")
        try:
            reply = self.once(contender.name, "build", contender.request)
            contender.build_seconds = reply["seconds"]
        except WorkerFailed as e:
            contender.fail(e)

    def open(self, contender: Contender, answer: Path | None = None) -> None:
        """Start the contender's process and get its first answer; note the parts of the start."""
        self.show(f"starting {contender.name}")
        contender.process = self.start(contender.name)
        began = contender.process.started
        try:
            reply = contender.process.ask(
                "open", self.timeout, **contender.request, answer=str(answer) if answer else None
            )
        except WorkerFailed as e:
            contender.fail(e)
            return
        contender.version = reply["version"]
        parts = {k: reply[k] for k in ("import", "load", "first_run")}
        python = reply["began"] - began
        contender.starts.append({"python": python, **parts, "total": python + sum(parts.values())})

    def restart(self, contender: Contender) -> None:
        """Start the contender anew for more cold-start times; it is closed afterwards."""
        while len(contender.starts) < COLD_STARTS and not contender.failure:
            if contender.starts[-1]["total"] > COLD_START_SECONDS:
                break
            self.open(contender)
            contender.close()

    def race(self, contenders: list[Contender], seconds: float, rounds: int) -> None:
        """Warm up, then give turns.

        Args:
            contenders: Opened ones; those that fail drop out.
            seconds: Counted time per contender.
            rounds: Number of rounds; 0 chooses it.
        """
        for contender in contenders:
            self._warm(contender)
        running = [c for c in contenders if not c.failure]
        slowest = max((c.warmup["median_ns"] / 1e9 for c in running), default=0.0)
        count = rounds or choose_rounds(seconds, slowest)
        order = random.Random(0)
        usage = _Usage(running)
        for number in range(count):
            self.show(f"round {number + 1} of {count}")
            order.shuffle(running)
            for contender in running:
                self._turn(contender, seconds / count)
            running = [c for c in running if not c.failure]
        self.others = usage.others()
        for contender in running:
            self._finish(contender)

    def _finish(self, contender: Contender) -> None:
        assert contender.process is not None
        try:
            contender.memory = contender.process.ask("memory", self.timeout)["bytes"]
        except WorkerFailed as e:
            contender.fail(e)
        contender.close()

    def _warm(self, contender: Contender) -> None:
        self.show(f"warming up {contender.name}")
        assert contender.process is not None
        try:
            reply = contender.process.ask("warm", self.timeout, seconds=WARM_SECONDS)
        except WorkerFailed as e:
            contender.fail(e)
            return
        contender.warmup = {k: reply[k] for k in ("runs", "seconds", "settled", "median_ns")}
        contender.quiet = reply["quiet"]

    def _turn(self, contender: Contender, seconds: float) -> None:
        assert contender.process is not None
        before = self.meter.joules() if self.meter is not None else 0.0
        try:
            reply = contender.process.ask("measure", self.timeout, seconds=seconds)
        except WorkerFailed as e:
            contender.fail(e)
            return
        if self.meter is not None:
            contender.joules = (contender.joules or 0.0) + self.meter.joules() - before
            contender.metered_runs += reply["runs"]
        contender.rounds.append(reply["times"])
        contender.quiet = contender.quiet and reply["quiet"]


class _Usage:
    """Processor time of the machine that the contenders did not use."""

    def __init__(self, contenders: list[Contender]) -> None:
        self._workers = [c.process for c in contenders if c.process is not None]
        self._began = time.monotonic()
        self._busy = busy_seconds()
        self._own = self._own_seconds()

    def others(self) -> float | None:
        """Return it in cores, on average since the start."""
        busy = busy_seconds()
        if busy is None or self._busy is None:
            return None
        used = (busy - self._busy) - (self._own_seconds() - self._own)
        return max(0.0, used / max(1e-3, time.monotonic() - self._began))

    def _own_seconds(self) -> float:
        return time.process_time() + sum(w.cpu_seconds() for w in self._workers)


def choose_rounds(seconds: float, slowest: float) -> int:
    """Return how many rounds fit: `ROUNDS`, or fewer where a turn would not hold two runs.

    Args:
        seconds: Counted time per contender.
        slowest: Seconds of the slowest contender's run.
    """
    if slowest <= 0:
        return ROUNDS
    return max(LEAST_ROUNDS, min(ROUNDS, int(seconds / (2 * slowest))))


def cold_start(starts: list[dict[str, float]]) -> dict[str, float] | None:
    """Return the start with the median total, without the first unless it is the only one."""
    later = sorted(starts[1:] or starts, key=lambda s: s["total"])
    return later[(len(later) - 1) // 2] if later else None
