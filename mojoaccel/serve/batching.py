"""Joins waiting requests along the batch axis and runs them on the instances of a model.

Everything here but what `Instance._work` calls happens on the event loop's thread, so nothing is
locked. A batch forms while the instances are busy; beyond that a request waits at most the set
delay. When a batch is done, the next one is started before the answers are given: writing them
takes time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from mojoaccel.errors import MojoaccelError
from mojoaccel.serve.datatypes import Array
from mojoaccel.serve.placement import Colocation, place_caller
from mojoaccel.serve.refusal import Refusal
from mojoaccel.serve.statistics import Spans, Statistics

INLINE_SECONDS = 60e-6
"""A run shorter than a hand-over to a thread and back (measured: 60 to 90 us) stays on the loop."""

AWAKE_SHARE = 0.01
"""Of a run's time that the loop stays awake after it: a client that waited asks again at once, and
waking a thread takes 0.1 ms on a virtual machine."""
AWAKE_SECONDS = 0.001

Key = tuple[tuple[int, ...], ...]
Run = Callable[[Sequence[Array]], list[Array]]
Outcome = list[Array] | Exception
Early = Callable[[list[Array]], None]


class Answer(Protocol):
    """Who waits for the outputs: a future, or whoever writes them at once."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: list[Array], /) -> None:
        """Take the outputs."""

    def set_exception(self, exception: Exception, /) -> None:
        """Take the reason why there are none."""


@dataclass(slots=True)
class Item:
    """A request in the queue.

    Attributes:
        inputs: Its arrays, in the signature's order.
        rows: Its size on the batch axis; 1 where there is none.
        answer: Receives the outputs, unless it is done: then nobody wants them.
        arrived: `time.perf_counter` when it came.
        early: May send the outputs from the instance's thread, before `answer` gets them.
    """

    inputs: Sequence[Array]
    rows: int
    answer: Answer
    arrived: float
    early: Early | None = None


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How requests are joined.

    Attributes:
        rows: Largest batch; 0 if the model has no batch axis and requests run alone.
        delay: Seconds that a request may wait for others.
        waiting: Requests that may wait before new ones are refused.
    """

    rows: int = 0
    delay: float = 0.0
    waiting: int = 1024


@dataclass(slots=True)
class Instance:
    """A session and the thread that runs it.

    Attributes:
        run: Runs the model.
        processors: Those of its threads; empty: any.
        jobs: What the thread does next; None ends it.
        thread: The system's number of the thread.
    """

    run: Run
    processors: tuple[int, ...] = ()
    jobs: queue.SimpleQueue[Callable[[], None] | None] = field(default_factory=queue.SimpleQueue)
    thread: int = 0

    def start(self) -> None:
        """Start the thread."""
        thread = threading.Thread(target=self._work, name="maccel-instance", daemon=True)
        thread.start()
        self.thread = thread.native_id or 0

    def _work(self) -> None:
        place_caller(self.processors)
        while (job := self.jobs.get()) is not None:
            job()


class Ended(NamedTuple):
    """A run that is over.

    Attributes:
        instance: Who ran it.
        key: Of its group.
        batch: The requests in it.
        began: `time.perf_counter` when it was started.
        outcomes: What each of them gets.
        spans: The seconds that it took.
        used: The seconds for which its thread had a processor.
    """

    instance: Instance
    key: Key
    batch: list[Item]
    began: float
    outcomes: Sequence[Outcome]
    spans: Spans
    used: float


class Batcher:
    """The queue of one model."""

    def __init__(
        self,
        instances: Sequence[Instance],
        policy: BatchPolicy,
        statistics: Statistics,
        colocation: Colocation | None = None,
    ) -> None:
        """Start the instances; call it on the event loop's thread.

        Args:
            instances: Who runs the model.
            policy: How requests are joined.
            statistics: Counts what is run.
            colocation: Moves the loop, where instances have one thread and no processors of theirs.
        """
        self.policy = policy
        self.statistics = statistics
        self.loop = asyncio.get_running_loop()
        self.running = 0
        self._colocation = colocation or Colocation(movable=False)
        self._queued = 0
        self._groups: dict[Key, deque[Item]] = {}
        self._quick: dict[Key, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._instances = list(instances)
        self._free = list(self._instances)
        self._ended: deque[Ended] = deque()
        for instance in self._instances:
            instance.start()

    def submit(self, inputs: Sequence[Array]) -> asyncio.Future[list[Array]]:
        """Queue a request; cancelling the future takes it out again.

        Raises:
            Refusal: The queue is full (503).
        """
        answer: asyncio.Future[list[Array]] = self.loop.create_future()
        self.add(inputs, answer)
        return answer

    def add(self, inputs: Sequence[Array], answer: Answer, early: Early | None = None) -> None:
        """Queue a request; it is taken out again if its answer is done before it runs.

        Args:
            inputs: The arrays.
            answer: Gets the outputs, on the event loop's thread.
            early: Called with them on the instance's thread before, if nobody else waits.

        Raises:
            Refusal: The queue is full (503).
        """
        if self._queued >= self.policy.waiting:
            self._drop_abandoned()
        if self._queued >= self.policy.waiting:
            raise Refusal(503, f"the queue is full: {self._queued} requests wait", 1)
        if self.policy.rows:
            rows = inputs[0].shape[0]
            key: Key = tuple([a.shape[1:] for a in inputs])
        else:
            rows, key = 1, tuple([a.shape for a in inputs])
        item = Item(inputs, rows, answer, time.perf_counter(), early)
        if self._ended:  # a client that has its answer asks again before the loop hears of it
            self._finish_ended()
        if self._free and not self._groups and not self.policy.delay:
            self._start(self._free.pop(), key, [item])
            return
        self._colocation.part()
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = deque()
        group.append(item)
        self._queued += 1
        self._pump()

    @property
    def waiting(self) -> int:
        """Requests in the queue whose answer somebody wants."""
        return sum(not i.answer.done() for group in self._groups.values() for i in group)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._queued and not self.running

    def close(self) -> None:
        """End the threads once their work is done; nothing may be submitted afterwards."""
        if self._timer is not None:
            self._timer.cancel()
        for instance in self._instances:
            instance.jobs.put(None)

    def _pump(self) -> None:
        """Start whatever may start now."""
        while self._free and self._groups:
            key = self._choose()
            if key is None:
                return
            batch = self._take(key)
            if batch:
                self._start(self._free.pop(), key, batch)

    def _choose(self) -> Key | None:
        """Return the group whose turn it is; set a timer if all may wait for company."""
        oldest = min(self._groups, key=lambda k: self._groups[k][0].arrived)
        policy = self.policy
        if not policy.rows or not policy.delay:
            return oldest
        ready = self._groups[oldest][0].arrived + policy.delay
        now = time.perf_counter()
        if now >= ready:
            return oldest
        for key, group in self._groups.items():
            if sum(i.rows for i in group if not i.answer.done()) >= policy.rows:
                return key
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(ready - now, self._pump)
        return None

    def _take(self, key: Key) -> list[Item]:
        """Take a batch from a group, oldest first; requests nobody waits for are dropped."""
        group = self._groups[key]
        batch: list[Item] = []
        rows = 0
        limit = self.policy.rows
        while group:
            item = group[0]
            if item.answer.done():
                group.popleft()
                self._queued -= 1
                continue
            if batch and (not limit or rows + item.rows > limit):
                break
            batch.append(group.popleft())
            self._queued -= 1
            rows += item.rows
        if not group:
            del self._groups[key]
        return batch

    def _drop_abandoned(self) -> None:
        """Make room: take out the requests that nobody waits for."""
        for key in list(self._groups):
            kept = deque(i for i in self._groups[key] if not i.answer.done())
            self._queued -= len(self._groups[key]) - len(kept)
            self._groups[key] = kept
            if not kept:
                del self._groups[key]

    def _start(self, instance: Instance, key: Key, batch: list[Item]) -> None:
        began = time.perf_counter()
        rows = sum([i.rows for i in batch])
        self.running += 1
        if rows <= self._quick.get(key, 0):
            self._colocation.part()
            outcomes, spans = _run(instance.run, batch)
            self._release(instance)
            self._answer(Ended(instance, key, batch, began, outcomes, spans, 0.0))
            return

        def work() -> None:
            before = time.thread_time()
            outcomes, spans = _run(instance.run, batch)
            used = time.thread_time() - before
            early, outcome = batch[0].early, outcomes[0]
            if early and len(batch) == 1 and not self._queued and isinstance(outcome, list):
                early(outcome)  # waking the loop first would cost the client that time
            self._ended.append(Ended(instance, key, batch, began, outcomes, spans, used))
            self.loop.call_soon_threadsafe(self._hear_of_end, spans.total)

        self._colocation.begin(instance.thread)
        instance.jobs.put(work)

    def _hear_of_end(self, seconds: float) -> None:
        """Go on after a run of so many seconds, unless a request that came since has done it."""
        self._finish_ended()
        if not self.running:
            self._stay_awake(min(seconds * AWAKE_SHARE, AWAKE_SECONDS))

    def _finish_ended(self) -> None:
        """Free the instances whose runs are over, start what waited for them, then answer."""
        while self._ended:
            run = self._ended.popleft()
            self._release(run.instance)
            self._colocation.judge(run.used, run.spans.total)
            self._pump()
            self._answer(run)

    def _stay_awake(self, seconds: float) -> None:
        """Poll instead of sleeping for a moment, or until a run needs the processor."""
        until = time.perf_counter() + seconds

        def poll() -> None:
            if not self.running and time.perf_counter() < until:
                self.loop.call_soon(poll)

        self.loop.call_soon(poll)

    def _release(self, instance: Instance) -> None:
        self._free.append(instance)
        self.running -= 1

    def _answer(self, run: Ended) -> None:
        """Give everyone in a batch their rows; what is counted can wait until they have them."""
        for item, outcome in zip(run.batch, run.outcomes, strict=True):
            if item.answer.done():
                continue
            if isinstance(outcome, Exception):
                item.answer.set_exception(outcome)
            else:
                item.answer.set_result(outcome)
        rows = sum([i.rows for i in run.batch])
        waited = [run.began - i.arrived for i in run.batch]
        self.statistics.add_batch(rows, waited, run.spans)
        self._remember_speed(run.key, rows, run.spans.total)

    def _remember_speed(self, key: Key, rows: int, seconds: float) -> None:
        """Keep which batches are so short that a thread would only slow them down."""
        if seconds <= INLINE_SECONDS:
            if len(self._quick) > 1000:
                self._quick.clear()
            self._quick[key] = max(rows, self._quick.get(key, 0))
        elif seconds > 4 * INLINE_SECONDS and rows <= self._quick.get(key, 0):
            self._quick.pop(key)


def _run(run: Run, batch: Sequence[Item]) -> tuple[list[Outcome], Spans]:
    """Join, run, share out; return what everyone gets, and the seconds it took."""
    clock = time.perf_counter
    began = clock()
    if len(batch) == 1:
        outcome = _attempt(run, batch[0].inputs)
        return [outcome], Spans(0.0, clock() - began, 0.0)
    try:
        joined = [np.concatenate(c) for c in zip(*(i.inputs for i in batch), strict=True)]
        ready = clock()
        outputs = run(joined)
    except (MojoaccelError, MemoryError):
        # One request may be to blame, such as by an index out of range: the others get answers.
        outcomes = [_attempt(run, i.inputs) for i in batch]
        return outcomes, Spans(0.0, clock() - began, 0.0)
    except Exception as e:
        return [e] * len(batch), Spans(0.0, clock() - began, 0.0)
    done = clock()
    outcomes = []
    at = 0
    for item in batch:
        outcomes.append([o[at : at + item.rows] for o in outputs])
        at += item.rows
    return outcomes, Spans(ready - began, done - ready, clock() - done)


def _attempt(run: Run, inputs: Sequence[Array]) -> Outcome:
    try:
        return run(inputs)
    except Exception as e:
        return e
