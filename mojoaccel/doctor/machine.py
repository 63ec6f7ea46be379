"""Checks of the machine: processor, cores, memory, C library, GPUs."""

from __future__ import annotations

import os
import platform

from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, skipped, warned
from mojoaccel.targets.gpu import read_gpus
from mojoaccel.targets.probe import usable_cores

GLIBC = (2, 34)
"""What Modular builds its compiler for."""

MEMORY = 8 << 30
"""What Modular asks for; large models take about 1 GB to compile."""


def processor(facts: Facts) -> Outcome:
    """Find the target for this processor."""
    target = facts.target
    name = facts.machine.model or "unknown processor"
    width = f"{8 * target.simd_bytes}-bit vectors"
    return passed(f"{name}, compiled for as {target.cpu}, {width}", str(target))


def tiles(facts: Facts) -> Outcome:
    """Ask whether AMX may be used."""
    permitted = facts.machine.amx_permitted
    if permitted is None:
        return skipped("the processor shows no AMX")
    if permitted:
        return passed("AMX may be used")
    hint = "the kernel or the container refuses it; bf16 products are slower without"
    return warned("the processor has AMX, but this process may not use it", hint=hint)


def cores(facts: Facts) -> Outcome:
    """Count the processors this process may use."""
    machine = facts.machine
    usable = usable_cores(machine)
    evidence = [f"{os.cpu_count()} in the machine", f"{machine.cores} by affinity"]
    if machine.quota is not None:
        evidence.append(f"{machine.quota:g} by the control group's quota")
    return passed(f"{usable} usable processors", *evidence)


def memory(facts: Facts) -> Outcome:
    """Compare memory with what the compiler asks for."""
    size = facts.machine.memory_bytes
    if size is None:
        return skipped("the system does not tell its memory")
    text = f"{size / (1 << 30):.1f} GiB"
    if size < MEMORY:
        hint = "compile with --jobs 1 if the compiler is ended by SIGKILL"
        return warned(f"{text} of memory; Modular asks for 8 GiB", hint=hint)
    return passed(f"{text} of memory")


def c_library(facts: Facts) -> Outcome:
    """Compare the C library with what the compiler is built for."""
    name, version = platform.libc_ver()
    hint = "compile on a newer system; finished artifacts run here too"
    if name != "glibc":
        return failed("the compiler needs glibc", f"found {name or 'another C library'}", hint=hint)
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < GLIBC:
        return failed(f"glibc {version} is older than the compiler's 2.34", hint=hint)
    return passed(f"glibc {version}")


def gpus(facts: Facts) -> Outcome:
    """Ask NVML for GPUs; the cpu target needs none."""
    report = read_gpus()
    if report.status == "found":
        return passed(report.explanation, f"driver {report.driver}")
    if report.status in ("no-library", "no-device"):
        return skipped(report.explanation)
    return warned(report.explanation, hint="GPUs are not used by the cpu target")


CHECKS = (
    Check("machine.processor", "processor", processor),
    Check("machine.amx", "AMX", tiles),
    Check("machine.cores", "processors", cores),
    Check("machine.memory", "memory", memory),
    Check("machine.libc", "C library", c_library),
    Check("machine.gpu", "GPUs", gpus),
)
