"""On which processors the threads of the instances are put."""

import os
import threading

import pytest

from mojoaccel.serve import placement


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5, 7}, raising=False)
    monkeypatch.setattr(placement, "usable_processors", lambda: 4)


def test_shares_fill_the_machine_or_are_none(four, monkeypatch):
    assert placement.share_of(0, 1, 4) == (1, 3, 5, 7)
    assert [placement.share_of(i, 2, 2) for i in range(2)] == [(1, 3), (5, 7)]
    assert placement.share_of(0, 1, 3) == () and placement.share_of(0, 2, 4) == ()
    monkeypatch.setattr(placement, "usable_processors", lambda: 2)  # a quota
    assert placement.share_of(0, 1, 4) == ()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_threads_are_placed():
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("needs two processors")
    found, stop = {}, threading.Event()

    def caller():
        placement.place_caller(tuple(processors[:2]))
        found["caller"] = os.sched_getaffinity(0)

    worker = threading.Thread(target=stop.wait)
    with placement.placing(tuple(processors[:2])):
        worker.start()
    try:
        assert os.sched_getaffinity(worker.native_id) == {processors[1]}
    finally:
        stop.set()
        worker.join()
    thread = threading.Thread(target=caller)
    thread.start()
    thread.join()
    assert found["caller"] == {processors[0]}
    assert os.sched_getaffinity(0) == set(processors)


@pytest.mark.skipif(len(placement.EVERYWHERE) < 2, reason="needs two processors")
def test_the_loop_is_beside_the_model_while_requests_come_singly():
    stop, found = threading.Event(), []
    threads = [threading.Thread(target=stop.wait) for _ in "ab"]
    for thread in threads:
        thread.start()
    first, second = (t.native_id for t in threads)
    own = threading.get_native_id()

    def where():
        return [os.sched_getaffinity(t) for t in (own, first, second)]

    every = set(placement.EVERYWHERE)
    colocation = placement.Colocation(movable=True)
    try:
        for run in range(2 * placement.ALONE):
            assert colocation.together == (run >= placement.ALONE)
            colocation.begin(first)
        loop, beside, other = where()
        assert len(loop) == 1 and loop == beside and other == every
        started = threading.Thread(
            target=lambda: found.append((placement.roam(), os.sched_getaffinity(0))[1])
        )
        started.start()
        started.join()
        assert found == [every]
        colocation.begin(second)
        assert where() == [every] * 3 and not colocation.together
        for _ in range(placement.ALONE):
            colocation.begin(second)
        colocation.judge(0.99, 1.0)
        colocation.judge(0.0001, 0.0003)  # waiting for the interpreter
        assert colocation.together
        for seconds in (0.5, 0.5, 1.0, 0.5, 0.5):  # now and then somebody else had the processor
            colocation.judge(seconds, 1.0)
        assert colocation.together
        colocation.judge(0.5, 1.0)
        assert where() == [every] * 3 and not colocation.together
        for _ in range(placement.ALONE):
            colocation.begin(second)
        assert not colocation.together  # it is tried again later than before
    finally:
        colocation.part()
        stop.set()
        for thread in threads:
            thread.join()
    fixed = placement.Colocation(movable=False)
    for _ in range(2 * placement.ALONE):
        fixed.begin(own)
    assert not fixed.together
