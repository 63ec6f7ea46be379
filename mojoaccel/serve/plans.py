"""Remembers how to read requests that begin with the same JSON.

A client that sends binary tensors sends the same JSON before them again and again, as long as the
shapes stay the same and it numbers no requests. What follows from those bytes alone is kept: where
each tensor lies, what is wanted, and the JSON of the answer. After a long run the processor's
caches hold nothing of the server, so code that is not run counts most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mojoaccel.serve.codec import InferRequest
from mojoaccel.serve.datatypes import WIRE, Array

KEPT = 64
"""Plans that a model remembers."""
MAX_BYTES = 4096
"""Bytes of JSON that are worth remembering."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where an input lies.

    Attributes:
        kind: numpy's type.
        shape: Its sizes.
        start: Its first byte, counted from the end of the JSON.
        end: Behind its last byte.
    """

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int

    def read(self, body: bytes | bytearray, length: int) -> Array:
        """Return the array of a body whose JSON has `length` bytes; it is copied if unaligned."""
        start = length + self.start
        if start % self.kind.itemsize:
            body, start = body[start : length + self.end], 0
        return np.ndarray(self.shape, self.kind, body, start)


@dataclass(slots=True)
class Plan:
    """How to read a request, and how to begin its answer.

    Attributes:
        request: What is asked for, without its tensors.
        parts: Where the inputs lie, in the signature's order.
        size: Bytes behind the JSON.
        binary: Whether every output is wanted, binary.
        answer: Shapes of outputs, and everything of their answer before the tensors.
    """

    request: InferRequest
    parts: tuple[Part, ...]
    size: int
    binary: bool
    answer: tuple[tuple[tuple[int, ...], ...], bytes] = ((), b"")

    def read(self, body: bytes | bytearray, length: int) -> list[Array]:
        """Return the inputs of a body whose JSON has `length` bytes."""
        return [part.read(body, length) for part in self.parts]

    def answer_to(self, outputs: Sequence[Array]) -> bytes:
        """Return what goes before the outputs; empty if that was never written for their shapes."""
        shapes, answer = self.answer  # at once: another thread may remember another
        return answer if shapes == tuple([o.shape for o in outputs]) else b""

    def remember(self, outputs: Sequence[Array], answer: bytes) -> None:
        """Keep what goes before outputs of such shapes, where nothing goes between them."""
        if self.binary:
            self.answer = (tuple([o.shape for o in outputs]), answer)


def make_plan(request: InferRequest, inputs: Iterable[str], outputs: Sequence[str]) -> Plan | None:
    """Return how to read requests like one that was read and fits the model.

    Args:
        request: The request.
        inputs: Names of the model's inputs, in the signature's order.
        outputs: Names of its outputs.

    Returns:
        None where the JSON holds what the next request has otherwise.
    """
    if request.id is not None or not request.raw:
        return None
    parts, at = {}, 0
    for tensor in request.inputs:
        shape = tensor.array.shape
        end = at + math.prod(shape) * WIRE[tensor.datatype].itemsize
        parts[tensor.name] = Part(WIRE[tensor.datatype], shape, at, end)
        at = end
    every = not request.outputs or set(request.outputs) == set(outputs)
    binary = every and all(request.wants_binary(o) for o in outputs)
    asked = replace(request, inputs=())
    return Plan(asked, tuple(parts[n] for n in inputs), at, binary)


class Plans:
    """The plans of one model, by the JSON."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[bytes, Plan] = {}

    def find(self, body: bytes | bytearray, length: int) -> Plan | None:
        """Return the plan for a body, if its JSON came before."""
        if length > MAX_BYTES:
            return None
        found = self._known.get(bytes(memoryview(body)[:length]))
        return found if found is not None and len(body) - length == found.size else None

    def keep(self, body: bytes | bytearray, length: int, plan: Plan | None) -> None:
        """Remember a plan, in place of all if there are too many."""
        if plan is None or length > MAX_BYTES:
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[bytes(memoryview(body)[:length])] = plan
