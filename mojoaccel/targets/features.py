"""Processor features: /proc/cpuinfo names, LLVM names, and what each CPU model implies.

One table for detect (which features a machine has), for build (which flags the compiler gets) and
for the artifact (which features the runtime must find before it loads the library).
"""

from __future__ import annotations

X86_FEATURES: dict[str, str] = {
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "bmi1": "bmi",
    "bmi2": "bmi2",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512vpopcntdq",
    "gfni": "gfni",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "avx512_vnni": "avx512vnni",
    "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16",
    "avx_vnni": "avxvnni",
    "amx_tile": "amx-tile",
    "amx_bf16": "amx-bf16",
    "amx_int8": "amx-int8",
}
"""Flag in /proc/cpuinfo -> LLVM feature. Only these are ever switched on or off."""

ARM_FEATURES: dict[str, str] = {
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fullfp16",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
}
"""The same for 64-bit Arm."""

_V3 = ("avx", "avx2", "fma", "f16c", "bmi1", "bmi2")
_SKX = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_ICL = (
    *_SKX,
    *("avx512ifma", "avx512vbmi", "avx512_vbmi2", "avx512_bitalg", "avx512_vpopcntdq"),
    *("gfni", "vaes", "vpclmulqdq", "avx512_vnni"),
)
_SPR = (*_ICL, "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8")

CPU_MODELS: dict[str, tuple[str, ...]] = {
    "sapphirerapids": _SPR,
    "icelake-server": _ICL,
    "skylake-avx512": _SKX,
    "x86-64-v3": _V3,
    "znver4": (*_ICL, "avx512_bf16"),
    "neoverse-n1": ("asimd", "asimddp", "asimdhp"),
    "neoverse-v1": ("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve"),
    "neoverse-n2": ("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2"),
    "generic": ("asimd",),
}
"""LLVM CPU name -> flags it implies."""

X86_CHOICE = (
    ("sapphirerapids", {"avx512_bf16", "avx512_fp16"}),
    ("icelake-server", {"avx512_vnni", "avx512bw", "avx512vl"}),
    ("skylake-avx512", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", set(_V3)),
)
"""CPU name to compile for, by the flags a machine must have; the first that fits. The rest is
said with explicit +/- features: a hypervisor may hide some (AMX, most often)."""


def feature_table(arch: str) -> dict[str, str]:
    """Return the flag table of an architecture."""
    return X86_FEATURES if arch == "x86_64" else ARM_FEATURES


def simd_bytes(arch: str, flags: frozenset[str]) -> int:
    """Return the width of the widest usable vector register in bytes."""
    if arch != "x86_64":
        return 16
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        return 64
    return 32 if "avx2" in flags else 16
