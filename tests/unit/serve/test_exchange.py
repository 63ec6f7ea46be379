"""Who answers: the thread that ran the model, the event loop, or nobody; never two of them."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from mojoaccel.serve.exchange import Exchange
from mojoaccel.serve.handler import Request
from mojoaccel.serve.refusal import Refusal
from mojoaccel.serve.statistics import Statistics

ANSWER = [np.arange(3, dtype=np.float32)]


class Model:
    """Keeps what it is given, until the test gives it the outputs."""

    def __init__(self):
        self.statistics = Statistics()
        self.name = self.version = "1"

    def add(self, arrays, answer, early):
        self.answer, self.early = answer, early

    def choose_outputs(self, request, results):
        return [("output", "FP32", results[0], True)]


class Wire:
    """Where an exchange writes: `direct` from the model's thread, `rest` from the loop."""

    def __init__(self, takes=10**6):
        self.takes, self.direct, self.rest = takes, [], []

    def send(self, data):
        self.direct.append(bytes(data[: self.takes]))
        return min(self.takes, len(data))

    def write(self, pieces):
        self.rest.append(b"".join(pieces))


def begun(wire, deadline=0.0):
    model = Model()
    call = SimpleNamespace(
        model=model, arrays=[], plan=None, began=0.0, request=SimpleNamespace(id=None)
    )
    handler = SimpleNamespace(
        authorize=lambda _: None,
        read_infer=lambda *_: call,
        service=SimpleNamespace(deadline=lambda _: deadline),
    )
    request = Request("POST", "/v2/models/1/infer", {}, b"")
    exchange = Exchange(handler, request, wire.write, wire.send)
    exchange.begin("1", "")
    return exchange, model


def run_early(model):
    thread = threading.Thread(target=model.early, args=(ANSWER,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("takes", [10**6, 40, 0])
def test_the_loop_sends_what_the_thread_could_not(takes):
    wire = Wire(takes)
    exchange, model = begun(wire)
    run_early(model)
    assert not exchange.done() and model.statistics.counts.latency.count == 0
    exchange.set_result(ANSWER)
    assert exchange.done() and model.statistics.counts.latency.count == 1
    whole = wire.direct[0] + wire.rest[0]
    assert whole.startswith(b"HTTP/1.1 200") and whole.endswith(ANSWER[0].tobytes())
    assert len(wire.direct) == len(wire.rest) == 1


def test_settled_before_the_loop_hears_of_it():
    """The client has its answer and asks again already."""
    wire = Wire()
    exchange, model = begun(wire)
    assert not exchange.settle()
    run_early(model)
    assert exchange.settle() and exchange.done() and wire.rest == [b""]
    assert exchange.settle() and len(wire.rest) == 1


def test_nothing_is_sent_to_a_client_that_left():
    wire = Wire()
    exchange, model = begun(wire)
    exchange.cancel()
    run_early(model)
    assert exchange.done() and not wire.direct and not wire.rest


@pytest.mark.parametrize("late", [True, False])
def test_a_deadline_answers_unless_the_thread_did(late):
    wire = Wire()

    async def go():
        exchange, model = begun(wire, deadline=0.01)
        if not late:
            run_early(model)
        await asyncio.sleep(0.05)
        if late:
            run_early(model)
        assert exchange.done()
        return model.statistics

    statistics = asyncio.run(go())
    if late:
        assert not wire.direct and wire.rest[0].startswith(b"HTTP/1.1 504")
        assert statistics.counts.failed == {504: 1}
    else:
        assert wire.direct[0].startswith(b"HTTP/1.1 200") and wire.rest == [b""]
        assert statistics.counts.latency.count == 1 and not statistics.counts.failed


def test_refusals_are_written_by_the_loop():
    wire = Wire()
    exchange, model = begun(wire)
    exchange.set_exception(Refusal(503, "full", 1))
    run_early(model)
    assert not wire.direct and b"retry-after: 1" in wire.rest[0] and len(wire.rest) == 1
