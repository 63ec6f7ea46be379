"""GPUs and accelerators besides NVIDIA's: AMD and Intel by sysfs and their tools, others by name.

mojoaccel compiles for none of them; they are reported so that nobody has to guess why. Each maker
gets a status: ``found``, ``no-device``, ``no-driver``, ``no-permission`` or ``failed``; nothing is
estimated.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from mojoaccel.targets.pci import AMD, INTEL, device_name, devices_on_bus

DRM = Path("/sys/class/drm")
KFD = Path("/sys/class/kfd/kfd/topology/nodes")
DEVICES = Path("/dev")
ROCM_VERSION = Path("/opt/rocm/.info/version")
SECONDS = 5.0

MOJO_AMD = frozenset({
    "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1033", "gfx1100", "gfx1101", "gfx1102", "gfx1103",
    "gfx1150", "gfx1151", "gfx1152", "gfx1200", "gfx1201", "gfx1250",
})  # fmt: skip
"""What ``mojo build --print-supported-accelerators`` of 1.2.0 lists."""

LEAST_ROCM = (6, 3, 3)
"""First ROCm release that Mojo 1.2.0 and MAX 26.7 work with."""

NODES = (
    ("Habana Gaudi", "accel/accel*_hl_controlD*", "hl*"),
    ("Google TPU", "accel[0-9]*", "apex_*"),
    ("Huawei Ascend", "davinci[0-9]*", "davinci_manager"),
)
"""(maker, device nodes): present means there, not usable."""


def describe_others() -> dict[str, Any]:
    """Return AMD, Intel, Apple and unsupported accelerators."""
    return {
        "amd": amd(),
        "intel": intel(),
        "apple": apple(),
        "unsupported": unsupported(),
    }


def amd() -> dict[str, Any]:
    """Return AMD GPUs, from sysfs; names from ``amd-smi`` or ``rocm-smi`` where installed."""
    cards = _cards(AMD)
    told = _amd_smi()
    names = {} if told else _rocm_names()
    targets = _gfx_targets()
    devices = []
    for index, card in enumerate(cards):
        asic = told.get(os.path.basename(os.path.realpath(card / "device")), {})
        gfx = asic.get("gfx") or (targets[index] if index < len(targets) else None)
        name = asic.get("name") or names.get(index) or _text(card / "device" / "product_name")
        devices.append(
            {
                "name": name,
                "gfx": gfx,
                "supported": None if gfx is None else gfx in MOJO_AMD,
                "memory_bytes": _integer(card / "device" / "mem_info_vram_total"),
                "memory_used_bytes": _integer(card / "device" / "mem_info_vram_used"),
            }
        )
    rocm = _text(ROCM_VERSION)
    enough = None if rocm is None else _release(rocm) >= LEAST_ROCM
    return _section(devices, DEVICES / "kfd", AMD, rocm=rocm, rocm_sufficient=enough)


def intel() -> dict[str, Any]:
    """Return Intel GPUs, from sysfs; names from its label or the system's list of PCI devices."""
    devices = [
        {
            "name": _text(card / "device" / "label")
            or device_name(INTEL, _text(card / "device" / "device")),
            "device_id": _text(card / "device" / "device"),
            "memory_bytes": _integer(card / "device" / "mem_info_vram_total"),
        }
        for card in _cards(INTEL)
    ]
    return _section(devices, DEVICES / "dri", INTEL)


def apple() -> dict[str, Any]:
    """Return Apple's GPUs, from system_profiler."""
    if platform.system() != "Darwin":
        return _section([], None, None)
    said = _run(["/usr/sbin/system_profiler", "-json", "SPDisplaysDataType"])
    try:
        found = json.loads(said or "")["SPDisplaysDataType"]
    except (ValueError, KeyError):
        return {"status": "failed", "explanation": "system_profiler did not answer", "devices": []}
    devices = [
        {
            "name": d.get("sppci_model"),
            "cores": d.get("sppci_cores"),
            "metal": d.get("spdisplays_mtlgpufamilysupport"),
        }
        for d in found
    ]
    return _section(devices, None, None)


def unsupported() -> list[dict[str, Any]]:
    """Return accelerators that are there by their device nodes and that nothing here uses."""
    found = []
    for maker, *patterns in NODES:
        nodes = sorted({str(n) for p in patterns for n in DEVICES.glob(p)})
        if nodes:
            found.append({"name": maker, "nodes": nodes, "supported": False})
    return found


def _section(
    devices: list[dict[str, Any]], node: Path | None, vendor: str | None, **more: Any
) -> dict[str, Any]:
    """Return a maker's part of the report; without a driver the PCI bus still shows the device."""
    if not devices:
        on_bus = devices_on_bus(vendor) if vendor else []
        if on_bus:
            text = f"the PCI bus shows {', '.join(on_bus)}, but no driver is loaded"
            return {"status": "no-driver", "explanation": text, "devices": [], **more}
        return {"status": "no-device", "explanation": "none found", "devices": [], **more}
    if node is not None and node.exists() and not os.access(node, os.R_OK):
        text = f"{len(devices)} found; this user may not open {node}"
        return {"status": "no-permission", "explanation": text, "devices": devices, **more}
    text = f"{len(devices)} found; mojoaccel does not compile for them"
    return {"status": "found", "explanation": text, "devices": devices, **more}


def _cards(vendor: str) -> list[Path]:
    cards = [c for c in DRM.glob("card[0-9]*") if c.name.removeprefix("card").isdecimal()]
    ordered = sorted(cards, key=lambda c: int(c.name.removeprefix("card")))
    return [c for c in ordered if _text(c / "device" / "vendor") == vendor]


def _gfx_targets() -> list[str]:
    """Return the architectures of the GPU nodes of AMD's kernel driver, ``gfx942``."""
    found = []
    for node in sorted(KFD.glob("*"), key=lambda n: (len(n.name), n.name)):
        fields = dict(
            line.split(maxsplit=1)
            for line in (_text(node / "properties") or "").splitlines()
            if " " in line
        )
        version = int(fields.get("gfx_target_version", "0"))
        if version:
            major, minor, step = version // 10000, version // 100 % 100, version % 100
            found.append(f"gfx{major}{minor}{step:x}")
    return found


def _release(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, ``6.3.3-74`` as (6, 3, 3)."""
    return tuple(int(n) for n in re.findall(r"\d+", text.split("-", maxsplit=1)[0])[:3])


def _amd_smi() -> dict[str, dict[str, str]]:
    """Return name and architecture by PCI address, from ``amd-smi`` where it is installed."""
    program = shutil.which("amd-smi")
    said = _run([program, "static", "--asic", "--bus", "--json"]) if program else None
    try:
        found = json.loads(said or "[]")
        rows = found.get("gpu_data", []) if isinstance(found, dict) else found
        return {
            row["bus"]["bdf"].lower(): {
                "name": _known(row["asic"].get("market_name")),
                "gfx": _known(row["asic"].get("target_graphics_version")).lower(),
            }
            for row in rows
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _known(text: Any) -> str:
    """Return what amd-smi says of a field; it writes N/A for what it cannot read."""
    return "" if text in (None, "N/A") else str(text)


def _rocm_names() -> dict[int, str]:
    program = shutil.which("rocm-smi")
    said = _run([program, "--showproductname", "--json"]) if program else None
    try:
        cards = json.loads(said or "{}")
    except ValueError:
        return {}
    return {
        int(card.removeprefix("card")): str(fields["Card Series"])
        for card, fields in cards.items()
        if card.startswith("card") and isinstance(fields, dict) and "Card Series" in fields
    }


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdecimal() else None
