"""Remembers the heads of infer requests: a client sends the same one again and again.

Parsing calls back for every header, and after a long run the processor's caches hold none of that
code: it took a fifth of a small request's overhead. Bytes that were parsed once mean the same the
next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KEPT = 256
"""Heads that a server remembers."""
MAX_BYTES = 4096
"""Bytes of a head that is worth remembering."""
END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an infer request that has a body of known size and keeps the connection.

    Attributes:
        name: The model.
        version: Its version; empty for the highest.
        path: Without the query.
        headers: By lower-case name.
        length: Bytes of the body.
    """

    name: str
    version: str
    path: str
    headers: Mapping[str, str]
    length: int


class Heads:
    """The heads that one server has seen, by their bytes."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """Return head and body of data that are a whole request with a head that came before."""
        start = data.find(END, 0, MAX_BYTES) + len(END)
        head = self._known.get(data[:start])
        if head is None or len(data) - start != head.length:
            return None
        return head, data[start:]

    def keep(self, data: bytes, head: Head) -> None:
        """Remember the head of data that are a whole request; it replaces all if they are many."""
        start = len(data) - head.length
        if start > MAX_BYTES or data.find(END) + len(END) != start:
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[data[:start]] = head
