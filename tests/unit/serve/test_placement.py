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
