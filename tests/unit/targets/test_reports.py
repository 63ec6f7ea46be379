"""What `detect` tells of processors and of GPUs that nothing compiles for."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from mojoaccel.targets import apple, cpu, gpu_other, pci
from mojoaccel.targets import probe as probing
from mojoaccel.targets.probe import probe

MI300 = "cpu_cores_count 0\nsimd_count 1216\ngfx_target_version 90402\n"


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


M1 = """hw.ncpu: 8
hw.nperflevels: 2
hw.perflevel0.physicalcpu: 4
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 12582912
hw.perflevel0.name: Performance
hw.perflevel1.physicalcpu: 4
hw.perflevel1.l1dcachesize: 65536
hw.perflevel1.l2cachesize: 4194304
hw.perflevel1.name: Efficiency
hw.optional.arm.AdvSIMD: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 0
hw.optional.arm.FEAT_I8MM: 0
hw.optional.arm.FEAT_LSE: 1
machdep.cpu.brand_string: Apple M1
"""


def test_apples_processor(monkeypatch, tmp_path, no_cpuinfo):
    said = apple.read_sysctl(M1)
    for module in (cpu, probing):
        monkeypatch.setattr(module, "ask_sysctl", lambda: said)
        monkeypatch.setattr(module, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(probing, "CACHES", tmp_path / "none")
    monkeypatch.setattr(probing.platform, "machine", lambda: "arm64")
    machine = probe()
    assert (machine.arch, machine.vendor, machine.model) == ("aarch64", "Apple", "Apple M1")
    assert machine.flags == {"asimd", "asimdhp", "asimddp", "atomics"}
    assert (machine.l1d_bytes, machine.l2_bytes, machine.l3_bytes) == (131072, 12582912, None)
    found = cpu.describe_cpu(machine)
    assert found["simd"]["level"] == "NEON"
    assert [(k["name"], k["cores"], k["l2_bytes"]) for k in found["core_kinds"]] == [
        ("Performance", 4, 12582912),
        ("Efficiency", 4, 4194304),
    ]
    assert found["features"]["bf16"] is False


def test_sources_that_disagree_are_named(no_cpuinfo):
    no_cpuinfo(flags=["avx2", "fma"], count=999, vendor_id_raw="Other")
    machine = replace(probe(), flags=frozenset({"avx2", "f16c"}), vendor="GenuineIntel")
    found = cpu.cross_check(machine)
    assert "only py-cpuinfo reports fma" in found
    assert "only the system reports f16c" in found
    assert any("999 processors" in line for line in found)
    assert any("vendor Other" in line for line in found)


def card(root: Path, number: int, **files: str) -> None:
    device = root / "drm" / f"card{number}" / "device"
    device.mkdir(parents=True)
    for name, text in files.items():
        (device / name).write_text(text + "\n")


@pytest.fixture
def sysfs(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_other, "DRM", tmp_path / "drm")
    monkeypatch.setattr(gpu_other, "KFD", tmp_path / "kfd")
    monkeypatch.setattr(gpu_other, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(gpu_other, "ROCM_VERSION", tmp_path / "rocm")
    monkeypatch.setattr(pci, "DEVICES", tmp_path / "pci")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "dev").mkdir()
    return tmp_path


def test_amd_cards(sysfs):
    card(sysfs, 0, vendor="0x1002", mem_info_vram_total="206141652992", mem_info_vram_used="7")
    card(sysfs, 10, vendor="0x1002")
    (sysfs / "kfd" / "1").mkdir(parents=True)
    (sysfs / "kfd" / "1" / "properties").write_text(MI300)
    (sysfs / "rocm").write_text("6.3.3-74\n")
    smi = sysfs / "bin" / "rocm-smi"
    smi.write_text('#!/bin/sh\necho \'{"card0": {"Card Series": "AMD Instinct MI300X"}}\'\n')
    smi.chmod(0o755)
    found = gpu_other.amd()
    assert (found["status"], found["rocm"]) == ("found", "6.3.3-74")
    assert found["devices"] == [
        {
            "name": "AMD Instinct MI300X",
            "gfx": "gfx942",
            "supported": True,
            "memory_bytes": 206141652992,
            "memory_used_bytes": 7,
        },
        {
            "name": None,
            "gfx": None,
            "supported": None,
            "memory_bytes": None,
            "memory_used_bytes": None,
        },
    ]
    assert found["rocm_sufficient"] is True


AMD_SMI = {
    "gpu_data": [
        {
            "gpu": 0,
            "asic": {
                "market_name": "AMD Instinct MI210",
                "vendor_id": "0x1002",
                "num_compute_units": 104,
                "target_graphics_version": "gfx90a",
            },
            "bus": {"bdf": "0000:C1:00.0", "max_pcie_width": 16},
        },
        {
            "gpu": 1,
            "asic": {"market_name": "N/A", "target_graphics_version": "gfx906"},
            "bus": {"bdf": "0000:c2:00.0"},
        },
    ]
}


def test_amd_smi_names_cards_by_their_place_on_the_bus(sysfs):
    for number, place in ((0, "0000:c2:00.0"), (1, "0000:c1:00.0")):
        device = sysfs / "devices" / place
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x1002\n")
        (sysfs / "drm" / f"card{number}").mkdir(parents=True)
        (sysfs / "drm" / f"card{number}" / "device").symlink_to(device)
    (sysfs / "recorded.json").write_text(json.dumps(AMD_SMI))
    smi = sysfs / "bin" / "amd-smi"
    smi.write_text(f"#!/bin/sh\nexec /bin/cat {sysfs}/recorded.json\n")
    smi.chmod(0o755)
    (sysfs / "rocm").write_text("6.2.4-1\n")
    found = gpu_other.amd()
    assert [(d["name"], d["gfx"], d["supported"]) for d in found["devices"]] == [
        (None, "gfx906", False),
        ("AMD Instinct MI210", "gfx90a", True),
    ]
    assert found["rocm_sufficient"] is False


def test_a_device_without_its_driver_is_not_absent(sysfs):
    for place, vendor, kind in (
        ("0000:03:00.0", "0x1002", "0x120000"),
        ("0000:04:00.0", "0x8086", "0x030000"),
        ("0000:05:00.0", "0x8086", "0x020000"),  # a network card
    ):
        device = sysfs / "pci" / place
        device.mkdir(parents=True)
        (device / "vendor").write_text(vendor + "\n")
        (device / "class").write_text(kind + "\n")
    for found, place in ((gpu_other.amd(), "0000:03"), (gpu_other.intel(), "0000:04")):
        assert found["status"] == "no-driver"
        assert found["explanation"] == f"the PCI bus shows {place}:00.0, but no driver is loaded"


M3 = """{"SPDisplaysDataType": [{"_name": "Apple M3 Pro", "sppci_model": "Apple M3 Pro",
"spdisplays_mtlgpufamilysupport": "spdisplays_metal3", "sppci_cores": "18"}]}"""


def test_intels_names_come_from_the_systems_list(sysfs, monkeypatch, tmp_path):
    names = tmp_path / "pci.ids"
    names.write_text(
        "# List\n1002  AMD\n\t56a0  Another\n8086  Intel Corporation\n\t56a0  DG2 [Arc A770]\n"
        "\t\t1849 6004  A board\n9005  Adaptec\n\t56a1  Another\n"
    )
    monkeypatch.setattr(pci, "NAMES", (tmp_path / "none", names))
    card(tmp_path, 7, vendor="0x8086", device="0x56a0")
    card(tmp_path, 8, vendor="0x8086", device="0x56a1")
    found = gpu_other.intel()["devices"]
    assert [d["name"] for d in found] == ["DG2 [Arc A770]", None]


def test_apples_gpu(monkeypatch):
    monkeypatch.setattr(gpu_other.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(gpu_other, "_run", lambda command: M3)
    found = gpu_other.apple()
    assert found["status"] == "found"
    assert found["devices"] == [
        {"name": "Apple M3 Pro", "cores": "18", "metal": "spdisplays_metal3"}
    ]
    monkeypatch.setattr(gpu_other, "_run", lambda command: None)
    assert gpu_other.apple()["status"] == "failed"


def test_a_device_that_may_not_be_opened_is_not_absent(sysfs, monkeypatch):
    card(sysfs, 1, vendor="0x8086", device="0x56a0")
    (sysfs / "dev" / "dri").mkdir()
    monkeypatch.setattr(gpu_other.os, "access", lambda *a: False)
    found = gpu_other.intel()
    assert found["status"] == "no-permission"
    assert found["devices"][0]["device_id"] == "0x56a0"


def test_unsupported_accelerators_are_named(sysfs):
    (sysfs / "dev" / "davinci0").touch()
    (sysfs / "dev" / "hl0").touch()
    (sysfs / "dev" / "apex_0").touch()
    names = ["Habana Gaudi", "Google TPU", "Huawei Ascend"]
    assert [g["name"] for g in gpu_other.unsupported()] == names
    assert gpu_other.describe_others()["amd"]["status"] == "no-device"
