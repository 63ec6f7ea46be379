"""Energy counters of the machine, where they can be read; they count everything that runs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """A counter that runs on."""

    name: str

    def joules(self) -> float:
        """Return the energy used since the meter was opened."""
        ...


class RaplMeter:
    """Sum of the processor packages' counters (Linux powercap, RAPL)."""

    name = "RAPL"

    def __init__(self, root: Path = POWERCAP) -> None:
        """Open the package domains.

        Raises:
            OSError: There are none, or they cannot be read.
        """
        self._domains = [
            (f / "energy_uj", int((f / "max_energy_range_uj").read_text()))
            for f in sorted(root.glob("intel-rapl:*"))
            if (f / "name").read_text().startswith("package")
        ]
        if not self._domains:
            raise FileNotFoundError(f"no package domains in {root}")
        self._last = [int(path.read_text()) for path, _ in self._domains]
        self._total = 0

    def joules(self) -> float:
        """Return the energy since opening; a counter that wrapped once in between is unwrapped."""
        for index, (path, limit) in enumerate(self._domains):
            now = int(path.read_text())
            self._total += (now - self._last[index]) % (limit + 1)
            self._last[index] = now
        return self._total / 1e6


class NvmlMeter:
    """Counter of the first NVIDIA GPU."""

    name = "NVML"

    def __init__(self) -> None:
        """Open the counter.

        Raises:
            OSError: There is no GPU, or it has no counter.
        """
        try:
            import pynvml
        except ImportError as e:
            raise OSError("nvidia-ml-py is not installed") from e
        try:
            pynvml.nvmlInit()
            self._device = pynvml.nvmlDeviceGetHandleByIndex(0)
            self._read = pynvml.nvmlDeviceGetTotalEnergyConsumption
            self._first = int(self._read(self._device))
        except pynvml.NVMLError as e:
            raise OSError(f"no NVML energy counter: {e}") from e

    def joules(self) -> float:
        """Return the energy since opening."""
        return (int(self._read(self._device)) - self._first) / 1e3


def open_meter(target: str) -> Meter | None:
    """Return the counter of the device that `target` computes on, or None."""
    try:
        return NvmlMeter() if target.startswith("nvidia") else RaplMeter()
    except OSError:
        return None
