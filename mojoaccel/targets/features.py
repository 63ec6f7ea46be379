"""Processor features: /proc/cpuinfo names, LLVM names, and what each CPU model implies.

One table for detect (which features a machine has), for build (which flags the compiler gets) and
for the artifact (which features the runtime must find before it loads the library).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

X86_FEATURES: dict[str, str] = {
    "pni": "sse3",
    "ssse3": "ssse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "sse4a": "sse4a",
    "popcnt": "popcnt",
    "cx16": "cx16",
    "lahf_lm": "sahf",
    "movbe": "movbe",
    "abm": "lzcnt",
    "3dnowprefetch": "prfchw",
    "aes": "aes",
    "pclmulqdq": "pclmul",
    "sha_ni": "sha",
    "adx": "adx",
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
"""Flag in /proc/cpuinfo -> LLVM feature: all that a code generator may use by itself."""

ARM_FEATURES: dict[str, str] = {
    "asimd": "neon",
    "aes": "aes",
    "sha2": "sha2",
    "sha3": "sha3",
    "sm4": "sm4",
    "crc32": "crc",
    "atomics": "lse",
    "asimdrdm": "rdm",
    "lrcpc": "rcpc",
    "asimddp": "dotprod",
    "asimdhp": "fullfp16",
    "asimdfhm": "fp16fml",
    "fcma": "complxnum",
    "jscvt": "jsconv",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
    "svebitperm": "sve-bitperm",
}
"""The same for 64-bit Arm."""

NOT_GENERATED = frozenset({
    "cmov", "cx8", "fxsr", "mmx", "sse", "sse2", "x87",
    "cldemote", "clflushopt", "clwb", "clzero", "crc32", "enqcmd", "fsgsbase",
    "invpcid", "movdir64b", "movdiri", "mwaitx", "pconfig", "pku", "ptwrite",
    "rdpid", "rdpru", "rdrnd", "rdseed", "serialize", "sgx", "shstk", "tsxldtrk",
    "uintr", "waitpkg", "wbnoinvd", "xsave", "xsavec", "xsaveopt", "xsaves",
    "fp-armv8",
    "ccdp", "ccidx", "ete", "fpac", "mte", "pauth", "perfmon", "rand", "ras", "sb", "spe",
    "ssbs", "trbe",
})  # fmt: skip
"""LLVM features of the models below that need no check: the first line of each architecture is in
every processor of it, the others are instructions that only appear where a program names them."""

_V3 = (
    *("pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "cx16", "lahf_lm", "movbe", "abm"),
    *("avx", "avx2", "fma", "f16c", "bmi1", "bmi2"),
)
_AVX512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_AVX512_2019 = (
    *("avx512ifma", "avx512vbmi", "avx512_vbmi2", "avx512_bitalg", "avx512_vpopcntdq"),
    *("gfni", "vaes", "vpclmulqdq", "avx512_vnni"),
)
_SKX = (*_V3, *_AVX512, "3dnowprefetch", "aes", "pclmulqdq", "adx")
_ICL = (*_SKX, *_AVX512_2019, "sha_ni")
_SPR = (*_ICL, "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8")
_ZEN3 = (
    *(*_V3, "3dnowprefetch", "aes", "pclmulqdq", "adx", "sha_ni"),
    *("sse4a", "vaes", "vpclmulqdq"),
)
_ARM_8_2 = ("asimd", "crc32", "atomics", "asimdrdm", "lrcpc", "asimddp", "asimdhp")
_N1 = (*_ARM_8_2, "aes", "sha2")
_SVE = ("asimdfhm", "fcma", "jscvt", "bf16", "i8mm", "sve")

CPU_MODELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "sapphirerapids": _SPR,
        "icelake-server": _ICL,
        "skylake-avx512": _SKX,
        "znver4": (*_ZEN3, *_AVX512, *_AVX512_2019, "avx512_bf16"),
        "znver3": _ZEN3,
        "x86-64-v4": (*_V3, *_AVX512),
        "x86-64-v3": _V3,
    },
    "aarch64": {
        "neoverse-n2": (*_ARM_8_2, *_SVE, "sve2", "svebitperm"),
        "neoverse-v1": (*_N1, *_SVE, "sha3", "sm4"),
        "neoverse-n1": _N1,
        "generic": ("asimd",),
    },
}
"""LLVM CPU name -> flags it implies."""

CPU_CHOICE: dict[str, tuple[tuple[str, frozenset[str]], ...]] = {
    "x86_64": (
        ("znver4", frozenset({"sse4a", *_AVX512, "avx512_vnni", "avx512_bf16"})),
        ("znver3", frozenset({"sse4a", *_V3, "vaes"})),
        ("sapphirerapids", frozenset({*_AVX512, "avx512_bf16", "avx512_fp16"})),
        ("icelake-server", frozenset({*_AVX512, "avx512_vnni"})),
        ("skylake-avx512", frozenset(_AVX512)),
        ("x86-64-v3", frozenset({"avx", "avx2", "fma", "f16c", "bmi1", "bmi2"})),
    ),
    "aarch64": (
        ("neoverse-n2", frozenset({"sve2", "bf16", "i8mm"})),
        ("neoverse-v1", frozenset({"sve", "bf16", "i8mm"})),
        ("neoverse-n1", frozenset({"atomics", "asimddp", "asimdhp"})),
        ("generic", frozenset({"asimd"})),
    ),
}
"""CPU name to compile for, by the flags a machine must have; the first that fits. The rest is
said with explicit +/- features: a hypervisor may hide some (AMX, most often)."""

_PREREQUISITES: dict[str, tuple[str, ...]] = {
    "ssse3": ("pni",),
    "sse4_1": ("ssse3",),
    "sse4_2": ("sse4_1",),
    "avx": ("sse4_2",),
    "avx2": ("avx",),
    "fma": ("avx",),
    "f16c": ("avx",),
    "vaes": ("aes", "avx2"),
    "vpclmulqdq": ("avx", "pclmulqdq"),
    "avx_vnni": ("avx2",),
    "avx512f": ("avx2", "fma", "f16c"),
    **dict.fromkeys(("avx512bw", "avx512cd", "avx512dq", "avx512vl"), ("avx512f",)),
    **dict.fromkeys(("avx512ifma", "avx512_vpopcntdq", "avx512_vnni"), ("avx512f",)),
    **dict.fromkeys(("avx512vbmi", "avx512_vbmi2", "avx512_bitalg"), ("avx512bw",)),
    "avx512_bf16": ("avx512bw",),
    "avx512_fp16": ("avx512bw", "avx512vl"),
    "amx_bf16": ("amx_tile",),
    "amx_int8": ("amx_tile",),
    "asimdfhm": ("asimdhp",),
    "sve": ("asimdhp",),
    "sve2": ("sve",),
    "svebitperm": ("sve2",),
}
"""What a feature cannot be without. Mojo hands features on one by one, so we complete them."""


def feature_table(arch: str) -> Mapping[str, str]:
    """Return the flag table of an architecture."""
    return X86_FEATURES if arch == "x86_64" else ARM_FEATURES


def consistent(flags: Iterable[str]) -> frozenset[str]:
    """Return the flags whose prerequisites are there too."""
    kept = set(flags)
    while True:
        lame = {f for f in kept if not kept.issuperset(_PREREQUISITES.get(f, ()))}
        if not lame:
            return frozenset(kept)
        kept -= lame


def with_prerequisites(flag: str) -> frozenset[str]:
    """Return a flag and all it builds on."""
    found, pending = set(), [flag]
    while pending:
        one = pending.pop()
        found.add(one)
        pending += _PREREQUISITES.get(one, ())
    return frozenset(found)


def simd_bytes(arch: str, flags: frozenset[str]) -> int:
    """Return the width of the widest usable vector register in bytes.

    Scalable vectors count as 16 bytes, what every SVE register holds at least.
    """
    if arch != "x86_64":
        return 16
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        return 64
    return 32 if "avx2" in flags else 16
