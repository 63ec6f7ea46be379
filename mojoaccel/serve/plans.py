"""Remembers how to read requests that say the same around their tensors, and how to answer them.

A client sends the same JSON again and again as long as the shapes stay the same: before its binary
tensors, or around the numbers of each ``"data"``. What follows from those bytes alone is kept:
where each tensor lies, what is wanted, and what stands around the outputs. After a long run the
processor's caches hold nothing of the server, so code that is not run counts most.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from mojoaccel.serve.codec import InferRequest, json_values
from mojoaccel.serve.datatypes import WIRE, Array, from_numbers
from mojoaccel.serve.refusal import Refusal

KEPT = 64
"""Plans that a model remembers."""
MAX_BYTES = 4096
"""Bytes of JSON that are worth remembering."""
DATA = re.compile(rb'"data":\s*(\[[^"{}]*\])')
"""What is mostly a tensor's numbers; `_follows` makes sure."""
MAX_TEXT = 1 << 20
"""Bytes of JSON beyond which reading the numbers is what takes the time."""
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


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


@dataclass(frozen=True, slots=True)
class TextPart:
    """What an input's numbers are.

    Attributes:
        name: The input's.
        datatype: Of the protocol.
        shape: Its sizes.
        at: How many of the client's inputs stand before it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    at: int

    def read(self, texts: Sequence[bytes]) -> Array:
        """Return the array of a request with these numbers.

        Raises:
            ValueError: They are no JSON, too many or too few.
            Refusal: They are of another type.
        """
        data = orjson.loads(texts[self.at])
        return from_numbers(data, self.datatype, self.name).reshape(self.shape)


@dataclass(slots=True)
class Plan:
    """How to read a request, and how to write its answer.

    Attributes:
        request: What is asked for, without its tensors.
        parts: Where the inputs lie, in the signature's order, if they are binary.
        texts: What they are if they stand in the JSON.
        size: Bytes behind the JSON.
        outputs: Their datatypes, if all are wanted in one way; empty: nothing is remembered.
        binary: Whether that way is binary.
        answer: Shapes of outputs, and what stands around them in their answer.
    """

    request: InferRequest
    parts: tuple[Part, ...]
    texts: tuple[TextPart, ...]
    size: int
    outputs: tuple[str, ...]
    binary: bool
    answer: tuple[tuple[tuple[int, ...], ...], tuple[bytes, ...]] = ((), ())

    def answer_to(self, outputs: Sequence[Array]) -> Sequence[Any]:
        """Return the answer with these outputs; empty if none was written for their shapes."""
        shapes, around = self.answer  # at once: another thread may remember another
        if shapes != tuple([o.shape for o in outputs]) or not around:
            return ()
        if self.binary:
            return (*around, *outputs)
        pieces = [around[0]]
        for values, datatype, text in zip(outputs, self.outputs, around[1:], strict=True):
            flat = json_values(values, datatype)
            pieces += (orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY), text)
        body = b"".join(pieces)
        return (JSON_HEAD % len(body), body)

    def remember(self, outputs: Sequence[Array], head: bytes, body: Sequence[Any]) -> None:
        """Keep what stands around outputs of such shapes in the answer that was written."""
        if not self.outputs:
            return
        around: tuple[bytes, ...] = (head + body[0],)
        if not self.binary:
            texts = DATA.split(body[0])
            around = tuple([t + b'"data":' for t in texts[:-1:2]] + [texts[-1]])
            if len(around) != len(outputs) + 1 or head != JSON_HEAD % len(body[0]):
                return
        self.answer = (tuple([o.shape for o in outputs]), around)


def make_plan(
    request: InferRequest, inputs: Iterable[str], outputs: Sequence[tuple[str, str]]
) -> Plan | None:
    """Return how to read requests like one that was read and fits the model.

    Args:
        request: The request.
        inputs: Names of the model's inputs, in the signature's order.
        outputs: Names and datatypes of its outputs.

    Returns:
        None where the JSON holds what the next request has otherwise.
    """
    if request.id is not None or len({t.binary for t in request.inputs}) != 1:
        return None
    parts, texts, at = {}, {}, 0
    for place, tensor in enumerate(request.inputs):
        kind, shape = WIRE[tensor.datatype], tensor.array.shape
        if not tensor.binary:
            texts[tensor.name] = TextPart(tensor.name, tensor.datatype, shape, place)
            continue
        end = at + math.prod(shape) * kind.itemsize
        parts[tensor.name] = Part(kind, shape, at, end)
        at = end
    every = not request.outputs or set(request.outputs) == {n for n, _ in outputs}
    ways = {request.wants_binary(n) for n, _ in outputs}
    kinds = tuple([d for _, d in outputs]) if every and len(ways) == 1 else ()
    asked = replace(request, inputs=())
    binary = tuple(parts[n] for n in inputs) if parts else ()
    plain = tuple(texts[n] for n in inputs) if texts else ()
    return Plan(asked, binary, plain, at, kinds, ways == {True})


class Plans:
    """The plans of one model, by what stands around the tensors."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[tuple[bytes, ...], Plan] = {}

    def read(self, body: bytes | bytearray, length: int) -> tuple[Plan, list[Array]] | None:
        """Return the plan for a body and its inputs, if one like it came before.

        Args:
            body: JSON, with raw tensors behind it.
            length: Bytes of the JSON.
        """
        if length == len(body):
            return self._read_text(body)
        if length > MAX_BYTES:
            return None
        plan = self._known.get((bytes(memoryview(body)[:length]),))
        if plan is None or len(body) - length != plan.size:
            return None
        if isinstance(body, bytes):  # read-only arrays and unaligned ones take a session longer
            body, length = bytearray(memoryview(body)[length:]), 0
        return plan, [part.read(body, length) for part in plan.parts]

    def _read_text(self, body: bytes | bytearray) -> tuple[Plan, list[Array]] | None:
        if len(body) > MAX_TEXT:
            return None
        pieces = DATA.split(body)
        plan = self._known.get(tuple(pieces[::2]))
        if plan is None:
            return None
        numbers = pieces[1::2]
        try:
            return plan, [text.read(numbers) for text in plan.texts]
        except (ValueError, Refusal):
            return None  # whoever reads all of it says what is wrong

    def keep(self, body: bytes | bytearray, length: int, plan: Plan | None) -> None:
        """Remember the plan for a body, in place of all if there are too many."""
        if plan is None or length > MAX_TEXT:
            return
        key: tuple[bytes, ...] = (bytes(memoryview(body)[:length]),)
        if plan.texts:
            key = tuple(DATA.split(key[0])[::2])
            if not _follows(key, len(plan.texts)):
                return
        if sum(map(len, key)) > MAX_BYTES:
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[key] = plan


def _follows(around: Sequence[bytes], inputs: int) -> bool:
    """Whether what stood between these pieces was the data of that many inputs, in their order.

    Other things are called ``"data"``, too, and a key may be spelled with escapes, or come twice.
    """
    text = around[0]
    for at, piece in enumerate(around[1:]):
        text += b'"data":["%d"]' % at + piece
    found = [entry.get("data") for entry in orjson.loads(text)["inputs"]]
    return found == [[str(at)] for at in range(inputs)]
