"""NVIDIA GPUs of this machine, as NVML tells; says why when it tells none.

Not part of `probe`: starting NVML takes up to a second, and a CPU target does not depend on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mojoaccel.targets.pci import NVIDIA, devices_on_bus

REASONS = {
    "LibraryNotFound": ("no-library", "libnvidia-ml.so.1 is not installed: no NVIDIA driver"),
    "DriverNotLoaded": ("no-driver", "the NVIDIA kernel driver is not loaded"),
    "NoPermission": ("no-permission", "this user may not use the NVIDIA devices"),
    "LibRmVersionMismatch": ("mismatch", "NVML and the kernel driver have different versions"),
    "GpuIsLost": ("lost", "a GPU has fallen off the bus; restart the machine"),
}
"""NVML error -> (status, sentence)."""


MOJO_ARCHITECTURES = frozenset({
    "52", "60", "61", "75", "80", "86", "87", "89", "90", "90a", "100", "100a", "103", "103a",
    "110", "110a", "120", "120a", "121", "121a",
})  # fmt: skip
"""What ``mojo build --print-supported-accelerators`` of 1.2.0 lists; 62, 70 and 72 are missing."""

LEAST_DRIVER = 580
"""First driver release that Mojo 1.2.0 and MAX 26.7 work with (CUDA 13)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device.

    Attributes:
        name: Product name.
        architecture: As compilers name it, ``sm_90``.
        memory_bytes: Device memory; None where it shares the host's.
        uuid: Stable identity.
        free_bytes: Memory nobody uses now.
        mig: Whether it is cut into instances; None where it cannot be.
        mig_instances_bytes: Memory of each instance that was made; None if it is not cut.
        utilisation: Share of the last second it was busy, 0 to 1.
        power_limit_watts: What it may draw.
        supported: Whether this Mojo has code generation for its architecture.
    """

    name: str
    architecture: str
    memory_bytes: int | None
    uuid: str
    free_bytes: int | None = None
    mig: bool | None = None
    utilisation: float | None = None
    power_limit_watts: float | None = None
    mig_instances_bytes: tuple[int | None, ...] | None = None

    @property
    def supported(self) -> bool:
        """Whether Mojo 1.2.0 generates code for the architecture."""
        return self.architecture.removeprefix("sm_") in MOJO_ARCHITECTURES


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What NVML said.

    Attributes:
        status: ``found`` | ``no-device`` | ``no-library`` | ``no-driver`` | ``no-permission`` |
            ``mismatch`` | ``lost`` | ``failed``.
        explanation: One sentence for people.
        driver: Driver version, if NVML answered.
        gpus: The devices.
        cuda: Newest CUDA version the driver serves.
        on_bus: PCI addresses of NVIDIA devices, whether or not NVML sees them.
        unreadable: Devices that NVML counts and cannot read, with its reason.
    """

    status: str
    explanation: str
    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    cuda: str | None = None
    on_bus: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


def read_gpus() -> GpuReport:
    """Ask NVML for the devices, and the PCI bus whether there are any that it does not see."""
    report = _ask_nvml()
    on_bus = tuple(devices_on_bus(NVIDIA))
    if on_bus and not report.gpus:
        text = f"{report.explanation}, but the PCI bus shows {len(on_bus)} ({', '.join(on_bus)})"
        return replace(report, on_bus=on_bus, explanation=text)
    return replace(report, on_bus=on_bus)


def _ask_nvml() -> GpuReport:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return GpuReport("no-library", "the Python package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as e:
        return _refusal(e)
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        cuda = _asked(nvml, getattr(nvml, "nvmlSystemGetCudaDriverVersion", None))
        count = nvml.nvmlDeviceGetCount()
        answers = [_read_or_reason(nvml, i) for i in range(count)]
    except nvml.NVMLError as e:
        return _refusal(e)
    finally:
        nvml.nvmlShutdown()
    gpus = tuple(a for a in answers if isinstance(a, Gpu))
    refused = [a for a in answers if isinstance(a, GpuReport)]
    version = f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None
    if not answers:
        return GpuReport("no-device", "the NVIDIA driver sees no device", driver, (), version)
    reasons = tuple(r.explanation for r in refused)
    if not gpus:
        return replace(refused[0], driver=driver, cuda=version, unreadable=reasons)
    names = ", ".join(f"{g.name} ({g.architecture})" for g in gpus)
    return GpuReport("found", names, driver, gpus, version, (), reasons)


def _read_or_reason(nvml: Any, index: int) -> Gpu | GpuReport:
    """Return a device, or why it cannot be read: a lost one must not hide the others."""
    try:
        return _read(nvml, index)
    except nvml.NVMLError as e:
        report = _refusal(e)
        return replace(report, explanation=f"device {index}: {report.explanation}")


def _read(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    # What a kind of device does not have, NVML refuses: old ones have no instances, and so on.
    memory = _memory(nvml, handle)
    mig = _asked(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle))
    use = _asked(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    power = _asked(nvml, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    return Gpu(
        _text(nvml.nvmlDeviceGetName(handle)),
        f"sm_{major}{minor}",
        None if memory is None else int(memory.total),
        _text(nvml.nvmlDeviceGetUUID(handle)),
        None if memory is None else int(memory.free),
        None if mig is None else bool(mig[0]),
        None if use is None else use.gpu / 100,
        None if power is None else power / 1000,
        _instances(nvml, handle) if mig is not None and mig[0] else None,
    )


def _instances(nvml: Any, handle: Any) -> tuple[int | None, ...]:
    """Return the memory of each MIG instance; places where none was made are passed over."""
    found = []
    for index in range(_asked(nvml, lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        part = _part(nvml, handle, index)
        if part is not None:
            memory = _memory(nvml, part)
            found.append(None if memory is None else int(memory.total))
    return tuple(found)


def _part(nvml: Any, handle: Any, index: int) -> Any:
    return _asked(nvml, lambda: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))


def _memory(nvml: Any, handle: Any) -> Any:
    """Return a device's memory; integrated ones have none of their own."""
    return _asked(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))


def _asked(nvml: Any, question: Callable[[], Any] | None) -> Any:
    """Return NVML's answer, or None where it has none."""
    try:
        return question() if question else None
    except (nvml.NVMLError, AttributeError):
        return None


def _refusal(e: Exception) -> GpuReport:
    name = type(e).__name__.removeprefix("NVMLError_")
    status, explanation = REASONS.get(name, ("failed", f"NVML failed: {e}"))
    return GpuReport(status, explanation)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
