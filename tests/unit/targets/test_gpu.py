"""GPUs as a scripted NVML tells them."""

import sys
import types
from pathlib import Path

import pytest

from mojoaccel.targets import pci
from mojoaccel.targets.gpu import Gpu, read_gpus


class NVMLError(Exception):
    """Stands in for the package's error."""


class FakeNvml(types.ModuleType):
    """NVML with a list of devices, or an error on start."""

    NVMLError = NVMLError

    def __init__(self, devices=(), refuse=None):
        super().__init__("pynvml")
        self.devices = devices
        self.refuse = refuse
        self.open = 0

    def nvmlInit(self):
        if self.refuse:
            raise type(f"NVMLError_{self.refuse}", (NVMLError,), {})("refused")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlSystemGetDriverVersion(self):
        return "580.65.06"

    def nvmlDeviceGetCount(self):
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index):
        if "refuse" in self.devices[index]:
            raise type(f"NVMLError_{self.devices[index]['refuse']}", (NVMLError,), {})("refused")
        return self.devices[index]

    def nvmlDeviceGetCudaComputeCapability(self, device):
        return device["cc"]

    def nvmlDeviceGetMemoryInfo(self, device):
        if "memory" not in device:
            raise NVMLError("not supported")
        return types.SimpleNamespace(total=device["memory"], free=device["memory"] // 2)

    def nvmlSystemGetCudaDriverVersion(self):
        return 13020

    def nvmlDeviceGetMigMode(self, device):
        if "mig" not in device:
            raise NVMLError("not supported")
        return [device["mig"], device["mig"]]

    def nvmlDeviceGetUtilizationRates(self, device):
        return types.SimpleNamespace(gpu=25)

    def nvmlDeviceGetEnforcedPowerLimit(self, device):
        raise NVMLError("no permission")

    def nvmlDeviceGetName(self, device):
        return device["name"]

    def nvmlDeviceGetUUID(self, device):
        return b"GPU-0"


@pytest.fixture
def nvml(monkeypatch):
    monkeypatch.setattr(pci, "DEVICES", Path("/nonexistent"))

    def use(**kwargs):
        fake = FakeNvml(**kwargs)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return use


def test_devices(nvml):
    fake = nvml(
        devices=[
            {"name": "NVIDIA H100 PCIe", "cc": (9, 0), "memory": 85 << 30, "mig": 1},
            {"name": b"NVIDIA Thor", "cc": (11, 0)},
        ]
    )
    report = read_gpus()
    assert report.status == "found"
    assert report.driver == "580.65.06"
    assert report.cuda == "13.2"
    assert all(g.supported for g in report.gpus)
    assert not Gpu("Tesla V100", "sm_70", None, "GPU-1").supported
    assert report.gpus == (
        Gpu("NVIDIA H100 PCIe", "sm_90", 85 << 30, "GPU-0", 85 << 29, True, 0.25, None, ()),
        Gpu("NVIDIA Thor", "sm_110", None, "GPU-0", None, None, 0.25, None),
    )
    assert fake.open == 0


@pytest.mark.parametrize(
    ("refuse", "status"),
    [
        ("LibraryNotFound", "no-library"),
        ("DriverNotLoaded", "no-driver"),
        ("NoPermission", "no-permission"),
        ("Unknown", "failed"),
    ],
)
def test_refusal(nvml, refuse, status):
    nvml(refuse=refuse)
    report = read_gpus()
    assert report.status == status
    assert report.explanation
    assert report.gpus == ()


def test_driver_without_device(nvml):
    nvml(devices=[])
    assert read_gpus().status == "no-device"


def test_a_lost_device_does_not_hide_the_others(nvml):
    nvml(devices=[{"name": "A100", "cc": (8, 0)}, {"refuse": "GpuIsLost"}])
    report = read_gpus()
    assert (report.status, len(report.gpus)) == ("found", 1)
    assert report.unreadable == ("device 1: a GPU has fallen off the bus; restart the machine",)
    nvml(devices=[{"refuse": "NoPermission"}])
    assert read_gpus().status == "no-permission"


def test_a_device_without_a_library_is_not_absent(nvml, monkeypatch, tmp_path):
    nvml(refuse="LibraryNotFound")
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "vendor").write_text("0x10de\n")
    (tmp_path / "0000:01:00.0" / "class").write_text("0x030200\n")
    monkeypatch.setattr(pci, "DEVICES", tmp_path)
    report = read_gpus()
    assert (report.status, report.on_bus) == ("no-library", ("0000:01:00.0",))
    assert report.explanation.endswith("but the PCI bus shows 1 (0000:01:00.0)")


def test_package_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    report = read_gpus()
    assert report.status == "no-library"
    assert "nvidia-ml-py" in report.explanation
