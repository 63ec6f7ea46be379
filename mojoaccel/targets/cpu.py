"""Describes the processor and the memory in full, for people: ``mojoaccel detect``.

Four sources are read and compared: /proc/cpuinfo, sysfs, the CPUID instruction, and py-cpuinfo.
What none of them tells is None; nothing is estimated.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mojoaccel.artifact.limits import memory_limit
from mojoaccel.targets import apple
from mojoaccel.targets.cpuid import ask_processor
from mojoaccel.targets.features import feature_table
from mojoaccel.targets.probe import CPUINFO, Machine, read_cpuinfo, usable_cores

SYSTEM = Path("/sys/devices/system")
DTYPE_BITS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "int32": 32, "int8": 8}

X86_LEVELS = (("AVX-512", "avx512f", 512), ("AVX2", "avx2", 256), ("AVX", "avx", 256),
              ("SSE4.2", "sse4_2", 128), ("SSE2", "sse2", 128))  # fmt: skip
ARM_LEVELS = (("SVE2", "sve2", 0), ("SVE", "sve", 0), ("NEON", "asimd", 128))
"""(name, flag, register width in bits; 0 where the processor chooses it), the best first."""

X86_CAPABILITIES = {
    "fma": "fma", "f16c": "f16c", "avx512_bf16": "avx512_bf16", "avx512_fp16": "avx512_fp16",
    "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni", "amx_tile": "amx_tile",
    "amx_bf16": "amx_bf16", "amx_int8": "amx_int8",
}  # fmt: skip
ARM_CAPABILITIES = {
    "neon": "asimd", "fp16": "asimdhp", "dotprod": "asimddp", "bf16": "bf16", "i8mm": "i8mm",
    "sve": "sve", "sve2": "sve2",
}  # fmt: skip
"""Name in the report -> flag in /proc/cpuinfo."""


@dataclass(frozen=True, slots=True)
class Simd:
    """The widest vector instructions.

    Attributes:
        level: In the field's terms: ``AVX-512``, ``AVX2``, ``NEON``...
        bits: Width of a register; None where the processor chooses it and does not tell.
        lanes: Elements in a register, by element type.
    """

    level: str | None
    bits: int | None
    lanes: Mapping[str, int]


def describe_cpu(machine: Machine) -> dict[str, Any]:
    """Return everything that is known of the processor; unknown is None.

    Args:
        machine: What `probe` read.
    """
    said = read_cpuinfo(_text(CPUINFO) or "")
    simd = find_simd(machine)
    table = X86_CAPABILITIES if machine.arch == "x86_64" else ARM_CAPABILITIES
    known = bool(machine.flags)
    raw = set((said.get("flags") or said.get("Features") or "").split()) or set(machine.flags)
    sysctl = apple.ask_sysctl()
    return {
        "architecture": machine.arch,
        "vendor": machine.vendor or None,
        "model": machine.model or None,
        "family": _integer(said.get("cpu family")),
        "stepping": _integer(said.get("stepping")),
        "hypervisor": ("hypervisor" in raw) if known else None,
        "logical_cores": os.cpu_count(),
        "physical_cores": physical_cores() or apple.physical_cores(sysctl),
        "affinity_cores": machine.cores,
        "quota_cores": machine.quota,
        "usable_cores": usable_cores(machine),
        "core_kinds": apple.core_kinds(sysctl),
        "numa_nodes": numa_nodes(),
        "numa_cpus": numa_cpus(),
        "frequency_mhz": frequencies(said),
        "cache_bytes": {
            "L1d": machine.l1d_bytes,
            "L2": machine.l2_bytes,
            "L3": machine.l3_bytes,
        },
        "simd": {"level": simd.level, "register_bits": simd.bits, "lanes": dict(simd.lanes)},
        "features": {name: (flag in raw) if known else None for name, flag in table.items()},
        "amx_permitted": machine.amx_permitted,
        "disagreements": [*compare_with_processor(machine), *cross_check(machine)],
    }


def describe_memory(machine: Machine) -> dict[str, Any]:
    """Return total, available and allowed memory in bytes; unknown is None."""
    fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(Path("/proc/meminfo")) or "", re.M))
    total, free = fields.get("MemTotal"), fields.get("MemAvailable")
    return {
        "total_bytes": int(total) * 1024 if total else machine.memory_bytes,
        "available_bytes": int(free) * 1024 if free else None,
        "limit_bytes": memory_limit(),
    }


def find_simd(machine: Machine) -> Simd:
    """Return the widest vector instructions among a machine's flags."""
    levels = X86_LEVELS if machine.arch == "x86_64" else ARM_LEVELS
    for level, flag, bits in levels:
        if flag in machine.flags:
            width = bits or _sve_bits()
            lanes = {name: width // size for name, size in DTYPE_BITS.items()} if width else {}
            return Simd(level, width, lanes)
    return Simd(None, None, {})


def _sve_bits() -> int | None:
    """Return the default SVE register width of processes, if the system tells."""
    size = _integer(_text(Path("/proc/sys/abi/sve_default_vector_length")))
    return 8 * size if size else None


def physical_cores() -> int | None:
    """Return the number of cores, hyper-threads counted once; None where the system is silent."""
    found = set()
    for folder in (SYSTEM / "cpu").glob("cpu[0-9]*"):
        core = _text(folder / "topology" / "core_id")
        package = _text(folder / "topology" / "physical_package_id")
        if core is None or package is None:
            return None
        found.add((package.strip(), core.strip()))
    return len(found) or None


def numa_nodes() -> int | None:
    """Return the number of NUMA nodes; None where the system is silent."""
    return len(list((SYSTEM / "node").glob("node[0-9]*"))) or None


def numa_cpus() -> dict[str, str]:
    """Return each NUMA node's processors as the system writes them, ``{"0": "0-15,32-47"}``."""
    folders = (SYSTEM / "node").glob("node[0-9]*")
    found = {f.name.removeprefix("node"): _text(f / "cpulist") for f in folders}
    known = {node: text.strip() for node, text in found.items() if text is not None}
    return dict(sorted(known.items(), key=lambda pair: int(pair[0])))


def frequencies(said: Mapping[str, str]) -> dict[str, float | None]:
    """Return the present and the highest frequency in MHz, each None if unknown.

    A virtual machine shows the nominal frequency as the present one, if any.
    """
    highest = _integer(_text(SYSTEM / "cpu" / "cpu0" / "cpufreq" / "cpuinfo_max_freq"))
    present = said.get("cpu MHz")
    return {
        "current": float(present) if present else None,
        "maximum": highest / 1000 if highest else None,
    }


def cross_check(machine: Machine) -> list[str]:
    """Compare with what py-cpuinfo reads by itself; return the differences that matter."""
    try:
        info = _ask_py_cpuinfo(importlib.import_module("cpuinfo"))
    except Exception as e:  # the package runs machine code and outside commands
        return [f"py-cpuinfo failed: {type(e).__name__}: {e}"]
    found = []
    theirs = set(info.get("flags") or ())
    watched = {*X86_CAPABILITIES.values(), *ARM_CAPABILITIES.values(), "avx", "avx2", "avx512f"}
    hidden = {f for f in watched if f.startswith("amx")} if machine.amx_permitted is False else ()
    answer = ask_processor()
    # What kernel and processor both tell, py-cpuinfo merely does not know (it runs `cat`, or asks
    # CPUID for fewer leaves where there is none).
    agreed = machine.flags & answer.flags if answer is not None else frozenset()
    differing = (theirs ^ set(machine.flags)) & watched - set(hidden) - (agreed - theirs)
    for flag in sorted(differing) if theirs else ():
        where = "py-cpuinfo" if flag in theirs else "the system"
        found.append(f"only {where} reports {flag}")
    count = info.get("count")
    if count and count != os.cpu_count():
        found.append(f"py-cpuinfo counts {count} processors, the system {os.cpu_count()}")
    vendor = info.get("vendor_id_raw")
    if vendor and machine.vendor and vendor != machine.vendor:
        found.append(f"py-cpuinfo reads vendor {vendor}, the system {machine.vendor}")
    return found


@cache
def _ask_py_cpuinfo(package: Any) -> Mapping[str, Any]:
    """Ask once in a process: the package starts others and takes a second."""
    info: Mapping[str, Any] = package.get_cpu_info()
    return info


def compare_with_processor(machine: Machine) -> list[str]:
    """Compare the system's flags with the processor's own; return the differences."""
    answer = ask_processor()
    if answer is None or not machine.flags:
        return []
    hidden = {f for f in answer.flags if f.startswith("amx") and machine.amx_permitted is False}
    watched = set(feature_table("x86_64"))
    lines = []
    for flags, text in (
        (answer.flags - machine.flags - hidden, "only the processor (CPUID) reports {}"),
        (watched & machine.flags - answer.flags - answer.disabled, "only the system reports {}"),
        (answer.disabled, "the processor has {}, but the system has not enabled the registers"),
    ):
        if flags:
            lines.append(text.format(", ".join(sorted(flags))))
    return lines


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _integer(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
