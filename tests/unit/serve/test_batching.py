"""The queue of a model, with runs that end when the test says so."""

import asyncio
import threading
import time

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
        assert run.seen == [1, 3, 5] and statistics.counts.batch.count == 3
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


def test_a_request_that_comes_before_the_loop_hears_of_the_end():
    async def go():
        run, statistics = Held(), Statistics()
        queue = Batcher([Instance(run)], BatchPolicy(), statistics)
        first = queue.submit(array(1))
        time.sleep(0.01)  # long enough not to stay on the loop the next time
        run.let.set()
        while not queue._ended:
            time.sleep(0.001)  # the loop is not told meanwhile
        run.let.clear()
        second = queue.submit(array(2))
        assert (queue.running, queue.waiting) == (1, 0)
        assert first.done() and statistics.counts.batch.count == 1
        run.let.set()
        assert [await answered(f) for f in (first, second)] == [2, 4]
        assert queue.idle and statistics.counts.batch.count == 2
        queue.close()

    asyncio.run(go())


def gathered(policy, inputs):
    """Submit inputs while an instance is busy; return the shapes of the runs they ended in."""
    shapes, held = [], Held()

    def run(arrays):
        held.let.wait(30)
        shapes.append([a.shape for a in arrays])
        return [arrays[0] * 2]

    async def go():
        queue = Batcher([Instance(run)], policy, Statistics())
        first = queue.submit([np.zeros((1, 3), np.float32)] * 2)
        answers = [queue.submit(i) for i in inputs]
        held.let.set()
        await first
        for given, answer in zip(inputs, answers, strict=True):
            np.testing.assert_array_equal((await answer)[0], given[0] * 2)
        queue.close()

    asyncio.run(go())
    return shapes[1:]


def pairs(*shapes):
    """Return requests of two inputs each, with values of their own."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(s), rng.standard_normal(s)] for s in shapes]


def test_only_shapes_that_agree_are_joined():
    """Lengths 5 and 7 never meet in a batch, and none is larger than allowed."""
    asked = pairs((1, 5), (2, 7), (1, 5), (3, 7), (4, 5), (1, 7), (3, 5))
    runs = gathered(BatchPolicy(rows=6), asked)
    assert sorted(r[0] for r in runs) == [(3, 5), (6, 5), (6, 7)]
    assert all(a == b for a, b in runs)


def test_one_input_that_differs_keeps_requests_apart():
    asked = [
        [np.ones((1, 4)), np.ones((1, 8))],
        [np.ones((1, 4)), np.ones((1, 9))],
        [np.ones((1, 4)), np.ones((1, 8))],
    ]
    assert gathered(BatchPolicy(rows=8), asked) == [[(2, 4), (2, 8)], [(1, 4), (1, 9)]]


def test_without_a_batch_axis_everyone_runs_alone():
    assert len(gathered(BatchPolicy(), pairs((2, 2), (2, 2), (2, 2)))) == 3
