"""What the runtime needs to know of the processor before it loads native code."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


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


def usable_processors() -> int:
    """Return how many threads can run at once: affinity, limited by the control group's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cgroup_quota()
    return count if quota is None else max(1, min(count, int(quota + 0.5)))


def cgroup_quota() -> float | None:
    """Return the processors' worth of time the control groups allow; None if unlimited.

    The group of this process and every group above it may set a limit; the lowest counts. Inside
    a container the mount point is the container's own group, so both its root and the path that
    the kernel names are looked at.
    """
    found = [q for q in map(_quota, _control_groups()) if q is not None]
    return min(found, default=None)


def _control_groups() -> list[Path]:
    """Return the folders that may limit this process, for both versions of control groups."""
    folders = [CGROUP, CGROUP / "cpu"]
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return folders
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUP / "cpu" if controllers else CGROUP
        place = Path(path.lstrip("/"))
        if ".." not in place.parts:
            folders += [root / p for p in (place, *place.parents) if str(p) != "."]
    return folders


def _quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
        return None if limit <= 0 else limit / period_us
    except (OSError, ValueError, ZeroDivisionError):
        return None
