"""Machines, packages and devices that something is wrong with, and what doctor says of each."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import socket
import time
import types
from pathlib import Path

import pytest

from mojoaccel.doctor import (
    gpu,
    mojo,
    python,
    serving,
    system,
)
from mojoaccel.doctor.check import Facts
from mojoaccel.targets.gpu import Gpu, GpuReport


def test_unsupported_system(monkeypatch):
    monkeypatch.setattr(system.platform, "system", lambda: "Windows")
    outcome = system.operating_system(Facts())
    assert (outcome.status, outcome.fix) == ("fail", "wsl --install")


@pytest.mark.parametrize(
    ("release", "status", "fix"),
    [
        ("4.4.0-19041-Microsoft", "warn", "wsl --set-version Debian 2"),
        ("5.15.90.1-microsoft-standard-WSL2", "pass", ""),
    ],
)
def test_windows_subsystem_for_linux(monkeypatch, release, status, fix):
    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    monkeypatch.setattr(system.platform, "release", lambda: release)
    outcome = system.operating_system(Facts())
    assert (outcome.status, outcome.fix) == (status, fix)
    assert outcome.summary.startswith("Windows Subsystem for Linux")


def test_little_memory(monkeypatch):
    facts = Facts()
    facts.machine = dataclasses.replace(facts.machine, memory_bytes=2 << 30)
    outcome = system.memory(facts)
    assert (outcome.status, outcome.summary) == ("warn", "2.0 GiB of memory")
    assert outcome.fix == "mojoaccel compile MODEL --jobs 1"
    facts.machine = dataclasses.replace(facts.machine, memory_bytes=16 << 30)
    free = {"available_bytes": 300 << 20}
    monkeypatch.setattr(system, "describe_memory", lambda machine: free)
    outcome = system.memory(facts)
    assert outcome.summary == "only 300 MiB of 16.0 GiB of memory are free"
    free["available_bytes"] = 4 << 30
    assert system.memory(facts).status == "pass"


def test_no_c_compiler(shell, tmp_path):
    """Modular's own `mojo build` fails without one; mojoaccel links with what it brings."""
    facts = Facts()
    facts.compiler = types.SimpleNamespace(lld=tmp_path / "lld")
    outcome = mojo.linker(facts)
    assert outcome.status == "pass"
    assert "`mojo build` by hand would also want a C compiler" in outcome.summary
    assert outcome.evidence == (str(tmp_path / "lld"),)
    shell("bin", "#!/bin/sh\n", "gcc")
    assert str(tmp_path / "bin" / "gcc") in mojo.linker(facts).evidence


def test_small_shared_memory(monkeypatch):
    stats = types.SimpleNamespace(f_frsize=4096, f_blocks=16384)
    monkeypatch.setattr(system.os, "statvfs", lambda path: stats)
    outcome = system.shared_memory(Facts())
    assert (outcome.status, outcome.summary) == ("warn", "/dev/shm has 64 MiB")


def test_a_clock_that_was_set_back(monkeypatch, tmp_path):
    file = tmp_path / "mojo"
    file.touch()
    monkeypatch.setattr(system, "installed_files", lambda facts: [tmp_path / "gone", file])
    assert system.clock(Facts()).status == "pass"
    os.utime(file, (time.time() + 3 * system.DAY,) * 2)
    outcome = system.clock(Facts())
    assert outcome.status == "warn"
    assert "before mojoaccel or Mojo was installed" in outcome.summary
    assert outcome.evidence == (f"{file} is 3.0 days newer",)
    assert outcome.fix == "sudo timedatectl set-ntp true"


def test_clock_and_entropy(monkeypatch):
    assert system.clock(Facts()).status == "pass"
    monkeypatch.setattr(system.time, "gmtime", lambda *a: time.struct_time((1970,) + (1,) * 8))
    assert system.clock(Facts()).status == "warn"

    def none(size, flags):
        raise BlockingIOError

    assert system.entropy(Facts()).status == "pass"
    monkeypatch.setattr(system.os, "getrandom", none)
    assert system.entropy(Facts()).status == "warn"


@pytest.mark.parametrize(
    ("report", "says", "fix"),
    [
        (
            GpuReport("found", "one", "570.86", (Gpu("A100", "sm_80", 1, "u"),)),
            "570.86 is older",
            "nvidia-driver-580",
        ),
        (
            GpuReport("found", "one", "580.1", (Gpu("Tesla V100", "sm_70", 1, "u"),)),
            "no code for Tesla V100 (sm_70)",
            "print-supported-accelerators",
        ),
        (GpuReport("no-permission", "closed"), "closed", "usermod"),
        (GpuReport("mismatch", "two versions"), "two versions", "reboot"),
        (GpuReport("no-library", "not seen", on_bus=("0000:01:00.0",)), "not seen", "--gpus all"),
        (
            GpuReport("found", "one", "580", (Gpu("g", "sm_90", 1, "u"),), unreadable=("lost",)),
            "1 of 2 NVIDIA devices cannot be read",
            "dmesg",
        ),
    ],
    ids=["driver", "generation", "permission", "mismatch", "no library", "one lost"],
)
def test_gpus_that_cannot_be_used(monkeypatch, report, says, fix):
    monkeypatch.setattr(gpu, "read_gpus", lambda: report)
    outcome = gpu.nvidia(Facts())
    assert outcome.status == "warn"
    assert says in outcome.summary
    assert fix in outcome.fix


@pytest.mark.parametrize(
    ("amd", "says", "fix"),
    [
        ({"status": "no-driver"}, "its driver is not loaded", "sudo modprobe amdgpu"),
        ({"status": "no-permission"}, "may not open", "usermod"),
        ({"rocm": "6.2.4", "rocm_sufficient": False}, "ROCm 6.2.4 is older", "install rocm"),
        (
            {"devices": [{"name": "MI50", "gfx": "gfx906", "supported": False}]},
            "gfx906 is older",
            "print-supported-accelerators",
        ),
    ],
    ids=["driver", "permission", "rocm", "generation"],
)
def test_amd_gpus_that_cannot_be_used(monkeypatch, amd, says, fix):
    device = {"name": "MI300X", "gfx": "gfx942", "supported": True}
    found = {"status": "found", "explanation": "1 found", "devices": [device], "rocm": "7.0"}
    nothing = {"status": "no-device", "explanation": "none found", "devices": []}
    report = {"amd": {**found, "rocm_sufficient": True, **amd}, "intel": nothing, "apple": nothing}
    monkeypatch.setattr(gpu, "describe_others", lambda: {**report, "unsupported": []})
    outcome = gpu.others(Facts())
    assert outcome.status == "warn"
    assert says in outcome.summary
    assert fix in outcome.fix


def test_numpy_of_another_python(monkeypatch, tmp_path):
    """A numpy whose compiled modules carry another Python's name, as in a mixed environment."""
    import numpy

    real = Path(numpy.__file__).parent

    def link(source, target):
        name = re.sub(r"\.cpython-\d+", ".cpython-27", Path(target).name)
        os.symlink(source, Path(target).with_name(name))

    shutil.copytree(real, tmp_path / "numpy", copy_function=link)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = python.numpy(Facts())
    assert outcome.status == "fail"
    assert "exit 1" in outcome.evidence[0]
    assert "numpy" in outcome.evidence[0]
    assert outcome.fix == "pip install --force-reinstall numpy"


def test_cuda_torch_without_a_gpu(monkeypatch):
    monkeypatch.setattr(python, "installed", lambda name: "2.13.0")
    monkeypatch.setattr(python, "_torch_cuda", lambda: "13.0")
    monkeypatch.setattr(python, "read_gpus", lambda: GpuReport("no-library", "none"))
    assert python.torch(Facts()).status == "warn"
    monkeypatch.setattr(python, "read_gpus", lambda: GpuReport("found", "one"))
    assert python.torch(Facts()).status == "pass"


def test_a_port_in_use(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(serving, "PORT", other.getsockname()[1])
        assert serving.port(Facts()).status == "warn"
    assert serving.port(Facts()).status == "pass"
