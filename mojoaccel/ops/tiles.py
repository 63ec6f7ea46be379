"""Tile parameters: what kernels may be tuned by, and what was chosen for them.

A lowering asks by a question, which names the kernel and everything its best tile depends on. At
levels below 3 the answer is the first candidate: the one that the kernel's own rule prefers.
Level 3 measures the candidates on the machine (`tile_search`) and lowers the graph again with the
answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class TileTable:
    """Answers to questions about tiles.

    Attributes:
        chosen: Measured answers by question.
        asked: Candidates of every question asked so far, the kernel's preference first.
    """

    chosen: Mapping[str, int] = field(default_factory=dict)
    asked: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def choose(self, question: str, candidates: Sequence[int]) -> int:
        """Return the measured answer to `question`, or the first candidate."""
        self.asked[question] = tuple(dict.fromkeys(candidates))
        return self.chosen.get(question, candidates[0])

    @property
    def changed(self) -> int:
        """How many questions got another answer than the first candidate."""
        return sum(self.chosen.get(q, c[0]) != c[0] for q, c in self.asked.items())
