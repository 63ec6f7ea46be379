"""The page at ``/``: one file that needs nothing from elsewhere, and the state it shows."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mojoaccel.serve.service import Service


@cache
def page() -> bytes:
    """Return the page."""
    return (Path(__file__).parent / "page.html").read_bytes()


def page_state(service: Service) -> dict[str, Any]:
    """Return what the page shows: models, signatures, live latency and throughput."""
    return {
        "ready": service.ready,
        "models": [
            {
                **m.metadata([m.version]),
                "max_batch": m.policy.rows,
                "instances": len(m.sessions),
                "waiting": m.waiting,
                "answered": m.statistics.counts.latency.count,
                **m.statistics.counts.live(),
            }
            for m in service.repository.loaded()
        ],
    }
