"""Checks of the machine: system, processor, cores, memory, C library, clock, entropy."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, skipped, warned
from mojoaccel.environment import environment
from mojoaccel.errors import MojoaccelError
from mojoaccel.products import Target
from mojoaccel.targets.cpu import describe_memory
from mojoaccel.targets.probe import usable_cores
from mojoaccel.toolchain.mojo import candidates

GLIBC = (2, 34)
"""What Modular builds its compiler for."""

MEMORY = 8 << 30
"""What Modular asks for; large models take about 1 GB to compile."""

FREE_MEMORY = 1 << 30
SHARED = 64 << 20
"""Docker's default size of /dev/shm, too small for servers and data loaders."""

SHM = Path("/dev/shm")
ENTROPY_SECONDS = 0.5
REQUIREMENTS = "Modular's system requirements (docs.modular.com/max/packages)"
YEARS = (2025, 2100)
DAY = 24 * 60 * 60
"""Seconds that a file may be ahead of the clock: zones and summer time stay below."""


def operating_system(facts: Facts) -> Outcome:
    """Compare the operating system with those the compiler is made for."""
    name, release = platform.system(), platform.release()
    if release.endswith("-Microsoft"):  # WSL 2 has a kernel of its own: -microsoft-standard-WSL2
        return warned(
            f"Windows Subsystem for Linux 1 ({release}), which is no real Linux kernel",
            platform.platform(),
            expected="WSL 2",
            hint="system calls that Mojo uses are missing or slow in WSL 1; convert it to WSL 2",
            fix=f"wsl --set-version {environment('WSL_DISTRO_NAME') or 'Ubuntu'} 2",
            reference=REQUIREMENTS,
        )
    if name == "Linux":
        kind = "Windows Subsystem for Linux" if "microsoft" in release.lower() else "Linux"
        return passed(f"{kind} {release}", platform.platform())
    return failed(
        f"{name} {release} cannot compile",
        expected="Linux on x86-64 or AArch64",
        hint="on Windows use the Windows Subsystem for Linux; on macOS a Linux container",
        fix="wsl --install" if name == "Windows" else "docker run -it python:3.12 bash",
        reference=REQUIREMENTS,
    )


def processor(facts: Facts) -> Outcome:
    """Find the target for this processor."""
    name = facts.machine.model or "unknown processor"
    try:
        target: Target = facts.target
    except MojoaccelError as e:
        return failed(
            e.diagnostics[0].message,
            name,
            expected="x86-64-v3 (AVX2, BMI2, F16C, FMA, MOVBE) or AArch64 with NEON",
            hint="Mojo's programs print nothing or die of SIGILL here; a virtual machine must show "
            "the host's processor",
            fix="qemu-system-x86_64 -accel kvm -cpu host ...",
            reference="modular/modular#6823; " + REQUIREMENTS,
        )
    width = f"{8 * target.simd_bytes}-bit vectors"
    return passed(f"{name}, compiled for as {target.cpu}, {width}", str(target))


def tiles(facts: Facts) -> Outcome:
    """Ask whether AMX may be used."""
    permitted = facts.machine.amx_permitted
    if permitted is None:
        return skipped("the processor shows no AMX")
    if permitted:
        return passed("AMX may be used", "arch_prctl(ARCH_REQ_XCOMP_PERM, 18) -> 0")
    return warned(
        "the processor has AMX, but this process may not use it",
        "arch_prctl(ARCH_REQ_XCOMP_PERM, 18) was refused",
        expected="permission to use AMX tiles",
        hint="the kernel (5.16 or newer is needed) or the container's seccomp profile refuses it",
        fix="docker run --security-opt seccomp=unconfined ...",
        reference="Linux Documentation/arch/x86/xstate.rst",
    )


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
        return warned(
            f"{text} of memory",
            expected="8 GiB",
            hint="compile with --jobs 1 if the compiler is ended by SIGKILL",
            fix="mojoaccel compile MODEL --jobs 1",
            reference=REQUIREMENTS,
        )
    free = describe_memory(facts.machine)["available_bytes"]
    if free is not None and free < FREE_MEMORY:
        return warned(
            f"only {free / (1 << 20):.0f} MiB of {text} of memory are free",
            "MemAvailable in /proc/meminfo",
            expected="1 GiB free",
            hint="end other programs, or compile with --jobs 1",
            fix="ps -eo rss,pid,comm --sort=-rss | head",
        )
    return passed(f"{text} of memory")


def shared_memory(facts: Facts) -> Outcome:
    """Look at the size of /dev/shm, which containers keep small."""
    try:
        stats = os.statvfs(SHM)
    except OSError:
        return skipped(f"there is no {SHM}")
    size = stats.f_frsize * stats.f_blocks
    if size <= SHARED:
        return warned(
            f"{SHM} has {size / (1 << 20):.0f} MiB",
            expected="more than 64 MiB",
            hint="MAX and PyTorch's data loaders share memory there",
            fix="docker run --shm-size=1g ...",
            reference="MODULAR_MAX_SHM_WATERMARK",
        )
    return passed(f"{SHM} has {size / 1e9:.1f} GB")


def c_library(facts: Facts) -> Outcome:
    """Compare the C library with what the compiler is built for."""
    name, version = platform.libc_ver()
    more = {
        "expected": "glibc 2.34 or newer",
        "hint": "compile on a newer system; finished artifacts run here too",
        "fix": "docker run -it python:3.12 bash",
        "reference": REQUIREMENTS,
    }
    if name != "glibc":
        return failed("the compiler needs glibc", f"found {name or 'another C library'}", **more)
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < GLIBC:
        return failed(f"glibc {version} is older than the compiler's 2.34", **more)
    return passed(f"glibc {version}")


def clock(facts: Facts) -> Outcome:
    """Look for a clock that stands still, runs backwards or shows another time."""
    year = time.gmtime().tm_year
    first = time.monotonic_ns()
    time.sleep(0.002)
    step = time.monotonic_ns() - first
    more = {"hint": "caches and certificates depend on it", "fix": "sudo timedatectl set-ntp true"}
    if step <= 0:
        return failed(f"the monotonic clock moved by {step} ns in 2 ms", **more)
    if not YEARS[0] <= year < YEARS[1]:
        return warned(f"the clock says {year}", expected="the present year", **more)
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    later = [line for path in installed_files(facts) if (line := _ahead(path))]
    if later:
        return warned(
            f"the clock says {now}, which is before mojoaccel or Mojo was installed",
            *later,
            expected="a time after the files were written",
            **more,
        )
    return passed("the clock runs", now)


def installed_files(facts: Facts) -> Sequence[Path]:
    """Return files that were written when mojoaccel and the compiler were installed."""
    return [Path(__file__), *(path for path, _ in list(candidates(facts.mojo))[:1])]


def _ahead(path: Path) -> str:
    """Say by how much a file is newer than the clock; empty if by less than a day."""
    try:
        seconds = path.stat().st_mtime - time.time()
    except OSError:
        return ""
    return f"{path} is {seconds / DAY:.1f} days newer" if seconds > DAY else ""


def entropy(facts: Facts) -> Outcome:
    """See whether random numbers come without waiting."""
    began = time.perf_counter()
    try:
        os.getrandom(16, os.GRND_NONBLOCK)
    except BlockingIOError:
        return warned(
            "the system has no random numbers yet",
            expected="16 bytes at once",
            hint="early after boot, or in a virtual machine without a source of entropy",
            fix="sudo apt install rng-tools5",
        )
    except (AttributeError, OSError) as e:
        return skipped(f"the system does not tell: {e}")
    seconds = time.perf_counter() - began
    if seconds > ENTROPY_SECONDS:
        return warned(f"random numbers took {seconds:.1f} s", expected="no waiting")
    return passed("random numbers come at once")


CHECKS = (
    Check("system.os", "operating system", operating_system),
    Check("system.processor", "processor", processor),
    Check("system.amx", "AMX", tiles),
    Check("system.cores", "processors", cores),
    Check("system.memory", "memory", memory),
    Check("system.shm", "shared memory", shared_memory),
    Check("system.libc", "C library", c_library),
    Check("system.clock", "clock", clock),
    Check("system.entropy", "random numbers", entropy),
)
