"""Intel's GPUs: sysfs for what there is, Level Zero for the product's name and its memory."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mojoaccel.targets import drm, level_zero
from mojoaccel.targets.ask import ask_program
from mojoaccel.targets.drm import Card, cards, section
from mojoaccel.targets.pci import INTEL, device_name, devices_on_bus

WSL = "dxg"
"""The node through which the Windows Subsystem for Linux shows GPUs; sysfs has none there."""


def intel() -> dict[str, Any]:
    """Return Intel GPUs; what Level Zero does not tell comes from sysfs and the list of names."""
    found = cards(INTEL)
    present = bool(found) or os.path.exists(drm.DEVICES / WSL) or bool(devices_on_bus(INTEL))
    answer = ask_level_zero() if present else {"status": None, "devices": []}
    told = list(answer["devices"])
    devices = []
    for card in found:
        said = _of_card(card, told, len(found))
        number = card.text("device")
        devices.append(
            {
                "name": said.get("name") or card.text("label") or device_name(INTEL, number),
                "device_id": number,
                "memory_bytes": said.get("memory_bytes") or card.number("mem_info_vram_total"),
            }
        )
    devices += [{k: d[k] for k in ("name", "device_id", "memory_bytes")} for d in told]
    nodes = [f"dri/{c.render}" for c in found if c.render]
    report = section(devices, nodes, INTEL, level_zero=answer["status"])
    if any(d["memory_bytes"] is None for d in devices):
        report["explanation"] += f"; memory is unknown: {answer['explanation']}"
    return report


def _of_card(card: Card, told: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Take what Level Zero told of a card: by its address, or because there is only one."""
    fitting = [d for d in told if d["address"] == card.address]
    if not fitting and count == len(told) == 1 and told[0]["address"] is None:
        fitting = told[:]
    if not fitting:
        return {}
    told.remove(fitting[0])
    return fitting[0]


def ask_level_zero() -> dict[str, Any]:
    """Ask Level Zero in a process of its own: it loads a driver, which may crash or hang."""
    said = ask_program([sys.executable, "-I", level_zero.__file__])
    try:
        found: dict[str, Any] = json.loads(said or "")
    except ValueError:
        text = "Level Zero crashed or did not answer"
        return {"status": "failed", "explanation": text, "devices": []}
    return found
