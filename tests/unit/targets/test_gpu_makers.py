"""GPUs of AMD, Intel and Apple, and accelerators that are only named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mojoaccel.targets import drm, gpu_amd, gpu_intel, gpu_other, pci

RECORDED = Path(__file__).with_name("recorded")
NAVI = "Navi 22 [Radeon RX 6700/6700 XT / 6800M]"


@pytest.fixture
def sysfs(monkeypatch, tmp_path):
    for module, name, place in (
        (drm, "DRM", "drm"),
        (drm, "DEVICES", "dev"),
        (pci, "DEVICES", "pci"),
        (gpu_amd, "KFD", "kfd"),
        (gpu_amd, "ROCM_VERSION", "rocm"),
    ):
        monkeypatch.setattr(module, name, tmp_path / place)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "dev" / "dri").mkdir(parents=True)
    return tmp_path


def card(root: Path, number: int, address: str, render: int | None = None, **files: str) -> None:
    """Lay out a card as the kernel does, with its render node in /dev."""
    device = root / "devices" / address
    device.mkdir(parents=True)
    for name, text in files.items():
        (device / name).write_text(text + "\n")
    (root / "drm" / f"card{number}").mkdir(parents=True)
    (root / "drm" / f"card{number}" / "device").symlink_to(device)
    if render is not None:
        (device / "drm" / f"renderD{render}").mkdir(parents=True)
        (root / "dev" / "dri" / f"renderD{render}").touch()


def node(root: Path, number: int, properties: str) -> None:
    place = root / "kfd" / str(number)
    place.mkdir(parents=True)
    (place / "properties").write_text(properties)
    (root / "dev" / "kfd").touch()


def tool(root: Path, name: str, recorded: str) -> None:
    program = root / "bin" / name
    program.write_text(f"#!/bin/sh\nexec /bin/cat {RECORDED / recorded}\n")
    program.chmod(0o755)


def test_amd_cards(sysfs):
    """Two kinds of cards, and the compute driver counts them the other way round."""
    memory = {"mem_info_vram_total": "206141652992", "mem_info_vram_used": "7"}
    card(sysfs, 0, "0000:07:00.0", 129, vendor="0x1002", **memory)
    card(sysfs, 10, "0000:23:00.0", 128, vendor="0x1002")
    node(sysfs, 0, "cpu_cores_count 16\nsimd_count 0\ngfx_target_version 0\n")
    node(sysfs, 1, (RECORDED / "kfd-mi100.txt").read_text())
    node(sysfs, 2, "simd_count 80\ngfx_target_version 100301\ndrm_render_minor 129\n")
    (sysfs / "rocm").write_text("6.3.3-74\n")
    tool(sysfs, "rocm-smi", "rocm-smi-6.1.2.json")
    found = gpu_amd.amd()
    assert (found["status"], found["rocm"]) == ("found", "6.3.3-74")
    assert found["devices"] == [
        {
            "name": NAVI,
            "gfx": "gfx1031",
            "supported": False,
            "memory_bytes": 206141652992,
            "memory_used_bytes": 7,
        },
        {
            "name": None,
            "gfx": "gfx908",
            "supported": False,
            "memory_bytes": None,
            "memory_used_bytes": None,
        },
    ]
    assert found["rocm_sufficient"] is True


@pytest.mark.parametrize(
    ("version", "gfx"), [("90010", "gfx90a"), ("90402", "gfx942"), ("120001", "gfx1201")]
)
def test_amd_architectures(sysfs, version, gfx):
    card(sysfs, 0, "0000:01:00.0", vendor="0x1002")
    node(sysfs, 1, f"simd_count 1216\ngfx_target_version {version}\n")
    (device,) = gpu_amd.amd()["devices"]
    assert (device["gfx"], device["supported"]) == (gfx, True)


@pytest.mark.parametrize(
    ("recorded", "address", "name"),
    [
        ("rocm-smi-5.json", "0000:2f:00.0", "AMD INSTINCT MI250 (MCM) OAM AC MBA"),
        ("rocm-smi-5.7.1.json", "0000:07:00.0", NAVI),
        ("rocm-smi-6.1.2.json", "0000:07:00.0", NAVI),
        ("rocm-smi-vega.json", "0000:04:00.0", None),
    ],
)
def test_every_rocm_smi_names_the_card(sysfs, recorded, address, name):
    card(sysfs, 3, address, vendor="0x1002")
    tool(sysfs, "rocm-smi", recorded)
    assert [d["name"] for d in gpu_amd.amd()["devices"]] == [name]


def test_amd_smi_without_a_place_on_the_bus_names_the_only_card(sysfs):
    card(sysfs, 1, "0000:c1:00.0", vendor="0x1002")
    tool(sysfs, "amd-smi", "amd-smi-mi210.json")
    (device,) = gpu_amd.amd()["devices"]
    assert (device["name"], device["gfx"]) == ("AMD Instinct MI210", "gfx90a")
    card(sysfs, 2, "0000:c2:00.0", vendor="0x1002")
    assert [d["name"] for d in gpu_amd.amd()["devices"]] == [None, None]


AMD_SMI = """{"gpu_data": [
    {"gpu": 0, "asic": {"market_name": "AMD Instinct MI210", "target_graphics_version": "gfx90a"},
     "bus": {"bdf": "0000:C1:00.0", "max_pcie_width": 16}},
    {"gpu": 1, "asic": {"market_name": "N/A", "target_graphics_version": "gfx906"},
     "bus": {"bdf": "0000:c2:00.0"}}]}"""


def test_amd_smi_names_cards_by_their_place_on_the_bus(sysfs):
    card(sysfs, 0, "0000:c2:00.0", vendor="0x1002")
    card(sysfs, 1, "0000:c1:00.0", vendor="0x1002")
    (sysfs / "told.json").write_text(AMD_SMI)
    tool(sysfs, "amd-smi", str(sysfs / "told.json"))
    (sysfs / "rocm").write_text("6.2.4-1\n")
    found = gpu_amd.amd()
    assert [(d["name"], d["gfx"], d["supported"]) for d in found["devices"]] == [
        (None, "gfx906", False),
        ("AMD Instinct MI210", "gfx90a", True),
    ]
    assert found["rocm_sufficient"] is False


def test_a_device_without_its_driver_is_not_absent(sysfs, monkeypatch):
    monkeypatch.setattr(gpu_intel, "ask_level_zero", lambda: {"status": "no-driver", "devices": []})
    for place, vendor, kind in (
        ("0000:03:00.0", "0x1002", "0x120000"),
        ("0000:04:00.0", "0x8086", "0x030000"),
        ("0000:05:00.0", "0x8086", "0x020000"),  # a network card
    ):
        device = sysfs / "pci" / place
        device.mkdir(parents=True)
        (device / "vendor").write_text(vendor + "\n")
        (device / "class").write_text(kind + "\n")
    for found, place in ((gpu_amd.amd(), "0000:03"), (gpu_intel.intel(), "0000:04")):
        assert found["status"] == "no-driver"
        assert found["explanation"] == f"the PCI bus shows {place}:00.0, but no driver is loaded"


def test_intels_names_come_from_the_systems_list(sysfs, monkeypatch):
    answer = {"status": "no-library", "explanation": "no loader", "devices": []}
    monkeypatch.setattr(gpu_intel, "ask_level_zero", lambda: answer)
    names = sysfs / "pci.ids"
    names.write_text(
        "# List\n1002  AMD\n\t56a0  Another\n8086  Intel Corporation\n\t56a0  DG2 [Arc A770]\n"
        "\t\t1849 6004  A board\n9005  Adaptec\n\t56a1  Another\n"
    )
    monkeypatch.setattr(pci, "NAMES", (sysfs / "none", names))
    card(sysfs, 7, "0000:03:00.0", vendor="0x8086", device="0x56a0")
    card(sysfs, 8, "0000:04:00.0", vendor="0x8086", device="0x56a1")
    found = gpu_intel.intel()
    assert [d["name"] for d in found["devices"]] == ["DG2 [Arc A770]", None]
    assert found["level_zero"] == "no-library"
    assert found["explanation"].endswith("; memory is unknown: no loader")


@pytest.mark.parametrize("maker", [gpu_amd.amd, gpu_intel.intel])
def test_a_device_that_may_not_be_opened_is_not_absent(sysfs, monkeypatch, maker):
    answer = {"status": "no-library", "explanation": "no loader", "devices": []}
    monkeypatch.setattr(gpu_intel, "ask_level_zero", lambda: answer)
    vendor = {gpu_amd.amd: pci.AMD, gpu_intel.intel: pci.INTEL}[maker]
    card(sysfs, 1, "0000:03:00.0", 128, vendor=vendor, device="0x56a0")
    assert maker()["status"] == "found"
    place = sysfs / "dev" / "dri" / "renderD128"
    may = os.access
    monkeypatch.setattr(drm.os, "access", lambda p, mode: p != place and may(p, mode))
    found = maker()
    assert (found["status"], len(found["devices"])) == ("no-permission", 1)
    assert f"this user may not open {place}" in found["explanation"]
    place.unlink()
    found = maker()
    assert (found["status"], len(found["devices"])) == ("no-node", 1)
    assert f"{place} is not here" in found["explanation"]


def test_apples_gpu(monkeypatch):
    monkeypatch.setattr(gpu_other.platform, "system", lambda: "Darwin")
    recorded = (RECORDED / "system-profiler-m1.json").read_text()
    monkeypatch.setattr(gpu_other, "ask_program", lambda command: recorded)
    found = gpu_other.apple()
    assert found["status"] == "found"
    assert found["devices"] == [{"name": "Apple M1", "cores": "7", "metal": "spdisplays_metal3"}]
    monkeypatch.setattr(gpu_other, "ask_program", lambda command: None)
    assert gpu_other.apple()["status"] == "failed"


def test_unsupported_accelerators_are_named(sysfs):
    """Gaudi's nodes as habanalabs of the kernel makes them; other drivers have /dev/accel too."""
    (sysfs / "dev" / "accel").mkdir()
    (sysfs / "dev" / "accel" / "accel0").touch()
    assert gpu_other.unsupported() == []
    for name in ("accel/accel_controlD0", "accel/accel_controlD1", "apex_0", "davinci0"):
        (sysfs / "dev" / name).touch()
    found = gpu_other.describe_others()
    names = ["Habana Gaudi", "Google TPU", "Huawei Ascend"]
    assert [g["name"] for g in found["unsupported"]] == names
    assert len(found["unsupported"][0]["nodes"]) == 2
    assert (found["amd"]["status"], found["intel"]["level_zero"]) == ("no-device", None)
