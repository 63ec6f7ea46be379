"""An infer request and its answer over HTTP, by callbacks instead of a task.

A run of a few milliseconds empties the processor's caches, so whatever is executed around it is
executed cold, at a fraction of its speed: ASGI, a task, a future and their timers took half of a
request's overhead. `Connection` hands requests to this where nothing speaks against it.
"""

from __future__ import annotations

import asyncio
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


class Exchange:
    """A request being answered; it stands in the model's queue as `batching.Answer`."""

    __slots__ = ("_call", "_done", "_handler", "_request", "_timer", "_write")

    def __init__(self, handler: Handler, request: Request, write: Write) -> None:
        """Prepare to answer; `begin` does.

        Args:
            handler: Reads the request.
            request: It must be for `handler.infer_target`.
            write: Called once with the answer, unless the client leaves before.
        """
        self._handler = handler
        self._request = request
        self._write = write
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
            call.model.add(call.arrays, self)
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
        self._done = True
        if self._timer is not None:
            self._timer.cancel()

    def set_result(self, results: Sequence[Array]) -> None:
        """Send the outputs."""
        call = self._call
        assert call is not None
        try:
            pieces = self._pieces(call, results)
        except Exception as e:
            self.set_exception(e)
            return
        self.cancel()
        self._write(pieces)
        call.model.statistics.add_answer(elapsed(call.began))

    def _pieces(self, call: Call, results: Sequence[Array]) -> Sequence[Any]:
        plan, coding = call.plan, self._request.headers.get("accept-encoding", "")
        packed = coding in ("gzip", "deflate")
        if plan is not None and not packed:
            known = plan.answer_to(results)
            if known:
                return (known, *results)
        response = write_infer(call, call.model.choose_outputs(call.request, results))
        pack(response, coding)
        head = head_bytes(response)
        if plan is not None and not packed:
            plan.remember(results, head + response.body[0])
        return (head, *response.body)

    def set_exception(self, exception: Exception) -> None:
        """Send why there are no outputs."""
        self.cancel()
        refusal = as_refusal(exception)
        response = refused(refusal)
        self._write((head_bytes(response), *response.body))
        if self._call is not None:
            call = self._call
            call.model.statistics.add_failure(refusal.status, elapsed(call.began))
