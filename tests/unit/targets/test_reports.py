"""What `detect` tells of processors."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from mojoaccel.targets import apple, cpu
from mojoaccel.targets import probe as probing
from mojoaccel.targets.cpuid import Answer
from mojoaccel.targets.probe import probe

RECORDED = Path(__file__).with_name("recorded")


@pytest.fixture
def no_cpuinfo(monkeypatch):
    def use(**said):
        fake = types.ModuleType("cpuinfo")
        fake.get_cpu_info = lambda: said
        monkeypatch.setitem(sys.modules, "cpuinfo", fake)

    use()
    return use


@pytest.mark.parametrize(
    ("arch", "flags", "level", "bits", "lanes"),
    [
        ("x86_64", {"avx512f", "avx2", "avx"}, "AVX-512", 512, 16),
        ("x86_64", {"avx2", "avx", "sse2"}, "AVX2", 256, 8),
        ("x86_64", {"avx", "sse2"}, "AVX", 256, 8),
        ("x86_64", {"sse2"}, "SSE2", 128, 4),
        ("aarch64", {"asimd"}, "NEON", 128, 4),
        ("x86_64", set(), None, None, None),
    ],
)
def test_simd_level(arch, flags, level, bits, lanes):
    simd = cpu.find_simd(replace(probe(), arch=arch, flags=frozenset(flags)))
    assert (simd.level, simd.bits, simd.lanes.get("float32")) == (level, bits, lanes)


def test_unknown_is_none(no_cpuinfo, monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "SYSTEM", tmp_path)
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "none")
    machine = replace(
        probe(), flags=frozenset(), vendor=None, model=None, l3_bytes=None, amx_permitted=None
    )
    found = cpu.describe_cpu(machine)
    for name in ("vendor", "model", "family", "physical_cores", "numa_nodes", "hypervisor"):
        assert found[name] is None, name
    assert found["frequency_mhz"] == {"current": None, "maximum": None}
    assert found["simd"] == {"level": None, "register_bits": None, "lanes": {}}
    assert set(found["features"].values()) == {None}


def test_numa_nodes_and_their_processors(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "SYSTEM", tmp_path)
    for node, cpus in ((10, "48-63"), (0, "0-15,32-47")):
        folder = tmp_path / "node" / f"node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus + "\n")
    assert cpu.numa_nodes() == 2
    assert list(cpu.numa_cpus().items()) == [("0", "0-15,32-47"), ("10", "48-63")]


@pytest.mark.parametrize(
    ("recorded", "flags", "kinds"),
    [
        ("sysctl-m1.txt", set(), [(None, 4, 12582912), (None, 4, 4194304)]),
        ("sysctl-m2.txt", {"bf16", "i8mm"}, [(None, 4, 16777216), (None, 4, 4194304)]),
        (
            "sysctl-m3-max.txt",
            {"bf16", "i8mm"},
            [("Performance", 12, 16777216), ("Efficiency", 4, 4194304)],
        ),
    ],
)
def test_apples_processors(monkeypatch, tmp_path, no_cpuinfo, recorded, flags, kinds):
    """As recorded; `sysctl hw` leaves out the name, which is among machdep.cpu."""
    text = (RECORDED / recorded).read_text() + "machdep.cpu.brand_string: Apple M1\n"
    monkeypatch.setattr(apple, "ask_sysctl", lambda: apple.read_sysctl(text))
    for module in (cpu, probing):
        monkeypatch.setattr(module, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(cpu, "SYSTEM", tmp_path)
    monkeypatch.setattr(probing, "CACHES", tmp_path / "none")
    monkeypatch.setattr(probing.platform, "machine", lambda: "arm64")
    machine = probe()
    assert (machine.arch, machine.vendor, machine.model) == ("aarch64", "Apple", "Apple M1")
    assert machine.flags == {"asimd", "asimdhp", "asimddp", "asimdfhm", "atomics"} | flags
    assert (machine.l1d_bytes, machine.l2_bytes) == (131072, kinds[0][2])
    assert machine.l3_bytes is None
    found = cpu.describe_cpu(machine)
    assert (found["simd"]["level"], found["simd"]["register_bits"]) == ("NEON", 128)
    assert [(k["name"], k["cores"], k["l2_bytes"]) for k in found["core_kinds"]] == kinds
    assert found["physical_cores"] == sum(cores for _, cores, _ in kinds)
    assert found["features"]["bf16"] is bool(flags)


def test_sources_that_disagree_are_named(no_cpuinfo, monkeypatch):
    monkeypatch.setattr(cpu, "ask_processor", lambda: None)
    no_cpuinfo(flags=["avx2", "fma"], count=999, vendor_id_raw="Other")
    machine = replace(probe(), flags=frozenset({"avx2", "f16c"}), vendor="GenuineIntel")
    found = cpu.cross_check(machine)
    assert "only py-cpuinfo reports fma" in found
    assert "only the system reports f16c" in found
    assert any("999 processors" in line for line in found)
    assert any("vendor Other" in line for line in found)
    answer = Answer(frozenset({"avx2", "f16c"}), frozenset())
    monkeypatch.setattr(cpu, "ask_processor", lambda: answer)
    assert not any("f16c" in line for line in cpu.cross_check(machine))
