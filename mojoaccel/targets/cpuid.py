"""Asks the processor itself: the CPUID instruction, and XGETBV for what the system has enabled.

/proc/cpuinfo is the kernel's opinion, which a boot option, an old kernel or a container runtime
may change; `detect` compares the two. Bits are named after Intel's SDM, volume 2, CPUID.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid; store eax, ebx, ecx, edx; pop rbx; ret
_CPUID = bytes.fromhex("5389f889f14989d00fa241890041895804418948084189500c5bc3")
# xor ecx, ecx; xgetbv; shl rdx, 32; or rax, rdx; ret
_XGETBV = bytes.fromhex("31c90f01d048c1e2204809d0c3")

OSXSAVE = 27
BITS: Mapping[tuple[int, int, str], Mapping[str, int]] = {
    (1, 0, "ecx"): {
        "pni": 0, "pclmulqdq": 1, "ssse3": 9, "fma": 12, "cx16": 13, "sse4_1": 19, "sse4_2": 20,
        "movbe": 22, "popcnt": 23, "aes": 25, "avx": 28, "f16c": 29,
    },
    (7, 0, "ebx"): {
        "bmi1": 3, "avx2": 5, "bmi2": 8, "avx512f": 16, "avx512dq": 17, "adx": 19,
        "avx512ifma": 21, "avx512cd": 28, "sha_ni": 29, "avx512bw": 30, "avx512vl": 31,
    },
    (7, 0, "ecx"): {
        "avx512vbmi": 1, "avx512_vbmi2": 6, "gfni": 8, "vaes": 9, "vpclmulqdq": 10,
        "avx512_vnni": 11, "avx512_bitalg": 12, "avx512_vpopcntdq": 14,
    },
    (7, 0, "edx"): {"amx_bf16": 22, "avx512_fp16": 23, "amx_tile": 24, "amx_int8": 25},
    (7, 1, "eax"): {"avx_vnni": 4, "avx512_bf16": 5},
    (0x80000001, 0, "ecx"): {"lahf_lm": 0, "abm": 5, "sse4a": 6, "3dnowprefetch": 8},
}  # fmt: skip
"""(leaf, subleaf, register) -> flag as /proc/cpuinfo names it -> bit."""

AVX, AVX512, AMX = 0b110, 0b11100110, (1 << 17) | (1 << 18)
"""Parts of the register state in XCR0 that the system must have enabled."""

Ask = Callable[[int, int], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the processor said.

    Attributes:
        flags: What it can do and the system lets it do.
        disabled: What it can do, but the system does not save the registers for.
    """

    flags: frozenset[str]
    disabled: frozenset[str]


def ask_processor() -> Answer | None:
    """Return the processor's own flags; None where it is no x86 or code cannot be made here."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        return decode(*_instructions())
    except (OSError, ValueError, BufferError):  # a system that forbids to make code (SELinux)
        return None


def decode(ask: Ask, enabled_state: Callable[[], int]) -> Answer:
    """Read the flags.

    Args:
        ask: CPUID: leaf and subleaf to registers by name.
        enabled_state: XGETBV; only called where the processor has it.
    """
    limits = {0: ask(0, 0)["eax"], 0x80000000: ask(0x80000000, 0)["eax"]}
    found = set()
    for (leaf, subleaf, register), bits in BITS.items():
        if leaf > limits[leaf & 0x80000000] or subleaf > ask(leaf, 0)["eax"] * (leaf == 7):
            continue
        value = ask(leaf, subleaf)[register]
        found |= {flag for flag, bit in bits.items() if value >> bit & 1}
    state = enabled_state() if ask(1, 0)["ecx"] >> OSXSAVE & 1 else 0
    disabled = {flag for flag in found if state & _needs(flag) != _needs(flag)}
    return Answer(frozenset(found - disabled), frozenset(disabled))


def _needs(flag: str) -> int:
    """Return the register state in XCR0 without which instructions of a flag fault."""
    if flag.startswith("amx"):
        return AMX
    if flag.startswith("avx512"):
        return AVX512
    return AVX if flag.startswith("avx") or flag in ("fma", "f16c", "vaes", "vpclmulqdq") else 0


def _instructions() -> tuple[Ask, Callable[[], int]]:
    """Return the two instructions as functions."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_CPUID.ljust(64, b"\xcc") + _XGETBV)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    registers = ctypes.c_uint32 * 4
    cpuid = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, registers)(address)
    xgetbv = ctypes.CFUNCTYPE(ctypes.c_uint64)(address + 64)

    def ask(leaf: int, subleaf: int, _page: mmap.mmap = page) -> Mapping[str, int]:
        values = registers()
        cpuid(leaf, subleaf, values)
        return dict(zip(("eax", "ebx", "ecx", "edx"), values, strict=True))

    return ask, xgetbv
