"""Reads this machine: processor flags, cores, caches, memory, and the target to compile for.

The compiler's own idea of the host is not used: on virtual machines it picks a model by family
number and loses features (or assumes ones the hypervisor hides).
"""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

from mojoaccel.errors import error
from mojoaccel.products import Target, digest_json
from mojoaccel.targets.base import make_target, read_target
from mojoaccel.targets.features import CPU_MODELS, X86_CHOICE, feature_table, simd_bytes

CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True, slots=True)
class Machine:
    """What was read of the machine; None is unknown.

    Attributes:
        arch: ``x86_64`` | ``aarch64`` | as the system says.
        vendor: Processor vendor.
        model: Model name.
        flags: Processor flags the operating system reports, AMX only if it may be used.
        cores: Processors this process may run on.
        quota: Processors' worth of time the control group allows, if it limits.
        l1d_bytes: L1 data cache.
        l2_bytes: L2 cache.
        l3_bytes: L3 cache.
        memory_bytes: Physical memory, or the control group's limit.
        amx_permitted: Whether the system lets a process use AMX; None without AMX.
    """

    arch: str
    vendor: str | None
    model: str | None
    flags: frozenset[str]
    cores: int
    quota: float | None
    l1d_bytes: int | None
    l2_bytes: int | None
    l3_bytes: int | None
    memory_bytes: int | None
    amx_permitted: bool | None


def detect(text: str = "cpu") -> Target:
    """Return the target for a ``--target`` string; ``cpu`` is this machine.

    Raises:
        MojoaccelError: MA104, the string is not a target or this machine cannot be one.
    """
    if text != "cpu":
        return read_target(text)
    machine = probe()
    if platform.system() != "Linux":
        raise error("MA104", f"{platform.system()} is not supported as a host; Linux is")
    target = host_target(machine.arch, machine.flags)
    return replace(
        target,
        cores=usable_cores(machine),
        l1d_bytes=machine.l1d_bytes or 0,
        l2_bytes=machine.l2_bytes or 0,
        l3_bytes=machine.l3_bytes or 0,
    )


def usable_cores(machine: Machine) -> int:
    """Return how many threads can run at once: affinity, limited by the quota."""
    if machine.quota is None:
        return machine.cores
    return max(1, min(machine.cores, int(machine.quota + 0.5)))


def host_target(arch: str, flags: frozenset[str]) -> Target:
    """Choose the CPU name and explicit features for a set of flags.

    Raises:
        MojoaccelError: MA104, the processor is below x86-64-v3.
    """
    triple = f"{arch}-unknown-linux-gnu"
    if arch == "aarch64":
        return make_target("cpu", triple, "neoverse-n1", "")
    fitting = [name for name, needed in X86_CHOICE if needed <= flags]
    if not fitting:
        raise error("MA104", "this processor lacks AVX2 and FMA (x86-64-v3)")
    model = fitting[0]
    table = feature_table(arch)
    implied = set(CPU_MODELS[model])
    # AMX is named whether or not the model implies it: hypervisors often hide it.
    tail = "".join(
        ("+" if flag in flags else "-") + llvm
        for flag, llvm in table.items()
        if (flag in flags) != (flag in implied)
    )
    target = make_target("cpu", triple, model, tail)
    return replace(target, simd_bytes=simd_bytes(arch, flags))


def probe() -> Machine:
    """Read the machine."""
    arch = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    fields = read_cpuinfo(CPUINFO.read_text() if CPUINFO.exists() else "")
    flags = frozenset((fields.get("flags") or fields.get("Features") or "").split())
    if not flags:
        flags, fields = _from_cpuinfo_package(fields)
    permitted = None
    if "amx_tile" in flags:
        permitted = request_amx()
        if not permitted:
            flags = frozenset(f for f in flags if not f.startswith("amx"))
    return Machine(
        arch,
        fields.get("vendor_id"),
        fields.get("model name"),
        flags,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cgroup_quota(),
        cache_bytes(1, "Data"),
        cache_bytes(2, "Unified"),
        cache_bytes(3, "Unified"),
        memory_bytes(),
        permitted,
    )


def read_cpuinfo(text: str) -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not line.strip() and found:
            break
        if colon:
            found[key.strip()] = value.strip()
    return found


def _from_cpuinfo_package(fields: dict[str, str]) -> tuple[frozenset[str], dict[str, str]]:
    import cpuinfo

    info = cpuinfo.get_cpu_info()
    named = {
        "vendor_id": info.get("vendor_id_raw", ""),
        "model name": info.get("brand_raw", ""),
    }
    return frozenset(info.get("flags") or ()), {**named, **fields}


def request_amx() -> bool:
    """Ask the kernel for permission to use AMX tiles, as every AMX program must."""
    arch_prctl, req_xcomp_perm, tile_data = 158, 0x1023, 18
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.syscall(arch_prctl, req_xcomp_perm, tile_data) == 0)
    except OSError:
        return False


def cgroup_quota() -> float | None:
    """Return the processors' worth of time the control group allows, None if unlimited."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        v1 = CGROUP / "cpu"
        limit = int((v1 / "cpu.cfs_quota_us").read_text())
        return None if limit <= 0 else limit / int((v1 / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None


def cache_bytes(level: int, kind: str) -> int | None:
    """Return the size of a cache in bytes, None if the system does not say."""
    for index in sorted(CACHES.glob("index*")) if CACHES.exists() else []:
        try:
            if int((index / "level").read_text()) != level:
                continue
            if (index / "type").read_text().strip() != kind:
                continue
            text = (index / "size").read_text().strip()
            scale = {"K": 1024, "M": 1024**2}.get(text[-1], 1)
            return int(text.rstrip("KM")) * scale
        except (OSError, ValueError):
            continue
    return None


def memory_bytes() -> int | None:
    """Return physical memory in bytes, or the control group's lower limit."""
    total = None
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            total = min(total, int(limit))
    except (OSError, ValueError):
        pass
    return total


def machine_digest() -> str:
    """Return a digest of everything `detect` looks at."""
    machine = probe()
    return digest_json([machine.arch, sorted(machine.flags), usable_cores(machine)])
