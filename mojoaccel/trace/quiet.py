"""Keeps torch's own words about a failed export from the terminal; our diagnostic says it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence torch's log and the graph that torch.export prints before it raises.

    What the user's module writes to stderr while it is traced is passed on afterwards. With the
    package's logger at DEBUG (``--verbose``) nothing is held back.
    """
    if logging.getLogger("mojoaccel").isEnabledFor(logging.DEBUG):
        yield
        return
    log = logging.getLogger("torch")
    level, held, graph = log.level, io.StringIO(), ""
    log.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(held):
            yield
    except Exception as e:
        graph = str(getattr(e, "partial_fx_graph", ""))
        raise
    finally:
        log.setLevel(level)
        said = held.getvalue()
        if graph:
            said = said.replace(f"{graph}\n", "")
        sys.stderr.write(said)
