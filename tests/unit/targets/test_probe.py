"""Reading the machine: recorded texts stand in for other machines."""

import os
import types
from dataclasses import replace

import pytest

from mojoaccel.artifact import limits
from mojoaccel.errors import MojoaccelError
from mojoaccel.targets import probe
from mojoaccel.targets.base import read_target
from mojoaccel.targets.features import CPU_MODELS

EMERALD = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu lm pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm movbe abm 3dnowprefetch aes \
pclmulqdq sha_ni adx avx avx2 fma f16c bmi1 bmi2 avx512f avx512bw avx512cd avx512dq avx512vl \
avx512ifma avx512vbmi avx512_vbmi2 avx512_bitalg avx512_vpopcntdq gfni vaes vpclmulqdq \
avx512_vnni avx512_bf16 avx512_fp16 avx_vnni

processor\t: 1
flags\t\t: fpu
"""
GRAVITON3 = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt \
fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs paca pacg \
dcpodp svei8mm svebf16 i8mm bf16 dgh rng
CPU part\t: 0xd40
"""


def flags_of(text):
    said = probe.read_cpuinfo(text)
    return frozenset((said.get("flags") or said["Features"]).split())


def test_first_processor_is_read():
    said = probe.read_cpuinfo(EMERALD)
    assert said["model name"] == "Intel(R) Xeon(R) Processor"
    assert "avx512_fp16" in said["flags"]
    assert probe.read_cpuinfo("") == {}


def test_virtual_machine_without_amx():
    target = probe.host_target("x86_64", flags_of(EMERALD))
    assert target.cpu == "sapphirerapids"
    assert target.features == ("-amx-tile", "-amx-bf16", "-amx-int8")
    assert target.simd_bytes == 64
    assert "avx512_bf16" in target.required_features
    assert read_target(str(target)) == target


def test_arm_server_is_named(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(
        GRAVITON3.replace("CPU part", "CPU implementer\t: 0x41\nCPU part")
    )
    monkeypatch.setattr(probe, "CPUINFO", tmp_path / "cpuinfo")
    machine = probe.probe()
    assert (machine.vendor, machine.model) == ("ARM", "Neoverse-V1")
    assert {"sve", "bf16", "i8mm"} <= machine.flags


def test_arm_server():
    target = probe.host_target("aarch64", flags_of(GRAVITON3))
    assert (target.cpu, target.features) == ("neoverse-v1", ())


@pytest.mark.parametrize(
    ("arch", "flags", "cpu"),
    [
        ("x86_64", CPU_MODELS["x86_64"]["znver4"], "znver4"),
        ("x86_64", CPU_MODELS["x86_64"]["znver3"], "znver3"),
        ("x86_64", CPU_MODELS["x86_64"]["x86-64-v3"], "x86-64-v3"),
        ("x86_64", CPU_MODELS["x86_64"]["skylake-avx512"], "skylake-avx512"),
        ("aarch64", ("asimd", "crc32"), "generic"),
    ],
)
def test_choice(arch, flags, cpu):
    target = probe.host_target(arch, frozenset(flags))
    assert target.cpu == cpu
    assert set(target.required_features) <= set(flags)


def test_nothing_hidden_is_ever_used():
    """Whatever one flag a hypervisor hides, the target does without it."""
    for arch, models in CPU_MODELS.items():
        for flags in models.values():
            for hidden in flags:
                left = frozenset(flags) - {hidden}
                try:
                    target = probe.host_target(arch, left)
                except MojoaccelError:
                    continue
                assert hidden not in target.required_features
                assert set(target.required_features) <= left


@pytest.mark.parametrize(
    ("arch", "flags", "says"),
    [("x86_64", ("pni", "ssse3"), "lacks avx, avx2"), ("riscv64", (), "riscv64")],
)
def test_unusable_machine(arch, flags, says):
    with pytest.raises(MojoaccelError, match=says) as caught:
        probe.host_target(arch, frozenset(flags))
    assert caught.value.code == "MA104"


def test_this_machine_can_be_compiled_for():
    target = probe.detect()
    assert target.cores >= 1
    assert set(target.required_features) <= probe.probe().flags
    same = replace(target, cores=0, l1d_bytes=0, l2_bytes=0, l3_bytes=0)
    assert read_target(str(target)) == same


def test_amx_without_permission_is_not_used(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(EMERALD.replace("avx_vnni\n", "avx_vnni amx_tile amx_bf16 amx_int8\n"))
    monkeypatch.setattr(probe, "CPUINFO", cpuinfo)
    monkeypatch.setattr(probe, "request_amx", lambda: False)
    refused = probe.probe()
    assert refused.amx_permitted is False
    assert not any(f.startswith("amx") for f in refused.flags)
    monkeypatch.setattr(probe, "request_amx", lambda: True)
    assert "amx_tile" in probe.probe().flags


def test_amx_is_asked_for_without_harm():
    assert probe.request_amx() in (True, False)


def test_flags_come_from_the_package_where_the_system_has_no_list(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "CPUINFO", tmp_path / "missing")
    info = {"flags": ["avx2", "fma"], "brand_raw": "Some CPU", "vendor_id_raw": "Vendor"}
    stand_in = types.SimpleNamespace(get_cpu_info=lambda: info)
    monkeypatch.setitem(__import__("sys").modules, "cpuinfo", stand_in)
    machine = probe.probe()
    assert machine.flags == {"avx2", "fma"}
    assert (machine.vendor, machine.model) == ("Vendor", "Some CPU")


def test_caches(monkeypatch, tmp_path):
    for index, (level, kind, size) in enumerate(
        [(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2M"), (3, "Unified", "9")]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        (folder / "level").write_text(f"{level}\n")
        (folder / "type").write_text(f"{kind}\n")
        (folder / "size").write_text(f"{size}\n")
    monkeypatch.setattr(probe, "CACHES", tmp_path)
    assert probe.cache_bytes(1, "Data") == 48 * 1024
    assert probe.cache_bytes(2, "Unified") == 2 * 1024**2
    assert probe.cache_bytes(3, "Unified") == 9
    assert probe.cache_bytes(4, "Unified") is None
    monkeypatch.setattr(probe, "CACHES", tmp_path / "missing")
    assert probe.cache_bytes(1, "Data") is None


@pytest.mark.parametrize(
    ("quota", "cores", "usable"), [(None, 8, 8), (0.5, 8, 1), (1.0, 8, 1), (2.5, 8, 3), (9, 4, 4)]
)
def test_usable_cores(quota, cores, usable):
    assert probe.usable_cores(replace(probe.probe(), quota=quota, cores=cores)) == usable


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_cores():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert probe.probe().cores == 1
    finally:
        os.sched_setaffinity(0, before)


def test_digest_follows_everything_compiled_for(monkeypatch):
    machine = probe.probe()
    monkeypatch.setattr(probe, "probe", lambda: machine)
    before = probe.machine_digest()
    for change in ({"l2_bytes": 1}, {"flags": frozenset()}, {"cores": 99}, {"l3_bytes": 1}):
        monkeypatch.setattr(probe, "probe", lambda change=change: replace(machine, **change))
        assert probe.machine_digest() != before
    monkeypatch.setattr(probe, "probe", lambda: replace(machine, memory_bytes=1))
    assert probe.machine_digest() == before


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Return a function that lays out a control group tree: own groups, then files."""

    def lay_out(own, **files):
        monkeypatch.setattr(limits, "MOUNT", tmp_path / "fs")
        monkeypatch.setattr(limits, "OWN_GROUPS", tmp_path / "cgroup")
        (tmp_path / "cgroup").write_text(own)
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return lay_out


def test_smallest_quota_up_to_the_root_counts(groups):
    groups(
        "0::/a/b\n",
        **{"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "cpu.max": "4 1\n"},
    )
    assert limits.cpu_quota() == 1.5


def test_container_sees_its_group_as_the_root(groups):
    groups("0::/docker/0123\n", **{"cpu.max": "50000 100000", "memory.max": "1073741824"})
    assert limits.cpu_quota() == 0.5
    assert limits.memory_limit() == 1 << 30


def test_version_1(groups):
    groups(
        "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n",
        **{
            "cpu,cpuacct/job/cpu.cfs_quota_us": "200000",
            "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            "memory/job/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.limit_in_bytes": "4096",
        },
    )
    assert limits.cpu_quota() == 2.0
    assert limits.memory_limit() == 4096


def test_unlimited(groups):
    groups("0::/\n1:cpu:/\n", **{"cpu.max": "max 100000", "cpu/cpu.cfs_quota_us": "-1"})
    assert limits.cpu_quota() is None
    assert limits.memory_limit() is None


def test_no_control_groups(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "OWN_GROUPS", tmp_path / "missing")
    assert limits.cpu_quota() is None
    assert limits.memory_limit() is None
