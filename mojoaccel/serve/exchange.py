"""An infer request and its answer over HTTP, by callbacks instead of a task.

A run of a few milliseconds empties the processor's caches, so whatever is executed around it is
executed cold, at a fraction of its speed: ASGI, a task, a future and their timers took half of a
request's overhead. `Connection` hands requests to this where nothing speaks against it.

Where the connection allows it, the outputs are sent by the thread that ran the model, and the event
loop hears of it afterwards; `_lock` decides which of the two answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mojoaccel.serve.asgi import head_bytes
from mojoaccel.serve.datatypes import Array
from mojoaccel.serve.handler import Handler, Request, pack, refused, write_infer
from mojoaccel.serve.model import as_refusal, elapsed
from mojoaccel.serve.refusal import Refusal
from mojoaccel.serve.service import Call

Write = Callable[[Sequence[Any]], None]
"""Sends an answer, given as bytes-like pieces."""
Send = Callable[[bytes], int]
"""Sends bytes from any thread; returns how many were taken."""


class Exchange:
    """A request being answered; it stands in the model's queue as `batching.Answer`."""

    __slots__ = (
        "_call", "_done", "_handler", "_lock", "_request", "_send", "_timer", "_unsent", "_write",
    )  # fmt: skip

    def __init__(
        self, handler: Handler, request: Request, write: Write, send: Send | None = None
    ) -> None:
        """Prepare to answer; `begin` does.

        Args:
            handler: Reads the request.
            request: It must be for `handler.infer_target`.
            write: Called once with the answer, unless the client leaves before.
            send: Sends the first bytes of the answer from the instance's thread, if that may be.
        """
        self._handler = handler
        self._request = request
        self._write = write
        self._send = send
        self._lock = threading.Lock()
        self._unsent: memoryview | None = None  # what `send` left; the answer has begun then
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._done = False

    def begin(self, name: str, version: str) -> None:
        """Read the request and queue it; what is wrong with it is answered at once."""
        handler = self._handler
        limit = 0.0
        try:
            handler.authorize(self._request)
            self._call = call = handler.read_infer(self._request, name, version)
            limit = handler.service.deadline(call.request)
            call.model.add(call.arrays, self, self._begin_sending if self._send else None)
        except Exception as e:
            self.set_exception(e)
        if limit and not self._done:
            late = Refusal(504, "the deadline has passed")
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limit, self.set_exception, late)

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._done

    def cancel(self) -> None:
        """The client has left: the request leaves the queue."""
        with self._lock:
            self._done = True
        if self._timer is not None:
            self._timer.cancel()

    def _begin_sending(self, results: Sequence[Array]) -> None:
        """Send the outputs from the instance's thread."""
        assert self._call is not None and self._send is not None
        try:
            data = b"".join(self._pieces(self._call, results))
        except Exception:
            return  # `set_result` meets it, too, and answers with it
        with self._lock:
            if not self._done:
                self._unsent = memoryview(data)[self._send(data) :]

    def settle(self) -> bool:
        """Finish an answer that the instance's thread began; False if there is none."""
        with self._lock:
            unsent = self._unsent
        if unsent is None:
            return False
        if not self._done:
            self._finish((unsent,) if unsent else ())
        return True

    def _finish(self, pieces: Sequence[Any]) -> None:
        self._done = True  # the instance's thread has looked at it
        if self._timer is not None:
            self._timer.cancel()
        self._write(pieces)
        assert self._call is not None
        self._call.model.statistics.add_answer(elapsed(self._call.began))

    def set_result(self, results: Sequence[Array]) -> None:
        """Send the outputs."""
        call = self._call
        assert call is not None
        if self.settle():
            return
        try:
            pieces = self._pieces(call, results)
        except Exception as e:
            self.set_exception(e)
            return
        self._finish(pieces)

    def _pieces(self, call: Call, results: Sequence[Array]) -> Sequence[Any]:
        plan, coding = call.plan, self._request.headers.get("accept-encoding", "")
        packed = coding in ("gzip", "deflate")
        if plan is not None and not packed:
            known = plan.answer_to(results)
            if known:
                return known
        response = write_infer(call, call.model.choose_outputs(call.request, results))
        pack(response, coding)
        head = head_bytes(response)
        if plan is not None and not packed:
            plan.remember(results, head, response.body)
        return (head, *response.body)

    def set_exception(self, exception: Exception) -> None:
        """Send why there are no outputs."""
        with self._lock:
            begun = self._unsent is not None
            self._done = self._done or not begun
        if begun:
            self.settle()
            return
        self.cancel()
        refusal = as_refusal(exception)
        response = refused(refusal)
        self._write((head_bytes(response), *response.body))
        if self._call is not None:
            call = self._call
            call.model.statistics.add_failure(refusal.status, elapsed(call.began))
