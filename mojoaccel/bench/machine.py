"""Facts about the machine that a benchmark ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Return the processor, usable cores, memory in bytes and the system."""
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or its architecture where the system gives no name."""
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def usable_cores(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the cores this process may use: its affinity, less what a CPU quota leaves."""
    cores = len(os.sched_getaffinity(0))
    words = limit.read_text().split() if limit.exists() else ["max"]
    if words[0] == "max":
        return cores
    return max(1, min(cores, int(words[0]) // int(words[1])))


def busy_seconds(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the processor time that the whole machine has used; None where unknown.

    Time that a hypervisor gave to other machines counts as used.
    """
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(
        int, stat.read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """Return the processor time that a process has used, all threads; 0 once it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_average() -> tuple[float, float]:
    """Return the average number of running processes over the last one and five minutes."""
    one, five, _ = os.getloadavg()
    return one, five


def peak_memory(pid: str | int = "self") -> int | None:
    """Return the largest resident size that a process had, in bytes; None where unknown."""
    status = Path(f"/proc/{pid}/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
