"""Checks of GPUs: drivers, generations, permissions. The cpu target needs none of them."""

from __future__ import annotations

from typing import Any

from mojoaccel.doctor.check import Check, Facts, Outcome, passed, skipped, warned
from mojoaccel.targets.gpu import LEAST_DRIVER, GpuReport, read_gpus
from mojoaccel.targets.gpu_amd import LEAST_ROCM
from mojoaccel.targets.gpu_other import describe_others

UNUSED = "GPUs are not used by the cpu target"
REFERENCE = "modular/modular#6519"
FIXES = {
    "no-permission": "sudo usermod -aG video,render $USER",
    "no-driver": "sudo modprobe nvidia",
    "mismatch": "sudo reboot",
    "lost": "sudo reboot",
    "no-library": "docker run --gpus all ... (in a container), or sudo ubuntu-drivers install",
    "no-device": "sudo dmesg | grep -i nvrm",
}


def nvidia(facts: Facts) -> Outcome:
    """Ask NVML for GPUs, and compare driver and generation with what Mojo supports."""
    report = read_gpus()
    if report.status in ("no-library", "no-device") and not report.on_bus:
        return skipped(report.explanation)
    if report.status != "found":
        return warned(
            report.explanation,
            f"NVML: {report.status}",
            *report.unreadable,
            expected="NVML lists the devices",
            hint=UNUSED,
            fix=FIXES.get(report.status, "nvidia-smi"),
        )
    return _judged(report)


def _judged(report: GpuReport) -> Outcome:
    evidence = [f"driver {report.driver}, CUDA {report.cuda or 'unknown'}"]
    evidence += [f"{g.name}: {g.architecture}" for g in report.gpus]
    if report.unreadable:
        return warned(
            f"{len(report.unreadable)} of {len(report.unreadable) + len(report.gpus)} NVIDIA "
            "devices cannot be read",
            *report.unreadable,
            *evidence,
            expected="NVML reads every device",
            hint=UNUSED,
            fix="sudo dmesg | grep -i nvrm",
        )
    release = (report.driver or "").split(".")[0]
    if release.isdecimal() and int(release) < LEAST_DRIVER:
        return warned(
            f"NVIDIA driver {report.driver} is older than Mojo and MAX need",
            *evidence,
            expected=f"driver {LEAST_DRIVER} or newer (CUDA 13)",
            hint=UNUSED,
            fix=f"sudo apt install nvidia-driver-{LEAST_DRIVER}",
            reference=REFERENCE,
        )
    old = [f"{g.name} ({g.architecture})" for g in report.gpus if not g.supported]
    if old:
        return warned(
            f"this Mojo generates no code for {', '.join(old)}",
            *evidence,
            expected="a GPU of the Turing generation (sm_75) or newer",
            hint=UNUSED,
            fix="mojo build --print-supported-accelerators",
            reference="modular/modular#6374",
        )
    return passed(report.explanation, *evidence)


def others(facts: Facts) -> Outcome:
    """Name GPUs and accelerators of other makers."""
    found: dict[str, Any] = describe_others()
    evidence = []
    for maker, name in (("amd", "AMD"), ("intel", "Intel"), ("apple", "Apple")):
        part = found[maker]
        if part["status"] != "no-device":
            names = ", ".join(d.get("name") or d.get("gfx") or "unnamed" for d in part["devices"])
            evidence.append(f"{name}: {part['explanation']}" + (f" ({names})" if names else ""))
    evidence += [f"{g['name']}: {', '.join(g['nodes'])}" for g in found["unsupported"]]
    if not evidence:
        return skipped("no other accelerator was found")
    if any(found[m]["status"] == "no-driver" for m in ("amd", "intel")):
        return warned(
            "a GPU is there, but its driver is not loaded",
            *evidence,
            expected="a device below /sys/class/drm",
            hint=UNUSED,
            fix="sudo modprobe amdgpu" if found["amd"]["status"] == "no-driver" else "lspci -k",
        )
    if any(found[m]["status"] == "no-node" for m in ("amd", "intel")):
        return warned(
            "a GPU is there, but not the node to open it by",
            *evidence,
            expected="the device node in /dev",
            hint=UNUSED,
            fix="docker run --device /dev/kfd --device /dev/dri ..."
            if found["amd"]["status"] == "no-node"
            else "docker run --device /dev/dri ...",
        )
    if any(found[m]["status"] == "no-permission" for m in ("amd", "intel")):
        return warned(
            "this user may not open a GPU",
            *evidence,
            expected="read permission on the device node",
            hint=UNUSED,
            fix="sudo usermod -aG video,render $USER",
        )
    old = [d for d in found["amd"]["devices"] if d["supported"] is False]
    if found["amd"]["devices"] and (old or found["amd"]["rocm_sufficient"] is False):
        least = ".".join(map(str, LEAST_ROCM))
        what = f"ROCm {found['amd']['rocm']}" if not old else f"{old[0]['gfx']}"
        return warned(
            f"{what} is older than Mojo and MAX support",
            *evidence,
            expected=f"ROCm {least} or newer, gfx90a or newer",
            hint=UNUSED,
            fix="mojo build --print-supported-accelerators" if old else "sudo apt install rocm",
            reference="docs.modular.com/max/packages",
        )
    return passed("accelerators that mojoaccel does not compile for", *evidence)


CHECKS = (
    Check("gpu.nvidia", "NVIDIA GPUs", nvidia),
    Check("gpu.others", "other accelerators", others),
)
