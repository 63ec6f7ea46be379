"""What the control group lets this process have: processors' time and memory.

A group's limit holds for everything below it, so the smallest one up to the root counts. Inside a
container the path in /proc/self/cgroup may not exist under /sys/fs/cgroup; what is mounted there
is then the container's own group, which the walk reaches as the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60
"""Version 1 writes a number near 2^63 for no limit."""


def cpu_quota() -> float | None:
    """Return the processors' worth of time this process may use, None if unlimited."""
    found = []
    for folder in _groups("cpu"):
        if limit := _quota(folder):
            found.append(limit)
    return min(found, default=None)


def memory_limit() -> int | None:
    """Return the bytes of memory this process may use, None if unlimited."""
    found = []
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            words = _words(folder / name)
            if len(words) == 1 and words[0].isdecimal() and int(words[0]) < _UNLIMITED:
                found.append(int(words[0]))
    return min(found, default=None)


def _quota(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")
    if not words:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in names for word in _words(folder / name)]
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None  # `max`, or -1 in version 1
    return int(words[0]) / int(words[1])


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders whose limits of `controller` hold for this process, version 2 first."""
    for line in _lines(OWN_GROUPS):
        _, _, rest = line.partition(":")
        controllers, _, own = rest.partition(":")
        if controllers == "":
            mounts = [MOUNT, MOUNT / "unified"]
        elif controller in controllers.split(","):
            mounts = [MOUNT / controller, MOUNT / controllers]
        else:
            continue
        below = Path(own.lstrip("/"))
        for mount in mounts:
            for part in (below, *below.parents):
                yield mount / part


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
