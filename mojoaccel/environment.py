"""The only reader of environment variables.

Apart from `config`, whose classes take milliseconds to make that a process which only runs a model
need not spend.
"""

from __future__ import annotations

import os


def environment(name: str) -> str:
    """Return an environment variable, empty when unset."""
    return os.environ.get(name, "")


def environment_names(prefix: str) -> list[str]:
    """Return the sorted names of the environment variables that start with `prefix`."""
    return sorted(name for name in os.environ if name.startswith(prefix))
