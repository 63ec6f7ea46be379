"""What this machine and its Modular installation can do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any

MEGABYTE = 1 << 20


class ModularEnvironment:
    """The machine and the toolchain, looked at once when first asked.

    Every value is read; what cannot be read is None.
    """

    def __init__(self, mojo: str | None = None) -> None:
        """Look with the compiler at `mojo`, by default the one that `compile` would use."""
        self.mojo = mojo

    @cached_property
    def inventory(self) -> Mapping[str, Any]:
        """Everything that ``mojoaccel detect --json`` prints (schemas/detect.json)."""
        from mojoaccel.doctor.inventory import take_inventory

        return take_inventory("cpu", self.mojo)

    async def look(self) -> bool:
        """Look without blocking the event loop; return `mojo_available`."""
        return await asyncio.to_thread(lambda: self.mojo_available)

    @property
    def mojo_available(self) -> bool:
        """Whether a Mojo compiler of a supported version was found."""
        tools = self.inventory["toolchain"]["mojo"]
        return tools["used"] is not None and tools["problem"] is None

    @property
    def max_available(self) -> bool:
        """Whether the ``max`` package is installed and fits this Mojo."""
        found = self.inventory["toolchain"]["max"]
        return found["version"] is not None and found["pairing"]["fits"] is not False

    @property
    def modular_version(self) -> str | None:
        """Version of the Mojo compiler."""
        used = self.inventory["toolchain"]["mojo"]["used"]
        return used["version"] if used else None

    @property
    def devices(self) -> list[dict[str, Any]]:
        """The processor, and every GPU that was found.

        Each has ``name``, ``type`` (cpu, gpu), ``vendor``, ``cores``, ``memory_mb``,
        ``supported_dtypes`` (what mojoaccel computes in on it), ``simd_width`` (bits) and
        ``supported`` (whether mojoaccel compiles for it).
        """
        return [self._processor(), *self._gpus()]

    def _processor(self) -> dict[str, Any]:
        cpu, memory = self.inventory["cpu"], self.inventory["memory"]
        from mojoaccel.ir.types import DTYPES

        limits = [n for n in (memory["total_bytes"], memory["limit_bytes"]) if n is not None]
        return {
            "name": cpu["model"],
            "type": "cpu",
            "vendor": cpu["vendor"],
            "architecture": cpu["architecture"],
            "cores": cpu["usable_cores"],
            "memory_mb": min(limits) // MEGABYTE if limits else None,
            "supported_dtypes": [d.torch for d in DTYPES.values()],
            "simd_width": cpu["simd"]["register_bits"],
            "simd_level": cpu["simd"]["level"],
            "supported": self.inventory["problem"] is None,
        }

    def _gpus(self) -> list[dict[str, Any]]:
        found = []
        for vendor, label in (("nvidia", "NVIDIA"), ("amd", "AMD"), ("intel", "Intel")):
            for gpu in self.inventory["gpus"][vendor]["devices"]:
                memory = gpu.get("memory_bytes")
                found.append(
                    {
                        "name": gpu.get("name"),
                        "type": "gpu",
                        "vendor": label,
                        "architecture": gpu.get("architecture"),
                        "cores": None,
                        "memory_mb": None if memory is None else memory // MEGABYTE,
                        "supported_dtypes": None,
                        "simd_width": None,
                        "supported": False,  # nothing is compiled for GPUs yet
                    }
                )
        return found
