"""GPUs and accelerators besides NVIDIA's: Apple's, and those that are only named.

mojoaccel compiles for none of them; they are reported so that nobody has to guess why. Each maker
gets a status: ``found``, ``no-device``, ``no-driver``, ``no-node``, ``no-permission`` or
``failed``; nothing is estimated.
"""

from __future__ import annotations

import json
import platform
from typing import Any

from mojoaccel.targets import drm
from mojoaccel.targets.ask import ask_program
from mojoaccel.targets.drm import section
from mojoaccel.targets.gpu_amd import amd
from mojoaccel.targets.gpu_intel import intel

DISPLAYS = ("/usr/sbin/system_profiler", "-json", "SPDisplaysDataType")

NODES = (
    ("Habana Gaudi", "accel/accel_controlD[0-9]*", "hl[0-9]*"),
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


def apple() -> dict[str, Any]:
    """Return Apple's GPUs, from system_profiler."""
    if platform.system() != "Darwin":
        return section([], (), None)
    said = ask_program(DISPLAYS)
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
    return section(devices, (), None)


def unsupported() -> list[dict[str, Any]]:
    """Return accelerators that are there by their device nodes and that nothing here uses."""
    found = []
    for maker, *patterns in NODES:
        nodes = sorted({str(n) for p in patterns for n in drm.DEVICES.glob(p)})
        if nodes:
            found.append({"name": maker, "nodes": nodes, "supported": False})
    return found
