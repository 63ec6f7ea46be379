"""The server's operations, without any transport: HTTP, gRPC and Ray call the same ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mojoaccel.serve.codec import InferRequest
from mojoaccel.serve.datatypes import Array
from mojoaccel.serve.model import ServedModel, as_refusal, elapsed
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.plans import Plan
from mojoaccel.serve.refusal import Refusal, bad
from mojoaccel.serve.repository import Repository

EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics", "model_repository")
PATIENCE = 0.01
"""Seconds before a request is watched for its client leaving; most are answered sooner."""

Gone = Callable[[], Awaitable[None]]
"""Returns when the client has left."""
Arranged = tuple[InferRequest, list[Array], Plan | None]
Tensors = list[tuple[str, str, Array, bool]]


@dataclass(slots=True)
class Call:
    """An infer request that fits its model.

    Attributes:
        model: The model.
        request: What is asked for.
        arrays: The inputs, in the signature's order.
        began: `time.perf_counter` when it came.
        plan: How it was read, if requests like it came before.
    """

    model: ServedModel
    request: InferRequest
    arrays: list[Array]
    began: float
    plan: Plan | None = None


class Service:
    """What clients can ask for.

    Attributes:
        options: The server's.
        repository: Its models.
        draining: Whether it is about to stop.
        active: Requests being answered.
    """

    def __init__(self, options: ServeOptions, repository: Repository) -> None:
        """Serve the models of a repository."""
        self.options = options
        self.repository = repository
        self.draining = False
        self.loading = True
        self.active = 0
        self._guards: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return not self.draining and not self.loading

    def metadata(self) -> dict[str, Any]:
        """Return ``GET /v2``."""
        from mojoaccel import __version__

        return {"name": "mojoaccel", "version": __version__, "extensions": list(EXTENSIONS)}

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        """Return ``GET /v2/models/M``."""
        model = self.repository.find(name, version)
        return model.metadata(self.repository.versions(name))

    def model_statistics(self, name: str, version: str) -> dict[str, Any]:
        """Return ``GET /v2/models/M/stats``; without a name, of every model."""
        models = [self.repository.find(name, version)] if name else self.repository.loaded()
        return {"model_stats": [m.statistics.counts.to_json(m.name, m.version) for m in models]}

    def read(self, name: str, version: str, decode: Callable[[ServedModel], Arranged]) -> Call:
        """Read a request for a model.

        Args:
            name: The model.
            version: Its version; empty for the highest.
            decode: Returns what is asked for, the arrays that fit, and the plan if there is one.

        Raises:
            Refusal: There is no such model, or what `decode` raises.
        """
        model = self.repository.find(name, version)
        began = time.perf_counter()
        try:
            request, arrays, plan = decode(model)
        except Refusal as e:
            model.statistics.add_failure(e.status, elapsed(began))
            raise
        return Call(model, request, arrays, began, plan)

    async def answer(self, call: Call, gone: Gone | None = None) -> Tensors:
        """Run a model.

        Args:
            call: What is asked for.
            gone: Tells when nobody waits for the answer any more.

        Raises:
            Refusal: Why there is no answer.
            asyncio.CancelledError: Nobody waits any more.
        """
        try:
            results = await self.run(call.model, call.arrays, call.request, gone)
        except Refusal as e:
            call.model.statistics.add_failure(e.status, elapsed(call.began))
            raise
        call.model.statistics.add_answer(elapsed(call.began))
        return call.model.choose_outputs(call.request, results)

    async def run(
        self,
        model: ServedModel,
        arrays: list[Array],
        request: InferRequest | None = None,
        gone: Gone | None = None,
    ) -> list[Array]:
        """Queue a run and wait for it, no longer than the deadline or the client.

        Raises:
            Refusal: Why there is no answer.
        """
        limit = self.deadline(request)
        answer = model.submit(arrays)
        if answer.done():
            return _result(answer)
        self.active += 1
        loop = asyncio.get_running_loop()
        wait = min(PATIENCE, limit) if limit else PATIENCE
        timer = loop.call_later(wait, self._guard, answer, limit - wait if limit else None, gone)
        try:
            return await answer
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except Exception as e:
            raise as_refusal(e) from e
        finally:
            timer.cancel()
            self.active -= 1

    def deadline(self, request: InferRequest | None) -> float:
        """Return the seconds a request has: the server's limit, or less if it says so; 0: all.

        Raises:
            Refusal: What it says is no time.
        """
        limit = self.options.timeout
        asked = request.parameters.get("timeout") if request else None
        if asked is None:
            return limit
        if type(asked) is not int or asked < 0:
            raise bad("parameter 'timeout' must be a number of microseconds")
        return min(asked / 1e6, limit or asked / 1e6)

    def _guard(
        self, answer: asyncio.Future[list[Array]], left: float | None, gone: Gone | None
    ) -> None:
        """Watch over a request that takes long."""

        async def watch() -> None:
            watched: set[asyncio.Future[Any]] = {answer}
            leaving = asyncio.ensure_future(gone()) if gone else None
            if leaving is not None:
                watched.add(leaving)
            try:
                await asyncio.wait(watched, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    return
                if leaving is not None and leaving.done():
                    answer.cancel()
                else:
                    answer.set_exception(Refusal(504, "the deadline has passed"))
            finally:
                if leaving is not None:
                    leaving.cancel()

        if not answer.done():
            task = asyncio.get_running_loop().create_task(watch())
            self._guards.add(task)
            task.add_done_callback(self._guards.discard)


def _result(answer: asyncio.Future[list[Array]]) -> list[Array]:
    found = answer.exception()
    if found is not None:
        raise as_refusal(found) from found
    return answer.result()
