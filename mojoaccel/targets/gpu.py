"""NVIDIA GPUs of this machine, as NVML tells; says why when it tells none.

Not part of `probe`: starting NVML takes up to a second, and a CPU target does not depend on it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

REASONS = {
    "LibraryNotFound": ("no-library", "libnvidia-ml.so.1 is not installed: no NVIDIA driver"),
    "DriverNotLoaded": ("no-driver", "the NVIDIA kernel driver is not loaded"),
    "NoPermission": ("no-permission", "this user may not use the NVIDIA devices"),
    "LibRmVersionMismatch": ("mismatch", "NVML and the kernel driver have different versions"),
    "GpuIsLost": ("lost", "a GPU has fallen off the bus; restart the machine"),
}
"""NVML error -> (status, sentence)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device.

    Attributes:
        name: Product name.
        architecture: As compilers name it, ``sm_90``.
        memory_bytes: Device memory; None where it shares the host's.
        uuid: Stable identity.
    """

    name: str
    architecture: str
    memory_bytes: int | None
    uuid: str


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What NVML said.

    Attributes:
        status: ``found`` | ``no-device`` | ``no-library`` | ``no-driver`` | ``no-permission`` |
            ``mismatch`` | ``lost`` | ``failed``.
        explanation: One sentence for people.
        driver: Driver version, if NVML answered.
        gpus: The devices.
    """

    status: str
    explanation: str
    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()


def read_gpus() -> GpuReport:
    """Ask NVML for the devices."""
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
        gpus = tuple(_read(nvml, i) for i in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as e:
        return _refusal(e)
    finally:
        nvml.nvmlShutdown()
    if not gpus:
        return GpuReport("no-device", "the NVIDIA driver sees no device", driver)
    names = ", ".join(f"{g.name} ({g.architecture})" for g in gpus)
    return GpuReport("found", names, driver, gpus)


def _read(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    try:
        memory: int | None = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError:
        memory = None  # integrated devices have no memory of their own
    name = _text(nvml.nvmlDeviceGetName(handle))
    return Gpu(name, f"sm_{major}{minor}", memory, _text(nvml.nvmlDeviceGetUUID(handle)))


def _refusal(e: Exception) -> GpuReport:
    name = type(e).__name__.removeprefix("NVMLError_")
    status, explanation = REASONS.get(name, ("failed", f"NVML failed: {e}"))
    return GpuReport(status, explanation)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
