"""Reads this machine: processor flags, cores, caches, memory, and the target to compile for.

The compiler's own idea of the host is not used: on virtual machines it picks a model by family
number and loses features (or assumes ones the hypervisor hides).
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mojoaccel.artifact.host import limit_cores, request_amx
from mojoaccel.artifact.limits import cpu_quota, memory_limit
from mojoaccel.errors import error
from mojoaccel.products import Target, digest_json
from mojoaccel.targets import apple
from mojoaccel.targets.base import make_target, read_target
from mojoaccel.targets.features import CPU_CHOICE, consistent

CPUINFO = Path("/proc/cpuinfo")
ARM_VENDORS = {
    "0x41": "ARM", "0x46": "Fujitsu", "0x48": "HiSilicon", "0x4e": "NVIDIA", "0x51": "Qualcomm",
    "0x61": "Apple", "0x6d": "Microsoft", "0xc0": "Ampere",
}  # fmt: skip
ARM_PARTS = {
    ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1", ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2", ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd84"): "Neoverse-V3", ("0x41", "0xd8e"): "Neoverse-N3",
    ("0x46", "0x001"): "A64FX", ("0x48", "0xd01"): "Kunpeng-920", ("0xc0", "0xac3"): "Ampere-1",
    ("0x61", "0x022"): "Apple M1", ("0x61", "0x023"): "Apple M1",
    ("0x61", "0x032"): "Apple M2", ("0x61", "0x033"): "Apple M2",
}  # fmt: skip
"""Implementer and part in /proc/cpuinfo -> names, as util-linux's lscpu prints them."""

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
    return limit_cores(machine.cores, machine.quota)


def host_target(arch: str, flags: frozenset[str]) -> Target:
    """Choose the CPU name and explicit features for a set of flags.

    Raises:
        MojoaccelError: MA104, the processor is below x86-64-v3, or of another family.
    """
    choices = CPU_CHOICE.get(arch)
    if choices is None:
        raise error("MA104", f"{arch} processors are not supported")
    usable = consistent(flags)
    model = next((name for name, needed in choices if needed <= usable), None)
    if model is None:
        needed = choices[-1][1]
        lacks = ", ".join(sorted(needed - usable))
        raise error("MA104", f"this processor cannot run compiled models; it lacks {lacks}")
    return make_target(f"{arch}-unknown-linux-gnu", model, usable)


def probe() -> Machine:
    """Read the machine."""
    arch = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    said = read_cpuinfo(CPUINFO.read_text() if CPUINFO.exists() else "")
    flags = frozenset((said.get("flags") or said.get("Features") or "").split())
    sysctl = apple.ask_sysctl()
    if not flags:
        flags = apple.arm_flags(sysctl)
    fastest = next(iter(apple.core_kinds(sysctl)), {})
    if not flags:
        flags, said = _from_cpuinfo_package(said)
    vendor, model = _arm_name(said)
    permitted = None
    if "amx_tile" in flags:
        permitted = request_amx()
        if not permitted:
            flags = frozenset(f for f in flags if not f.startswith("amx"))
    return Machine(
        arch,
        said.get("vendor_id") or vendor or ("Apple" if fastest else None),
        said.get("model name") or model or sysctl.get("machdep.cpu.brand_string"),
        flags,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cpu_quota(),
        cache_bytes(1, "Data") or fastest.get("l1d_bytes"),
        cache_bytes(2, "Unified") or fastest.get("l2_bytes"),
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


def _arm_name(said: dict[str, str]) -> tuple[str | None, str | None]:
    """Return vendor and model of an Arm processor, which tells only numbers."""
    vendor = ARM_VENDORS.get(said.get("CPU implementer", ""))
    key = (said.get("CPU implementer", ""), said.get("CPU part", ""))
    return vendor, ARM_PARTS.get(key)


def _from_cpuinfo_package(fields: dict[str, str]) -> tuple[frozenset[str], dict[str, str]]:
    import cpuinfo

    info = cpuinfo.get_cpu_info()
    named = {
        "vendor_id": info.get("vendor_id_raw", ""),
        "model name": info.get("brand_raw", ""),
    }
    return frozenset(info.get("flags") or ()), {**named, **fields}


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
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return memory_limit()
    limit = memory_limit()
    return total if limit is None else min(total, limit)


def machine_digest() -> str:
    """Return a digest of everything `detect` looks at."""
    machine = probe()
    data = {f.name: getattr(machine, f.name) for f in fields(machine)}
    # Memory is reported, not compiled for; the quota only counts through the usable cores.
    for name in ("memory_bytes", "quota"):
        del data[name]
    return digest_json({**data, "flags": sorted(machine.flags), "usable": usable_cores(machine)})
