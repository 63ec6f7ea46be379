"""Doctor on file systems that are broken on purpose, each in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BASE = ("unshare", "--mount") if os.getuid() == 0 else ("unshare", "--map-root-user", "--mount")


def possible() -> bool:
    if not shutil.which("unshare"):
        return False
    command = [*BASE, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


pytestmark = pytest.mark.skipif(not possible(), reason="no mount namespaces here")


def check(folder: Path, prepare: str, name: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """Run one check after `prepare` in a namespace; `$P` is a folder."""
    script = f'{prepare} && exec "$@"'
    doctor = [sys.executable, "-m", "mojoaccel", "doctor", "--json", "--check", name]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MOJOACCEL_", "MODULAR_"))}
    env |= {"HOME": str(folder), "PYTHONPATH": ":".join(p for p in sys.path if p), "P": str(folder)}
    done = subprocess.run(
        [*BASE, "sh", "-c", script, "sh", *doctor],
        env={**env, "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    rows = {row["id"]: row for row in json.loads(done.stdout)["checks"]}
    return done.returncode, rows[name]


def test_temporary_files_mounted_noexec(tmp_path: Path) -> None:
    code, row = check(
        tmp_path, 'mount -t tmpfs -o noexec tmpfs "$P"', "cache.temporary", TMPDIR=str(tmp_path)
    )
    assert (code, row["status"]) == (3, "fail")
    assert "noexec" in row["summary"]
    assert row["fix"].startswith("mkdir -p $HOME/tmp; export TMPDIR=")


def test_temporary_files_on_a_full_disk(tmp_path: Path) -> None:
    fill = 'mount -t tmpfs -o size=1m tmpfs "$P" && { cat /dev/zero > "$P/big" 2>/dev/null; true; }'
    code, row = check(tmp_path, fill, "cache.temporary", TMPDIR=str(tmp_path))
    assert (code, row["status"], row["fix"]) == (0, "warn", "unset TMPDIR")
    assert row["evidence"][0].endswith("No space left on device")


def test_little_room_for_temporary_files(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=512m tmpfs "$P"'
    code, row = check(tmp_path, mount, "cache.temporary", TMPDIR=str(tmp_path))
    assert (code, row["status"]) == (0, "warn")
    assert row["summary"] == "little space is left"


def test_a_cache_mounted_noexec(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o noexec tmpfs "$P"'
    code, row = check(tmp_path, mount, "cache.own")
    assert (code, row["status"]) == (0, "warn")
    assert "MOJOACCEL_CACHE_DIR" in row["fix"]


def test_a_cache_on_a_read_only_file_system(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o ro tmpfs "$P"'
    code, row = check(tmp_path, mount, "cache.own", TMPDIR="/tmp")
    assert (code, row["status"]) == (0, "warn")
    assert "Read-only file system" in row["evidence"][0]
    assert row["fix"].startswith("export MOJOACCEL_CACHE_DIR=/tmp/")


def test_small_shared_memory(tmp_path: Path) -> None:
    mount = "mount -t tmpfs -o size=16m tmpfs /dev/shm"
    code, row = check(tmp_path, mount, "system.shm")
    assert (code, row["status"], row["summary"]) == (0, "warn", "/dev/shm has 16 MiB")
    assert row["fix"] == "docker run --shm-size=1g ..."


def test_a_temporary_folder_that_is_missing(tmp_path: Path) -> None:
    code, row = check(tmp_path, "true", "cache.temporary", TMPDIR=str(tmp_path / "gone"))
    assert (code, row["status"]) == (0, "warn")
    assert row["fix"] == f"mkdir -p {tmp_path}/gone"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are x86-64's")
def test_a_processor_below_x86_64_v3(tmp_path: Path) -> None:
    old = 'sed "s/ avx2//; s/ bmi2//" /proc/cpuinfo > "$P/cpuinfo"'
    code, row = check(
        tmp_path, f'{old} && mount --bind "$P/cpuinfo" /proc/cpuinfo', "system.processor"
    )
    assert (code, row["status"]) == (3, "fail")
    assert row["summary"] == "this processor cannot run compiled models; it lacks avx2, bmi2"
    assert row["expected"].startswith("x86-64-v3")
    assert "SIGILL" in row["hint"]
    assert row["fix"] == "qemu-system-x86_64 -accel kvm -cpu host ..."
