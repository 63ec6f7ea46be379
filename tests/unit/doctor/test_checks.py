"""Each check on environments that are broken on purpose."""

import email.message
import os
import types
from dataclasses import replace

import pytest

from mojoaccel.doctor import cache, gpu, lookalikes, mojo, python, retired, runtime, system
from mojoaccel.doctor.check import Check, Facts, run_checks
from mojoaccel.targets.gpu import Gpu, GpuReport
from mojoaccel.targets.probe import probe
from mojoaccel.toolchain import format as format_
from mojoaccel.toolchain import inventory
from mojoaccel.toolchain.mojo import Finished, MojoCompiler


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """Return a function that puts a file on a PATH that holds nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()

    def put(name, text):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    return put


class FakeMetadata:
    """Distributions that are said to be installed: name -> (version, requirements)."""

    class PackageNotFoundError(Exception):
        """As in importlib.metadata."""

    def __init__(self, **packages):
        self.packages = {name.replace("_", "-"): found for name, found in packages.items()}

    def version(self, name):
        if name not in self.packages:
            raise self.PackageNotFoundError(name)
        return self.packages[name][0]

    def requires(self, name):
        return self.packages[name][1]

    def metadata(self, name):
        about = email.message.Message()
        about["Author"] = self.packages[name][2] if len(self.packages[name]) > 2 else "Modular Inc"
        return about


def facts(**changes):
    found = Facts()
    found.machine = replace(probe(), **changes)
    return found


# -- compiler ---------------------------------------------------------------------------------


def test_compiler_says_where_it_comes_from(tmp_path):
    found = Facts()
    found.compiler = MojoCompiler(tmp_path / "mojo", tmp_path, None, "1.2.0", "ab", "variable")
    outcome = mojo.found(found)
    assert outcome.status == "pass"
    assert outcome.summary == "Mojo 1.2.0 (ab), chosen by MOJOACCEL_MOJO"


def test_missing_compiler_says_what_to_install(tmp_path):
    check = Check("mojo.found", "", mojo.found)
    [found] = run_checks([check], Facts(str(tmp_path / "none")))
    assert found.outcome.status == "fail"
    assert "pip install mojo-compiler==1.2.0" in found.outcome.hint
    assert found.outcome.reference == "MA101"


def test_lookalikes(on_path):
    assert lookalikes.lookalikes(Facts()).status == "pass"
    on_path("mojo", "#!/usr/bin/perl\n")
    outcome = lookalikes.lookalikes(Facts())
    assert outcome.status == "warn"
    assert "Mojolicious" in outcome.evidence[0]


@pytest.mark.parametrize(
    ("installed", "status", "says"),
    [
        ({}, "skip", ""),
        ({"mojo_compiler": ("1.2.0", [])}, "pass", ""),
        (
            {
                "mojo_compiler": ("1.2.0", []),
                "max_core": ("26.6.0", ["mojo-compiler==1.1.0", 'x==1; extra == "all"']),
            },
            "warn",
            "max-core 26.6.0 requires mojo-compiler 1.1.0",
        ),
        ({"mojo_compiler": ("1.1.0", None)}, "warn", "mojoaccel requires mojo-compiler 1.2.0"),
        ({"mojo": ("0.2.1", None, "Somebody Else")}, "warn", "mojo 0.2.1"),
    ],
)
def test_pairing(monkeypatch, installed, status, says):
    fake = FakeMetadata(**installed)
    monkeypatch.setattr(python, "metadata", fake)
    monkeypatch.setattr(inventory, "metadata", fake)
    monkeypatch.setattr(mojo, "metadata", fake)
    outcome = mojo.packages(Facts())
    assert outcome.status == status
    assert says in " ".join(outcome.evidence)


def test_former_installers(on_path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MODULAR_AUTH", raising=False)
    assert retired.installers(Facts()).status == "pass"
    on_path("magic", "")
    (tmp_path / ".modular" / "pkg").mkdir(parents=True)
    monkeypatch.setenv("MODULAR_AUTH", "mut_0")
    outcome = retired.installers(Facts())
    assert outcome.status == "warn"
    assert len(outcome.evidence) == 3


# -- folders ----------------------------------------------------------------------------------


def test_home(monkeypatch, tmp_path):
    monkeypatch.delenv("MODULAR_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.home(Facts()).status == "pass"
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path))
    outcome = cache.home(Facts())
    assert outcome.status == "warn"
    assert outcome.evidence == ("HOME=(unset)", f"MODULAR_HOME={tmp_path}/modular")


def test_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "cache"))
    assert cache.cache(Facts()).status == "pass"
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "file" / "below"))
    outcome = cache.cache(Facts())
    assert outcome.status == "warn"
    assert "MOJOACCEL_CACHE_DIR" in outcome.hint


def test_little_space(monkeypatch, tmp_path):
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda p: types.SimpleNamespace(free=10**6))
    assert cache.cache(Facts()).status == "warn"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (Finished((), 0, "{tmp}/cache\n", ""), "pass"),
        (Finished((), 1, "", "error: failed to resolve cache folder"), "warn"),
        (Finished((), 0, "{tmp}/file/below\n", ""), "warn"),
    ],
)
def test_compiler_cache(monkeypatch, tmp_path, said, status):
    (tmp_path / "file").touch()
    said = replace(said, stdout=said.stdout.replace("{tmp}", str(tmp_path)))
    monkeypatch.setattr(cache, "run", lambda *args, **kwargs: said)
    found = Facts()
    found.compiler = MojoCompiler(tmp_path / "mojo", tmp_path, None, "1.2.0", "ab", "PATH")
    assert cache.compiler_cache(found).status == status


def test_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache.temporary(Facts()).status == "pass"
    flags = types.SimpleNamespace(f_flag=os.ST_NOEXEC)
    with monkeypatch.context() as patched:
        patched.setattr(cache.os, "statvfs", lambda path: flags)
        assert cache.temporary(Facts()).status == "fail"
    for free, status in ((10**9, "warn"), (10**6, "fail")):
        with monkeypatch.context() as patched:
            left = types.SimpleNamespace(free=free)
            patched.setattr(cache.shutil, "disk_usage", lambda path, left=left: left)
            assert cache.temporary(Facts()).status == status
    (tmp_path / "file").touch()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    assert cache.temporary(Facts()).status == "fail"


# -- packages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "installed", "status"),
    [
        (python.numpy, {}, "fail"),
        (python.numpy, {"numpy": ("1.21.0", [])}, "fail"),
        (python.numpy, {"numpy": ("2.4.6", [])}, "pass"),
        (python.torch, {}, "warn"),
        (python.torch, {"torch": ("2.12.1", [])}, "warn"),
        (python.torch, {"torch": ("2.14.0", [])}, "warn"),
        (python.torch, {"torch": ("2.13.0+cpu", [])}, "pass"),
    ],
)
def test_versions(monkeypatch, check, installed, status):
    monkeypatch.setattr(python, "metadata", FakeMetadata(**installed))
    monkeypatch.setattr(python, "_torch_cuda", str)  # whatever build runs these tests
    outcome = check(Facts())
    assert outcome.status == status
    assert bool(outcome.fix) == (status != "pass")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("__version__ = '2.13.0'\ncuda: Optional[str] = '12.8'\n", "CUDA 12.8"),
        ("cuda: Optional[str] = None\nhip = None\n", "CPU build"),
    ],
)
def test_kind_of_torch_build(monkeypatch, tmp_path, text, says):
    (tmp_path / "version.py").write_text(text)
    spec = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(python.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(python, "metadata", FakeMetadata(torch=("2.13.0", [])))
    assert says in python.torch(Facts()).summary


def test_kernels(monkeypatch, tmp_path):
    assert python.kernels(Facts()).status == "pass"
    monkeypatch.setattr(python, "kernel_library", lambda: tmp_path)
    assert python.kernels(Facts()).status == "fail"


# -- machine ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("permitted", "status"), [(None, "skip"), (True, "pass"), (False, "warn")])
def test_amx(permitted, status):
    assert system.tiles(facts(amx_permitted=permitted)).status == status


def test_cores():
    outcome = system.cores(facts(cores=8, quota=1.5))
    assert outcome.summary == "2 usable processors"
    assert "1.5 by the control group's quota" in outcome.evidence


@pytest.mark.parametrize(("size", "status"), [(None, "skip"), (4 << 30, "warn"), (8 << 30, "pass")])
def test_memory(size, status):
    assert system.memory(facts(memory_bytes=size)).status == status


@pytest.mark.parametrize(
    ("libc", "status"),
    [(("glibc", "2.36"), "pass"), (("glibc", "2.31"), "fail"), (("", ""), "fail")],
)
def test_c_library(monkeypatch, libc, status):
    monkeypatch.setattr(system.platform, "libc_ver", lambda: libc)
    assert system.c_library(Facts()).status == status


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (GpuReport("found", "one", "580", (Gpu("g", "sm_90", 1, "u"),)), "pass"),
        (GpuReport("no-library", "none"), "skip"),
        (GpuReport("no-permission", "closed"), "warn"),
    ],
)
def test_gpus(monkeypatch, report, status):
    monkeypatch.setattr(gpu, "read_gpus", lambda: report)
    assert gpu.nvidia(Facts()).status == status


# -- building ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("called", "says"),
    [
        (Finished((), -4, "", ""), "exit status -4"),
        (Finished((), None, "", ""), "did not end"),
        (Finished((), 0, "41\n", ""), "41"),
    ],
)
def test_kernel_that_does_not_work(monkeypatch, tmp_path, called, says):
    found = Facts()
    found.compiler = MojoCompiler(tmp_path / "mojo", tmp_path, None, "1.2.0", "ab", "PATH")
    library = types.SimpleNamespace(path=tmp_path / "model.so")
    monkeypatch.setattr(runtime, "build", lambda *args, **kwargs: library)
    monkeypatch.setattr(runtime, "run", lambda *args, **kwargs: called)
    outcome = runtime.end_to_end(found)
    assert outcome.status == "fail"
    assert says in " ".join(outcome.evidence)


@pytest.mark.mojo
def test_end_to_end():
    outcome = runtime.end_to_end(Facts())
    assert outcome.status == "pass"
    assert "right answer" in outcome.summary


def test_formatter(monkeypatch, tmp_path):
    monkeypatch.setattr(format_, "find_formatter", lambda: None)
    assert mojo.formatter(Facts()).status == "skip"
    monkeypatch.setattr(format_, "find_formatter", lambda: tmp_path)
    assert mojo.formatter(Facts()).status == "pass"
