"""Turns and worker processes, with real processes that need no torch."""

import time

import pytest

from mojoaccel.bench import worker
from mojoaccel.bench.process import WorkerFailed, WorkerProcess
from mojoaccel.bench.timing import ROUNDS, Contender, Track, choose_rounds, cold_start


@pytest.fixture
def process(tmp_path):
    found = WorkerProcess(tmp_path, 1, tmp_path / "log")
    yield found
    found.close()


def test_rounds_shrink_for_slow_runs():
    assert choose_rounds(5.0, 0.001) == ROUNDS
    assert choose_rounds(5.0, 0.5) == 5
    assert choose_rounds(5.0, 60.0) == 3
    assert choose_rounds(5.0, 0.0) == ROUNDS


def test_cold_start_leaves_out_the_first_unless_it_is_alone():
    starts = [{"total": t} for t in (9.0, 0.3, 0.2)]
    assert cold_start(starts) == {"total": 0.2}
    assert cold_start(starts[:1]) == {"total": 9.0}
    assert cold_start([]) is None


def test_a_failed_request_says_why_and_the_worker_lives_on(process, tmp_path):
    request = {
        "runner": "mojoaccel",
        "artifact": str(tmp_path / "none.maccel"),
        "threads": 1,
        "engine": "mojo",
    }
    with pytest.raises(WorkerFailed, match=r"none\.maccel does not exist") as found:
        process.ask("open", 30.0, **request)
    assert found.value.code == "MA601"
    assert process.ask("memory", 30.0)["bytes"] > 1_000_000


def test_a_worker_that_does_not_answer_is_stopped(process, monkeypatch):
    began = time.monotonic()
    with pytest.raises(WorkerFailed, match="stopped after 0 s"):
        process.ask("memory", 0.0)
    assert time.monotonic() - began < 5
    with pytest.raises(WorkerFailed):
        process.ask("memory", 5.0)


def test_a_worker_that_dies_says_how(tmp_path):
    process = WorkerProcess(tmp_path, 1, tmp_path / "log")
    process.ask("memory", 30.0)
    process._process.kill()
    with pytest.raises(WorkerFailed, match="SIGKILL"):
        process.ask("memory", 30.0)
    process.close()
    process.close()


def test_a_contender_that_fails_becomes_a_row_not_an_exception(tmp_path):
    said = []
    track = Track(tmp_path, 1, 30.0, None, said.append)
    task = {
        "runner": "mojoaccel",
        "artifact": str(tmp_path / "none"),
        "threads": 1,
        "engine": "mojo",
    }
    contender = Contender("mojoaccel", task)
    track.open(contender)
    assert contender.failure and contender.code == "MA601" and contender.process is None
    track.restart(contender)
    assert contender.starts == []
    assert said == ["starting mojoaccel"]


def test_windows_last_long_enough_but_end_at_the_deadline():
    times = worker._window(lambda: time.sleep(0.001), 5_000_000, 2, None)
    assert sum(times) >= 5_000_000 and len(times) >= 2
    assert len(worker._window(lambda: None, 0, 7, None)) == 7
    assert len(worker._window(lambda: None, 10**12, 7, time.perf_counter_ns())) == 1


def test_a_busy_thread_is_noticed():
    import threading

    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        worker_quiet = worker.QUIET_SECONDS
        worker.QUIET_SECONDS = 0.05
        assert worker._wait_until_quiet() == {"quiet": False}
    finally:
        worker.QUIET_SECONDS = worker_quiet
        stop.set()
        thread.join()
    assert worker._wait_until_quiet() == {"quiet": True}
