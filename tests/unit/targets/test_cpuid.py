"""The processor's own account of itself."""

import platform
from dataclasses import replace

import pytest

from mojoaccel.targets import cpu, cpuid
from mojoaccel.targets.probe import probe

ZERO = {"eax": 0, "ebx": 0, "ecx": 0, "edx": 0}
SAPPHIRE_RAPIDS = {
    (0, 0): {**ZERO, "eax": 0x20},
    (1, 0): {**ZERO, "ecx": 0xFFFA3203},
    (7, 0): {"eax": 2, "ebx": 0xF3BFB7EF, "ecx": 0x1B415F5E, "edx": 0xFFDD4432},
    (7, 1): {**ZERO, "eax": 0x00000030},
    (0x80000000, 0): {**ZERO, "eax": 0x80000008},
    (0x80000001, 0): {**ZERO, "ecx": 0x00000121},
}
"""Registers of an Intel Xeon of that generation."""

ALL, WITHOUT_AMX, SSE_ONLY = 0x602E7, 0xE7, 0x3


def answer(state):
    return cpuid.decode(lambda leaf, sub: SAPPHIRE_RAPIDS.get((leaf, sub), ZERO), lambda: state)


def test_recorded_registers():
    found = answer(ALL)
    assert {"avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16"} <= found.flags
    assert {"avx512_vnni", "abm", "lahf_lm", "3dnowprefetch", "movbe"} <= found.flags
    assert "sse4a" not in found.flags
    assert not found.disabled


def test_what_the_system_has_not_enabled():
    found = answer(WITHOUT_AMX)
    assert found.disabled == {"amx_tile", "amx_bf16", "amx_int8"}
    found = answer(SSE_ONLY)
    assert {"avx", "avx2", "fma", "avx512f", "amx_tile"} <= found.disabled
    assert "sse4_2" in found.flags


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction is x86's")
def test_this_processor_agrees_with_its_kernel():
    found = cpuid.ask_processor()
    if found is None:
        pytest.skip("no code can be made here")
    machine = probe()
    assert {"avx2", "fma"} & machine.flags == {"avx2", "fma"} & found.flags
    assert not {line for line in cpu.compare_with_processor(machine) if "only the system" in line}


def test_differences_are_named(monkeypatch):
    monkeypatch.setattr(cpu, "ask_processor", lambda: answer(WITHOUT_AMX))
    flags = (answer(WITHOUT_AMX).flags - {"avx512f"}) | {"sse4a", "vmx"}
    assert cpu.compare_with_processor(replace(probe(), flags=flags, amx_permitted=None)) == [
        "only the processor (CPUID) reports avx512f",
        "only the system reports sse4a",
        "the processor has amx_bf16, amx_int8, amx_tile, "
        "but the system has not enabled the registers",
    ]
