"""What the runtime needs to know of the processor before it loads native code."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@cache
def processor_flags() -> frozenset[str]:
    """Return the flags the operating system reports; empty when it reports none."""
    try:
        with CPUINFO.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def architecture() -> str:
    """Return ``x86_64``, ``aarch64`` or what the system says."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def system() -> str:
    """Return ``linux``, ``darwin``, ..."""
    return platform.system().lower()
