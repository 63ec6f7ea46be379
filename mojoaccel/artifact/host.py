"""What the runtime needs to know of the processor before it loads native code."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

from mojoaccel.artifact.limits import cpu_quota

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


@cache
def usable_flags() -> frozenset[str]:
    """Return the flags of `processor_flags` that this process may use: AMX needs permission.

    The kernel allows AMX tiles to a process that asks (arch_prctl, Linux 5.16), unless a filter of
    system calls forbids it; without, the first tile instruction ends the process.
    """
    flags = processor_flags()
    if "amx_tile" in flags and not request_amx():
        return frozenset(f for f in flags if not f.startswith("amx"))
    return flags


def request_amx() -> bool:
    """Ask the kernel for permission to use AMX tiles, as every AMX program must."""
    arch_prctl, req_xcomp_perm, tile_data = 158, 0x1023, 18
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.syscall(arch_prctl, req_xcomp_perm, tile_data) == 0)
    except OSError:
        return False


def architecture() -> str:
    """Return ``x86_64``, ``aarch64`` or what the system says."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def system() -> str:
    """Return ``linux``, ``darwin``, ..."""
    return platform.system().lower()


def usable_processors() -> int:
    """Return how many threads can run at once: affinity, limited by the control group's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return limit_cores(count, cpu_quota())


def limit_cores(cores: int, quota: float | None) -> int:
    """Return how many of `cores` a quota of processors' time can keep busy (at least 1)."""
    return cores if quota is None else max(1, min(cores, int(quota + 0.5)))
