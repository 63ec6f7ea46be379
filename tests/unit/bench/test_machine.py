"""Machine facts and energy counters, from files made for the test."""

import os
import time

import pytest

from mojoaccel.bench.energy import RaplMeter, open_meter
from mojoaccel.bench.machine import (
    busy_seconds,
    describe_machine,
    peak_memory,
    process_seconds,
    processor_name,
    usable_cores,
)


def domain(root, index, name, energy, limit=1000):
    folder = root / f"intel-rapl:{index}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", limit)):
        (folder / file).write_text(f"{value}\n")


def test_rapl_adds_packages_only_and_unwraps(tmp_path):
    domain(tmp_path, 0, "package-0", 900)
    domain(tmp_path, 1, "package-1", 10)
    domain(tmp_path, "0:0", "core", 5)
    meter = RaplMeter(tmp_path)
    assert meter.joules() == 0.0
    domain(tmp_path, 0, "package-0", 99)  # 900 -> 1000 -> 0 -> 99
    domain(tmp_path, 1, "package-1", 60)
    domain(tmp_path, "0:0", "core", 500)
    assert meter.joules() == pytest.approx(250e-6)
    assert meter.joules() == pytest.approx(250e-6)


def test_no_counter_is_none_not_zero(tmp_path):
    with pytest.raises(OSError, match="no package domains"):
        RaplMeter(tmp_path)
    domain(tmp_path, 0, "package-0", 5)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(OSError):
        RaplMeter(tmp_path)


def test_meters_of_this_machine_count_up_or_are_absent():
    meter = open_meter("cpu:x86_64-unknown-linux-gnu")
    assert meter is None or meter.joules() >= 0.0


def test_usable_cores_respect_a_quota(tmp_path):
    everything = usable_cores(tmp_path / "absent")
    quota = tmp_path / "cpu.max"
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == everything
    quota.write_text("100000 100000\n")
    assert usable_cores(quota) == 1
    quota.write_text("50000 100000\n")
    assert usable_cores(quota) == 1


def test_processor_name(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n")
    assert processor_name(info) == "Some CPU @ 3 GHz"
    assert processor_name(tmp_path / "absent")
    assert set(describe_machine()) == {"processor", "cores", "memory_bytes", "system", "python"}


def test_peak_memory_of_this_process():
    found = peak_memory()
    assert found is not None and found > 10_000_000
    assert peak_memory(2**30) is None


def test_busy_time_counts_everything_but_idling(tmp_path):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 10 50 9999 7777 3 2 35 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert busy_seconds(stat) == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))
    assert busy_seconds(tmp_path / "absent") is None


def test_process_time_of_this_process():
    assert process_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)
    assert process_seconds(2**30) == 0.0
