"""AMD's GPUs: sysfs for what there is, ``amd-smi`` or ``rocm-smi`` for the names of products."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from mojoaccel.targets.ask import ask_program
from mojoaccel.targets.drm import Card, cards, section
from mojoaccel.targets.pci import AMD

KFD = Path("/sys/class/kfd/kfd/topology/nodes")
ROCM_VERSION = Path("/opt/rocm/.info/version")

MOJO_AMD = frozenset({
    "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1033", "gfx1100", "gfx1101", "gfx1102", "gfx1103",
    "gfx1150", "gfx1151", "gfx1152", "gfx1200", "gfx1201", "gfx1250",
})  # fmt: skip
"""What ``mojo build --print-supported-accelerators`` of 1.2.0 lists."""

LEAST_ROCM = (6, 3, 3)
"""First ROCm release that Mojo 1.2.0 and MAX 26.7 work with."""

SERIES = ("Card Series", "Card series", "Device Name")
"""The product's name in ``rocm-smi --json``: since ROCm 6, before it, and as a last resort."""


def amd() -> dict[str, Any]:
    """Return AMD GPUs with their architecture and memory, and the release of ROCm."""
    found = cards(AMD)
    told = _told_by_amd_smi() or _told_by_rocm_smi()
    targets = _gfx_targets()
    devices = []
    for card in found:
        said = _of_card(card, told, len(found))
        gfx = said.get("gfx") or _target_of_card(card, targets, len(found))
        devices.append(
            {
                "name": said.get("name") or card.text("product_name"),
                "gfx": gfx,
                "supported": None if gfx is None else gfx in MOJO_AMD,
                "memory_bytes": card.number("mem_info_vram_total"),
                "memory_used_bytes": card.number("mem_info_vram_used"),
            }
        )
    rocm = _rocm_version()
    enough = None if rocm is None else _release(rocm) >= LEAST_ROCM
    nodes = [f"dri/{c.render}" for c in found if c.render]
    nodes += ["kfd"] if targets else []
    return section(devices, nodes, AMD, rocm=rocm, rocm_sufficient=enough)


def _of_card(card: Card, told: dict[str, dict[str, str]], count: int) -> dict[str, str]:
    """Return what a tool told of a card: by its address, or because there is only one."""
    if card.address.lower() in told:
        return told[card.address.lower()]
    return next(iter(told.values())) if len(told) == count == 1 else {}


def _target_of_card(card: Card, targets: dict[str, str], count: int) -> str | None:
    if card.render in targets:
        return targets[card.render]
    return next(iter(targets.values())) if len(targets) == count == 1 else None


def _gfx_targets() -> dict[str, str]:
    """Return the architecture of each GPU of AMD's compute driver, by render node."""
    found = {}
    for node in sorted(KFD.glob("*"), key=lambda n: (len(n.name), n.name)):
        fields = dict(re.findall(r"^(\w+) (\d+)$", _text(node / "properties"), re.MULTILINE))
        version = int(fields.get("gfx_target_version", "0"))
        if version:
            major, minor, step = version // 10000, version // 100 % 100, version % 100
            render = f"renderD{fields.get('drm_render_minor', node.name)}"
            found[render] = f"gfx{major}{minor}{step:x}"
    return found


def _rocm_version() -> str | None:
    return _text(ROCM_VERSION).strip() or None


def _release(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, ``6.3.3-74`` as (6, 3, 3)."""
    return tuple(int(n) for n in re.findall(r"\d+", text.split("-", maxsplit=1)[0])[:3])


def _told_by_amd_smi() -> dict[str, dict[str, str]]:
    """Return name and architecture by PCI address (by number, where it tells none)."""
    program = shutil.which("amd-smi")
    said = ask_program([program, "static", "--asic", "--bus", "--json"]) if program else None
    try:
        found = json.loads(said or "[]")
        rows = found.get("gpu_data", []) if isinstance(found, dict) else found
        return {
            _known(row.get("bus", {}).get("bdf")).lower() or str(row.get("gpu")): {
                "name": _known(row["asic"].get("market_name")),
                "gfx": _known(row["asic"].get("target_graphics_version")).lower(),
            }
            for row in rows
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _told_by_rocm_smi() -> dict[str, dict[str, str]]:
    """Return the name by PCI address; its card numbers are not the kernel's.

    Its GFX Version is passed over: it writes gfx90a as gfx9010.
    """
    program = shutil.which("rocm-smi")
    said = ask_program([program, "--showproductname", "--showbus", "--json"]) if program else None
    try:
        rows = json.loads(said or "{}")
    except ValueError:
        return {}
    return {
        str(fields.get("PCI Bus", card)).lower(): {
            "name": next((_known(fields[s]) for s in SERIES if _known(fields.get(s))), "")
        }
        for card, fields in rows.items()
        if card.startswith("card") and isinstance(fields, dict)
    }


def _known(text: Any) -> str:
    """Return what a tool says of a field; they write N/A for what they cannot read."""
    return "" if text in (None, "N/A") else str(text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
