"""On which processors the threads of the server run.

Every thread of the instances gets a processor of its own, where together they fill the machine. A
session's threads work in step, so two of them on one processor halve its speed. Some kernels
wake a thread where its waker runs and move it only after milliseconds: on a virtual machine of 2
processors a run of MiniLM took 14 or 28 ms from one request to the next, and 14 ms since this.

Where there are more processors than threads, `Colocation` moves the event loop for a while.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from mojoaccel.artifact.host import usable_processors

ALONE = 16
"""Runs of one instance, each for a request that met no other, before the loop is moved."""
MOST_ALONE = 1024
"""The same where the processor turned out to be wanted by others, too."""
LOST_SHARE = 0.05
LOST_SECONDS = 0.0005
"""Of a run's time that its thread is without the processor."""
LOST_RUNS = 3
"""Runs in a row that lose more; it means that others want the processor, too."""


EVERYWHERE = tuple(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()
"""The processors of this process."""


def share_of(instance: int, instances: int, threads: int) -> tuple[int, ...]:
    """Return the processors of one instance's threads; the first is for the one that calls.

    Empty where threads are better left alone: they are fewer or more than the processors, or a
    quota leaves this process less than the processors it sees, which others then use, too.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    processors = sorted(os.sched_getaffinity(0))
    if instances * threads != len(processors) or usable_processors() != len(processors):
        return ()
    return tuple(processors[instance * threads :][:threads])


@contextlib.contextmanager
def placing(processors: tuple[int, ...]) -> Iterator[None]:
    """Put the threads that are started inside on all processors but the first, in turn."""
    before = _threads() if processors else set()
    yield
    if not processors:
        return
    for thread, processor in zip(sorted(_threads() - before), processors[1:], strict=False):
        _put(thread, processor)


def place_caller(processors: tuple[int, ...]) -> None:
    """Put the calling thread on the first processor, anywhere without one."""
    if processors:
        _put(0, processors[0])
    else:
        roam()


def roam() -> None:
    """Let the calling thread run anywhere: it may have been started by a thread that may not."""
    if EVERYWHERE:
        _put(0, *EVERYWHERE)


class Colocation:
    """Keeps the event loop on the processor of an instance's thread while requests come singly.

    The two never work at the same time then, but wake each other, and a processor that rests takes
    50 us to wake on a virtual machine. As soon as requests meet, or somebody else wants that
    processor, both may run anywhere again.

    Attributes:
        together: Whether they are on one processor.
    """

    def __init__(self, *, movable: bool) -> None:
        """Leave them apart at first; call it on the event loop's thread, as all that follows.

        Args:
            movable: Whether they may be moved at all.
        """
        self.together = False
        self._loop = threading.get_native_id()
        self._thread = 0
        self._alone = 0
        self._lost = 0
        self._wanted = ALONE if movable and len(EVERYWHERE) > 1 else math.inf

    def begin(self, thread: int) -> None:
        """Note that an instance's thread begins to run while no other request is here."""
        if thread != self._thread:
            self.part()
            self._thread = thread
        self._alone += 1
        if self._alone >= self._wanted and not self.together:
            self.together = True
            with contextlib.suppress(OSError):  # no /proc
                processor = _processor_of(thread)
                _put(thread, processor)
                _put(self._loop, processor)

    def part(self) -> None:
        """Let both run anywhere: requests have met."""
        self._alone = 0
        if self.together:
            self.together = False
            for thread in (self._thread, self._loop):
                _put(thread, *EVERYWHERE)

    def judge(self, used: float, taken: float) -> None:
        """Part them if runs that took some seconds have their processor for fewer."""
        lost = taken - used > max(taken * LOST_SHARE, LOST_SECONDS)
        self._lost = self._lost + 1 if self.together and lost else 0
        if self._lost == LOST_RUNS:
            self.part()
            self._wanted = min(2 * self._wanted, MOST_ALONE)


def _processor_of(thread: int) -> int:
    """Return where a thread ran last."""
    stat = Path(f"/proc/self/task/{thread}/stat").read_text("ascii", "replace")
    return int(stat.rpartition(")")[2].split()[36])


def _threads() -> set[int]:
    return {int(p.name) for p in Path("/proc/self/task").iterdir()}


def _put(thread: int, *processors: int) -> None:
    with contextlib.suppress(OSError):  # forbidden here, or the thread has ended: it is only slower
        os.sched_setaffinity(thread, processors)
