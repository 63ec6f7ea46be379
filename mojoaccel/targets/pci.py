"""Graphics and compute devices as the PCI bus shows them, with or without a driver."""

from __future__ import annotations

from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")
NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"
CLASSES = ("0x03", "0x12")
"""Display controllers and processing accelerators."""

NAMES = (Path("/usr/share/misc/pci.ids"), Path("/usr/share/hwdata/pci.ids"))
"""The list of names that pciutils and hwdata install."""


def device_name(vendor: str, device: str | None) -> str | None:
    """Return a device's name from the system's list; None if it has none or no such device.

    Args:
        vendor: The maker's number, ``0x8086``.
        device: The device's number, ``0x56a0``.
    """
    for names in NAMES if device else ():
        try:
            text = names.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        inside = False
        for line in text.splitlines():
            if line[:1] not in ("", "#", "\t"):
                inside = line.startswith(vendor.removeprefix("0x"))
            elif inside and line.startswith(f"\t{str(device).removeprefix('0x')}  "):
                return line.split("  ", 1)[1].strip()
    return None


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
