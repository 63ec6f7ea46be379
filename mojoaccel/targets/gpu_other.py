"""GPUs and accelerators besides NVIDIA's: AMD and Intel by sysfs and their tools, others by name.

mojoaccel compiles for none of them; they are reported so that nobody has to guess why. Each maker
gets a status: ``found``, ``no-device``, ``no-permission`` or ``failed``; nothing is estimated.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

DRM = Path("/sys/class/drm")
KFD = Path("/sys/class/kfd/kfd/topology/nodes")
DEVICES = Path("/dev")
ROCM_VERSION = Path("/opt/rocm/.info/version")
SECONDS = 5.0
AMD_VENDOR, INTEL_VENDOR = "0x1002", "0x8086"

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
    """Return AMD GPUs, from sysfs; names from ``rocm-smi`` where it is installed."""
    cards = _cards(AMD_VENDOR)
    names = _rocm_names()
    targets = _gfx_targets()
    devices = [
        {
            "name": names.get(index) or _text(card / "device" / "product_name"),
            "gfx": targets[index] if index < len(targets) else None,
            "memory_bytes": _integer(card / "device" / "mem_info_vram_total"),
            "memory_used_bytes": _integer(card / "device" / "mem_info_vram_used"),
        }
        for index, card in enumerate(cards)
    ]
    return _section(devices, DEVICES / "kfd", rocm=_text(ROCM_VERSION))


def intel() -> dict[str, Any]:
    """Return Intel GPUs, from sysfs."""
    devices = [
        {
            "name": _text(card / "device" / "label"),
            "device_id": _text(card / "device" / "device"),
            "memory_bytes": _integer(card / "device" / "mem_info_vram_total"),
        }
        for card in _cards(INTEL_VENDOR)
    ]
    return _section(devices, DEVICES / "dri")


def apple() -> dict[str, Any]:
    """Return Apple's GPUs, from system_profiler."""
    if platform.system() != "Darwin":
        return _section([], None)
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
    return _section(devices, None)


def unsupported() -> list[dict[str, Any]]:
    """Return accelerators that are there by their device nodes and that nothing here uses."""
    found = []
    for maker, *patterns in NODES:
        nodes = sorted({str(n) for p in patterns for n in DEVICES.glob(p)})
        if nodes:
            found.append({"name": maker, "nodes": nodes, "supported": False})
    return found


def _section(devices: list[dict[str, Any]], node: Path | None, **more: Any) -> dict[str, Any]:
    if not devices:
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
