"""The queue of a model, with runs that end when the test says so."""

import asyncio
import threading

import numpy as np
import pytest

from mojoaccel.serve.batching import Batcher, BatchPolicy, Instance
from mojoaccel.serve.refusal import Refusal
from mojoaccel.serve.statistics import Statistics


class Held:
    """A run function that waits for `let`, and keeps what it was given."""

    def __init__(self):
        self.let = threading.Event()
        self.seen = []

    def __call__(self, inputs):
        assert self.let.wait(30)
        self.seen.append(float(inputs[0][0]))
        return [inputs[0] * 2]


def array(value):
    return [np.full(1, value, np.float32)]


async def answered(future):
    return float((await future)[0][0])


def test_who_left_is_not_run_and_holds_no_place():
    async def go():
        run, statistics = Held(), Statistics()
        queue = Batcher([Instance(run)], BatchPolicy(waiting=2), statistics)
        first = queue.submit(array(1))
        assert (queue.running, queue.waiting) == (1, 0)
        left, kept = queue.submit(array(2)), queue.submit(array(3))
        with pytest.raises(Refusal, match="2 requests wait"):
            queue.submit(array(4))
        left.cancel()
        assert queue.waiting == 1
        later = queue.submit(array(5))  # the place of the one that left
        assert queue.waiting == 2
        with pytest.raises(Refusal, match="queue is full"):
            queue.submit(array(6))
        run.let.set()
        assert [await answered(f) for f in (first, kept, later)] == [2, 6, 10]
        assert run.seen == [1, 3, 5] and statistics.batch.count == 3
        assert queue.idle and left.cancelled()
        queue.close()

    asyncio.run(go())


def test_everyone_left():
    async def go():
        run = Held()
        queue = Batcher([Instance(run)], BatchPolicy(waiting=1), Statistics())
        first, second = queue.submit(array(1)), queue.submit(array(2))
        first.cancel()  # runs already: its answer is thrown away
        second.cancel()
        third = queue.submit(array(3))
        third.cancel()
        run.let.set()
        while not queue.idle:
            await asyncio.sleep(0.001)
        assert run.seen == [1]
        assert await answered(queue.submit(array(4))) == 8
        queue.close()

    asyncio.run(go())
