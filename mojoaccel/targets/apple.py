"""Reads Apple's processors from ``sysctl``: features, caches, performance and efficiency cores."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from mojoaccel.targets.ask import started

SYSCTL = ("/usr/sbin/sysctl", "hw", "machdep.cpu")
SECONDS = 2.0

FLAGS = {
    "AdvSIMD": "asimd", "neon": "asimd", "FEAT_FP16": "asimdhp", "FEAT_DotProd": "asimddp",
    "FEAT_BF16": "bf16", "FEAT_I8MM": "i8mm", "FEAT_LSE": "atomics", "FEAT_FHM": "asimdfhm",
    "FEAT_SME": "sme", "FEAT_SME2": "sme2",
}  # fmt: skip
"""Name below ``hw.optional``, or ``hw.optional.arm`` there -> flag as Linux has it."""


def ask_sysctl() -> dict[str, str]:
    """Return what sysctl tells of the processor; empty where the system is not macOS."""
    if platform.system() != "Darwin":
        return {}
    done = started(SYSCTL, SECONDS)  # it ends with 1 if it may not tell one of the values
    return read_sysctl(done.stdout) if done is not None else {}


def read_sysctl(text: str) -> dict[str, str]:
    """Return the names and values of sysctl's output, ``hw.ncpu: 8``."""
    pairs = (line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return {name.strip(): value.strip() for name, value in pairs}


def arm_flags(said: Mapping[str, str]) -> frozenset[str]:
    """Return the features that are there, named as Linux names them."""
    there = {name.rsplit(".", 1)[-1] for name, value in said.items() if _optional(name, value)}
    return frozenset(flag for name, flag in FLAGS.items() if name in there)


def _optional(name: str, value: str) -> bool:
    return name.startswith("hw.optional.") and value == "1"


def core_kinds(said: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the kinds of cores, the fastest first, each with its number and caches in bytes."""
    kinds = []
    for level in range(_number(said.get("hw.nperflevels")) or 0):
        of = f"hw.perflevel{level}."
        kinds.append(
            {
                "name": said.get(of + "name"),  # since macOS 14
                "cores": _number(said.get(of + "physicalcpu")),
                "l1d_bytes": _number(said.get(of + "l1dcachesize")),
                "l2_bytes": _number(said.get(of + "l2cachesize")),
            }
        )
    return kinds


def physical_cores(said: Mapping[str, str]) -> int | None:
    """Return the number of cores, hyper-threads counted once."""
    return _number(said.get("hw.physicalcpu"))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
