"""Gives every thread of the instances a processor of its own, where together they fill the machine.

A session's threads work in step, so two of them on one processor halve its speed. Some kernels
wake a thread where its waker runs and move it only after milliseconds: on a virtual machine of 2
processors a run of MiniLM took 14 or 28 ms from one request to the next, and 14 ms since this.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mojoaccel.artifact.host import usable_processors


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
    """Put the calling thread on the first processor."""
    if processors:
        _put(0, processors[0])


def _threads() -> set[int]:
    return {int(p.name) for p in Path("/proc/self/task").iterdir()}


def _put(thread: int, processor: int) -> None:
    with contextlib.suppress(OSError):  # forbidden here, or the thread has ended: it is only slower
        os.sched_setaffinity(thread, {processor})
