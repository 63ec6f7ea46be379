"""Loading: everything that is wrong with an artifact is said before native code is touched."""

import json
import os
import shutil
import subprocess
import sys
import threading
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mojoaccel.artifact import host
from mojoaccel.artifact.archive import write_archive
from mojoaccel.errors import MojoaccelError
from mojoaccel.runtime import native
from mojoaccel.runtime.check import verify_check
from mojoaccel.runtime.session import load

pytestmark = pytest.mark.mojo
ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_native_code(monkeypatch):
    """Fail the test when a library is opened."""

    def opened(*args, **kwargs):
        raise AssertionError(f"dlopen of {args}")

    monkeypatch.setattr(native.ctypes, "CDLL", opened)


def forge(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def refused(folder):
    """Load, and return code and message of the error."""
    with pytest.raises(MojoaccelError) as caught:
        load(folder)
    return caught.value.code, caught.value.diagnostics[0].message


def test_missing_processor_features_are_named_before_loading(copied, no_native_code):
    forged = forge(copied, required_features=["avx512_from_2040", "mmx", "telepathy"])
    if "mmx" not in host.processor_flags():
        forged = forge(copied, required_features=["avx512_from_2040", "telepathy"])
    expected = ("MA701", "this processor lacks avx512_from_2040, telepathy")
    assert refused(forged) == expected


@pytest.mark.parametrize(("arch", "system"), [("riscv64", "linux"), (None, "darwin")])
def test_another_platform_is_named(copied, no_native_code, arch, system):
    arch = arch or host.architecture()
    assert refused(forge(copied, arch=arch, system=system)) == (
        "MA705",
        f"compiled for {system} on {arch}, this is linux on {host.architecture()}",
    )


def test_other_formats_are_refused(copied, no_native_code):
    assert refused(forge(copied, format_version=99)) == (
        *("MA604", "format version 99; this version reads 1"),
    )
    assert refused(forge(copied, format_version=1, abi_version=7)) == (
        *("MA604", "C interface version 7; this version calls 1"),
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("{", "manifest.json cannot be read: "),
        ("[]", "manifest.json does not hold a JSON object"),
        ('{"format_version": 1, "abi_version": 1}', "manifest.json is not complete: "),
    ],
)
def test_damaged_manifests_are_refused(copied, no_native_code, text, start):
    (copied / "manifest.json").write_text(text)
    code, message = refused(copied)
    assert code == "MA601"
    assert start in message


@pytest.mark.parametrize("file", ["weights.bin", "lib/model.so"])
def test_damaged_files_are_refused(copied, no_native_code, file):
    path = copied / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    message = f"{file} is damaged: its hash differs from the manifest's"
    assert refused(copied) == ("MA601", message)
    path.write_bytes(data[:-100])
    message = f"{file} has {len(data) - 100} bytes, not {len(data)}"
    assert refused(copied) == ("MA601", message)
    path.unlink()
    assert refused(copied) == ("MA601", f"{file} is missing")


def test_damage_is_seen_though_the_hash_was_remembered(copied, monkeypatch):
    monkeypatch.setattr("mojoaccel.runtime.session.SMALL", 0)
    load(copied).close()
    path = copied / "weights.bin"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert refused(copied)[0] == "MA601"


def test_what_is_no_artifact_is_refused(tmp_path, no_native_code):
    assert refused(tmp_path / "none") == ("MA601", f"{tmp_path / 'none'} does not exist")
    assert refused(tmp_path)[0] == "MA601"
    (tmp_path / "text").write_text("text")
    message = f"{tmp_path / 'text'} is neither an artifact folder nor an archive of one"
    assert refused(tmp_path / "text") == ("MA601", message)


def call(session):
    return session(np.ones((2, 24), np.float32), np.array([1, 2]))["logits"]


def test_an_archive_is_loaded_like_the_folder(small, tmp_path):
    path = tmp_path / "net.zip"
    write_archive(small, path)
    again = tmp_path / "again.zip"
    write_archive(small, again)
    assert path.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
    with load(small) as folder, load(path) as first, load(path) as second:
        assert first.path == second.path
        expected = call(folder)
        np.testing.assert_array_equal(call(first), expected)
        np.testing.assert_array_equal(call(second), expected)


def test_an_artifact_that_replaced_another_runs_code_of_its_own(small, wide, tmp_path):
    place = tmp_path / "net.maccel"
    sessions = []
    for source in (small, wide, small):  # in one process, which keeps every library loaded
        if place.exists():
            shutil.rmtree(place)
        shutil.copytree(source, place)
        sessions.append(load(place))
        assert all(row.ok for row in verify_check(sessions[-1]))
    expected = call(sessions[2])
    np.testing.assert_array_equal(call(sessions[0]), expected)  # still the first one's code
    for session in sessions:
        session.close()


def test_archives_are_unpacked_by_many_threads_at_once(small, tmp_path):
    path = tmp_path / "net.zip"
    write_archive(small, path)
    failed = []

    def work():
        try:
            load(path, threads=1).close()
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    unpacked = tmp_path / "cache" / "unpacked"
    assert len(list(unpacked.iterdir())) == 1


def test_damaged_archives_are_refused(small, tmp_path, no_native_code):
    path = tmp_path / "net.zip"
    write_archive(small, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert refused(path)[0] == "MA601"
    path.write_bytes(data[: len(data) // 2])
    assert refused(path)[0] == "MA601"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside", "x")
    assert refused(path) == ("MA601", "net.zip has an entry outside the artifact: ../outside")
    assert not (tmp_path / "cache" / "outside").exists()


def test_a_cache_that_cannot_be_written_does_not_stop_loading(small, monkeypatch):
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", "/proc/none")
    monkeypatch.setattr("mojoaccel.runtime.session.SMALL", 0)
    with load(small) as session:
        assert call(session).shape == (2, 5)


def test_paths_may_hold_any_character(small, tmp_path):
    place = tmp_path / "päth with 'quotes' and \udcff byte"
    os.symlink(small, os.fsencode(place))
    with load(place) as session:
        assert call(session).shape == (2, 5)


def test_the_runtime_loads_numpy_little_else_and_nothing_of_the_compiler_side():
    program = (
        "import numpy, sys; before = set(sys.modules); import mojoaccel.runtime.session;"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "mojoaccel.runtime.session" in modules
    packages = {name.split(".")[0] for name in modules} - sys.stdlib_module_names
    assert packages == {"mojoaccel"}
    assert not modules & {"mojoaccel.trace", "mojoaccel.toolchain"}
    assert len(modules) < 60, "each costs time at every start"


@pytest.mark.slow
def test_an_artifact_runs_where_only_numpy_and_the_wheel_are(small, tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("mojoaccel-*.whl")
    venv.create(tmp_path / "v", with_pip=False)
    python = tmp_path / "v" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "-q"]
    subprocess.run([*install, "numpy"], check=True, capture_output=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, capture_output=True)
    program = (
        "import sys, numpy as np, mojoaccel\n"
        "with mojoaccel.load(sys.argv[1]) as s:\n"
        "    out = s(np.ones((2, 24), np.float32), np.array([1, 2]))\n"
        "print(out['logits'].tobytes().hex())\n"
    )
    run = [str(python), "-c", program, str(small)]
    done = subprocess.run(run, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with load(small) as session:
        assert done.stdout.strip() == call(session).tobytes().hex()


@pytest.mark.parametrize(("quota", "threads"), [(1.0, 1), (1.9, 2), (None, None)])
def test_a_quota_of_processor_time_limits_the_threads(small, monkeypatch, quota, threads):
    monkeypatch.setattr(host, "cpu_quota", lambda: quota)
    before = len(os.listdir("/proc/self/task"))
    with load(small) as session:
        call(session)
        cores = len(os.sched_getaffinity(0))
        started = len(os.listdir("/proc/self/task")) - before
        assert started + 1 == min(threads or cores, cores)
