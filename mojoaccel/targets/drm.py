"""Graphics cards as Linux's kernel shows them (DRM), and who may open them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mojoaccel.targets.pci import devices_on_bus

DRM = Path("/sys/class/drm")
DEVICES = Path("/dev")


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card that a kernel driver serves.

    Attributes:
        device: Its folder in sysfs.
        address: Where it is on the PCI bus, ``0000:03:00.0``.
        render: The node that programs compute through, ``renderD128``; None if it has none.
    """

    device: Path
    address: str
    render: str | None

    def text(self, name: str) -> str | None:
        """Return one of its attributes, None if there is none or nobody may read it."""
        try:
            return (self.device / name).read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """Return one of its attributes that is a number."""
        text = self.text(name)
        return int(text) if text and text.isdecimal() else None


def cards(vendor: str) -> list[Card]:
    """Return a maker's cards in the kernel's order.

    Args:
        vendor: The maker's number, ``0x8086``.
    """
    folders = [c for c in DRM.glob("card[0-9]*") if c.name.removeprefix("card").isdecimal()]
    ordered = sorted(folders, key=lambda c: int(c.name.removeprefix("card")))
    found = [_card(folder / "device") for folder in ordered]
    return [c for c in found if c.text("vendor") == vendor]


def _card(device: Path) -> Card:
    nodes = sorted(n.name for n in (device / "drm").glob("renderD*"))
    return Card(device, os.path.basename(os.path.realpath(device)), nodes[0] if nodes else None)


def section(
    devices: list[dict[str, Any]], nodes: Sequence[str], vendor: str | None, **more: Any
) -> dict[str, Any]:
    """Return a maker's part of the report, with a status and a sentence that explains it.

    Args:
        devices: What is known of each device.
        nodes: Below /dev, what a program opens to use them.
        vendor: The maker's number; without a driver the PCI bus still shows its devices.
        more: Further fields.
    """
    if not devices:
        on_bus = devices_on_bus(vendor) if vendor else []
        if on_bus:
            text = f"the PCI bus shows {', '.join(on_bus)}, but no driver is loaded"
            return {"status": "no-driver", "explanation": text, "devices": [], **more}
        return {"status": "no-device", "explanation": "none found", "devices": [], **more}
    found = {"devices": devices, **more}
    paths = [DEVICES / node for node in nodes]
    absent = [str(p) for p in paths if not os.path.exists(p)]
    shut = [str(p) for p in paths if os.path.exists(p) and not os.access(p, os.R_OK | os.W_OK)]
    if shut:
        text = f"{len(devices)} found; this user may not open {', '.join(shut)}"
        return {"status": "no-permission", "explanation": text, **found}
    if absent:
        text = f"{len(devices)} found; {', '.join(absent)} is not here (a container without it?)"
        return {"status": "no-node", "explanation": text, **found}
    text = f"{len(devices)} found; mojoaccel does not compile for them"
    return {"status": "found", "explanation": text, **found}
