"""Graphics and compute devices as the PCI bus shows them, with or without a driver."""

from __future__ import annotations

from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")
NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"
CLASSES = ("0x03", "0x12")
"""Display controllers and processing accelerators."""


def devices_on_bus(vendor: str) -> list[str]:
    """Return the addresses of a maker's GPUs and accelerators, ``0000:01:00.0``."""
    found = []
    for device in sorted(DEVICES.glob("*")):
        try:
            kind = (device / "class").read_text(encoding="utf-8")
            maker = (device / "vendor").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if maker == vendor and kind.startswith(CLASSES):
            found.append(device.name)
    return found
