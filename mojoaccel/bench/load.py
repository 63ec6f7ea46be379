"""Puts a server under load and times its answers.

Closed loop: a number of clients, each of which asks again once it has its answer. Such clients wait
while the server is slow, so their times are kinder than what users see. Open loop: requests arrive
at a rate as a Poisson process whatever the server does, and each one's time runs from the moment it
was due, so that a stall counts for everyone it delays.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mojoaccel.bench.statistics import Summary, summarize
from mojoaccel.bench.wire import Connection, Place, Question

WARM = 0.1
"""Share of a level's time that is not counted at its start."""
CONNECTIONS = 512
"""Connections of an open loop at most; further requests wait for one, and their time runs."""
PATIENCE = 10.0
"""Seconds that answers are waited for after a level's time."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What load to make.

    Attributes:
        clients: Levels of the closed loop: clients that ask at the same time.
        rates: Levels of the open loop: requests a second.
        seconds: Counted time of each level.
        seed: Of the arrivals.
    """

    clients: Sequence[int] = (1, 8, 32)
    rates: Sequence[float] = ()
    seconds: float = 5.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """What one level of load gave.

    Attributes:
        kind: ``closed`` or ``open``.
        asked: Clients of a closed loop, requests a second of an open one.
        seconds: From the first counted request to the last answer.
        answered: Requests answered with success.
        failed: Requests that were not, by status or reason.
        latency: Times of the answered ones; None if there are none.
        late: 99th percentile, in ms, of how long the generator itself took to send a request that
            was due; None in a closed loop.
    """

    kind: str
    asked: float
    seconds: float
    answered: int
    failed: dict[str, int]
    latency: Summary | None
    late: float | None = None

    @property
    def throughput(self) -> float:
        """Answered requests a second."""
        return self.answered / self.seconds


@dataclass(slots=True)
class _Tally:
    """Counts of a level.

    Attributes:
        since: When counting begins; `time.perf_counter_ns`.
        times: Nanoseconds of the answered requests.
        failed: The others by reason.
        last: When the last answer came.
    """

    since: int
    times: list[int] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    last: int = 0

    def count(self, began: int, status: int | str) -> None:
        now = time.perf_counter_ns()
        if began < self.since:
            return
        self.last = now
        if status == 200:
            self.times.append(now - began)
        else:
            self.failed[str(status)] += 1

    def level(self, kind: str, asked: float, least: float, late: float | None = None) -> Level:
        seconds = max((self.last - self.since) / 1e9, least)
        latency = summarize([self.times]) if self.times else None
        return Level(kind, asked, seconds, len(self.times), dict(self.failed), latency, late)


async def measure(
    place: Place, question: Question, options: LoadOptions, show: Callable[[str], None]
) -> list[Level]:
    """Run every level, one after the other."""
    found = []
    for clients in options.clients:
        show(f"{clients} clients")
        found.append(await closed_loop(place, question, clients, options.seconds))
    for rate in options.rates:
        show(f"{rate:g} requests/s")
        found.append(await open_loop(place, question, rate, options.seconds, options.seed))
    return found


async def closed_loop(place: Place, question: Question, clients: int, seconds: float) -> Level:
    """Let clients ask, each again once it has its answer."""
    start = time.perf_counter_ns()
    tally = _Tally(start + int(seconds * WARM * 1e9))
    end = tally.since + int(seconds * 1e9)

    async def client() -> None:
        connection = None
        while (began := time.perf_counter_ns()) < end:
            connection, status = await _ask(place, connection, question.message)
            tally.count(began, status)
            if status == "unreachable":
                await asyncio.sleep(0.05)
        if connection is not None:
            connection.close()

    tasks = [asyncio.ensure_future(client()) for _ in range(clients)]
    _, silent = await asyncio.wait(tasks, timeout=seconds * (1 + WARM) + PATIENCE)
    for task in silent:
        task.cancel()
    if silent:
        tally.failed["unanswered"] += len(silent)
    return tally.level("closed", clients, seconds)


async def open_loop(
    place: Place, question: Question, rate: float, seconds: float, seed: int
) -> Level:
    """Send requests at the moments of a Poisson process, whatever the server does."""
    random = np.random.default_rng(seed)
    span = seconds * (1 + WARM)
    gaps = random.exponential(1 / rate, int(rate * span * 1.2) + 50)
    offsets = np.cumsum(gaps)
    start = time.perf_counter_ns() + 10_000_000
    due = [start + int(t * 1e9) for t in offsets[offsets < span]]
    tally = _Tally(start + int(seconds * WARM * 1e9))
    crowd = _Crowd(place, question, tally)
    loop = asyncio.get_running_loop()
    arrivals = threading.Thread(target=_arrive, args=(loop, due, crowd.take), daemon=True)
    arrivals.start()
    try:
        while arrivals.is_alive():
            await asyncio.sleep(0.02)
        await crowd.finish()
    finally:
        crowd.close()
    late = float(np.percentile(crowd.late, 99)) / 1e6 if crowd.late else None
    return tally.level("open", rate, seconds, late)


def _arrive(
    loop: asyncio.AbstractEventLoop, due: Sequence[int], take: Callable[[int], None]
) -> None:
    """Hand over every request when it is due: event loops' own timers go by milliseconds."""
    for moment in due:
        left = moment - time.perf_counter_ns()
        if left > 0:
            time.sleep(left / 1e9)
        try:
            loop.call_soon_threadsafe(take, moment)
        except RuntimeError:  # the loop was closed: the measurement was given up
            return


class _Crowd:
    """The connections of an open loop: as many as requests are under way.

    Attributes:
        late: Nanoseconds from a request's moment to its sending, where a connection was free.
    """

    def __init__(self, place: Place, question: Question, tally: _Tally) -> None:
        self.place = place
        self.question = question
        self.tally = tally
        self.late: list[int] = []
        self._idle: list[Connection] = []
        self._waiting: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, moment: int) -> None:
        """Send the request that is due now."""
        if len(self._tasks) >= CONNECTIONS:
            self._waiting.append(moment)
            return
        self.late.append(time.perf_counter_ns() - moment)
        connection = self._idle.pop() if self._idle else None
        task = asyncio.get_running_loop().create_task(self._serve(moment, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, moment: int, connection: Connection | None) -> None:
        while True:
            connection, status = await _ask(self.place, connection, self.question.message)
            self.tally.count(moment, status)
            if not self._waiting:
                break
            moment = self._waiting.pop(0)
        if connection is not None:
            self._idle.append(connection)

    async def finish(self) -> None:
        """Wait for the answers that are due; those that do not come are failures."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=PATIENCE)
        unanswered = len(self._tasks) + len(self._waiting)
        if unanswered:
            self.tally.failed["unanswered"] += unanswered

    def close(self) -> None:
        """Close everything."""
        for task in self._tasks:
            task.cancel()
        for connection in self._idle:
            connection.close()


async def _ask(
    place: Place, connection: Connection | None, message: bytes
) -> tuple[Connection | None, int | str]:
    """Ask over a connection, a new one if need be; return it with the status."""
    try:
        if connection is None or not connection.usable:
            connection = await Connection.open(place)
        status, _ = await connection.ask(message)
        return connection, status
    except ConnectionRefusedError:
        return None, "unreachable"
    except OSError:
        return None, "connection lost"
