"""Folders that are closed, missing or somebody else's, as another user too."""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import pytest

from mojoaccel.doctor import cache, lookalikes, retired, variables
from mojoaccel.doctor import max as max_
from mojoaccel.doctor.check import Facts
from mojoaccel.paths import cache_root
from mojoaccel.toolchain.inventory import mojo_programs


def as_nobody(act):
    """Return what `act` returns in a child that is user 65534 (where we are root)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            answer = act()
        except BaseException as e:
            answer = f"{type(e).__name__}: {e}"
        os.write(writing, repr(answer).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as answer:
        return ast.literal_eval(answer.read().decode())


@pytest.fixture
def others_place():
    """A folder that other users may look up; pytest closes its own whenever one is started."""
    with tempfile.TemporaryDirectory(prefix="doctor-of-others-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_max_that_compiles_into_a_closed_package(monkeypatch, others_place):
    core = others_place / "max" / "_core_mojo"
    core.mkdir(parents=True)
    (core / "module.mojo").touch()
    spec = types.SimpleNamespace(submodule_search_locations=[str(others_place / "max")])
    monkeypatch.setattr(max_.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(max_, "installed", lambda name: "26.7.0")
    assert max_.cache(Facts()).status == "pass"
    core.chmod(0o555)

    def tell():
        outcome = max_.cache(Facts())
        return outcome.status, outcome.evidence, outcome.fix

    status, evidence, fix = as_nobody(tell)
    assert (status, evidence) == ("warn", (str(core / "__mojocache__"),))
    assert fix == f"sudo chown -R $(id -u) {core}"
    core.chmod(0o755)
    (core / "__mojocache__").mkdir()
    (core / "__mojocache__" / "module.so").touch()
    assert as_nobody(tell)[0] == "pass"


def test_what_lies_in_a_closed_folder(shell, others_place, monkeypatch):
    """A link into root's home, and temporary files there: answers, not errors of the checks."""
    closed = others_place / "closed"
    (closed / "bin").mkdir(parents=True)
    (closed / "bin" / "mojo").write_text("")
    closed.chmod(0o700)
    (others_place / "mojo").symlink_to(closed / "bin" / "mojo")
    monkeypatch.setenv("PATH", str(others_place))
    monkeypatch.setenv("TMPDIR", str(closed / "tmp"))
    shell.home.parent.chmod(0o755)

    def tell():
        if os.getuid() == 0:  # in a namespace of one user, say
            return None
        links, temporary = lookalikes.links(Facts()), cache.temporary(Facts())
        programs = [(p["kind"], p["install_method"]) for p in mojo_programs(None, None)]
        found = ("broken", None) in programs
        return links.status, links.fix, temporary.evidence[0], temporary.fix, found

    assert as_nobody(tell) in (
        None,
        (
            *("warn", f"ls -l {others_place / 'mojo'}"),
            *(f"{closed / 'tmp'}: Permission denied", "unset TMPDIR", True),
        ),
    )


def test_folders_of_others_inside_the_compilers_cache(others_place):
    cached = others_place / "cache"
    inner = cached / "mojo" / "transform"
    inner.mkdir(parents=True)
    for folder in (cached, cached / "mojo"):
        folder.chmod(0o777)
    inner.chmod(0o555)
    assert as_nobody(lambda: [str(p) for p in cache.shut_folders(cached)]) == [str(inner)]
    inner.chmod(0o777)
    assert as_nobody(lambda: [str(p) for p in cache.shut_folders(cached)]) == []


def test_variables_that_point_nowhere(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("MODULAR_CACHE_DIR", str(tmp_path / "new" / "folder"))
    assert variables.variables(Facts()).status == "pass"
    (tmp_path / "file").touch()
    monkeypatch.setenv("MODULAR_HOME", str(tmp_path / "file" / "below"))
    outcome = variables.variables(Facts())
    assert (outcome.status, outcome.fix) == ("fail", "unset MODULAR_HOME")


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("MODULAR_MOJO_MAX_IMPORT_PATH", "/nonexistent/lib/mojo", "warn"),
        ("MODULAR_MOJO_MAX_IMPORT_PATH", "/usr,/nonexistent", "warn"),
        ("MODULAR_MOJO_MAX_IMPORT_PATH", "/usr:/bin", "pass"),
        ("MODULAR_PYTHON_EXECUTABLE", "/nonexistent/python", "warn"),
        ("MODULAR_NVPTX_COMPILER_PATH", "/usr/local/cuda-0/bin/ptxas", "warn"),
        ("MODULAR_DEBUG", "nan-check", "warn"),
        ("MODULAR_ENABLE_PROFILING", "off", "pass"),
        ("MODULAR_MAX_CACHE_DIR", "/etc/passwd/none", "fail"),
    ],
)
def test_variables_of_another_installation(shell, monkeypatch, name, value, status):
    monkeypatch.setenv(name, value)
    outcome = variables.variables(Facts())
    assert outcome.status == status
    assert any(value in line for line in outcome.evidence)
    assert outcome.fix == ("" if status == "pass" else f"unset {name}")


def test_a_modular_folder_of_somebody_else_is_moved_only_with_consent(shell, monkeypatch):
    folder = shell.home / ".modular"
    assert retired.home_folder(Facts()).status == "skip"
    folder.mkdir()
    assert retired.home_folder(Facts()).status == "pass"
    monkeypatch.setattr(retired.os, "getuid", lambda: 12345)
    outcome = retired.home_folder(Facts())
    assert outcome.status == "warn"
    assert outcome.repair is not None
    assert outcome.repair.asks
    outcome.repair.act()
    assert not folder.exists()
    assert (shell.home / ".modular.old").is_dir()


def test_a_cache_that_cannot_be_written_is_moved(shell, monkeypatch, tmp_path):
    (shell.home / ".cache").write_text("a file")
    outcome = cache.cache(Facts())
    assert outcome.status == "warn"
    assert outcome.fix.startswith("export MOJOACCEL_CACHE_DIR=")
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    outcome = cache.cache(Facts())
    assert outcome.repair is not None
    outcome.repair.act()
    assert cache_root() == tmp_path / f"mojoaccel-{os.getuid()}"
    assert cache.cache(Facts()).status == "pass"


def test_a_full_disk_empties_our_cache(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "c"))
    entry = tmp_path / "c" / "build-v1" / "ab"
    entry.mkdir(parents=True)
    (entry / "key.json").write_text("{}")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda p: types.SimpleNamespace(free=10**6))
    outcome = cache.cache(Facts())
    assert (outcome.status, outcome.fix) == ("warn", "mojoaccel cache clear")
    assert outcome.repair is not None
    outcome.repair.act()
    assert not entry.exists()


def interpreter_for_others() -> str:
    """Return a Python of this version that user 65534 may run with our packages."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = [program, "-c", "import mojoaccel, typer, numpy"]
        env = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
        with contextlib.suppress(OSError):
            if subprocess.run(command, env=env, user=65534, cwd="/").returncode == 0:
                return program
    pytest.skip("no interpreter that another user may run")


PATIENT = """
from mojoaccel.doctor import runtime
from mojoaccel.doctor.check import Facts

facts = Facts()
facts.deadline += 100
runtime.BUILD_SECONDS = 100.0
outcome = runtime.end_to_end(facts)
print(outcome.status, outcome)
"""


@pytest.mark.mojo
@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_whose_home_is_closed(others_place):
    """Mojo itself hangs here; doctor says so in time and still builds."""
    closed, temporary = others_place / "closed", others_place / "tmp"
    closed.mkdir(mode=0o700)
    temporary.mkdir()
    temporary.chmod(0o777)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ":".join(p for p in sys.path if p),
        "HOME": str(closed / "home"),
        "TMPDIR": str(temporary),
    }
    program = interpreter_for_others()

    def as_other(*command):
        return subprocess.run(
            [program, *command],
            env=env,
            user=65534,
            group=65534,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=150,
        )

    done = as_other("-c", PATIENT)  # a first compile on a busy machine takes longer than doctor
    assert done.stdout.startswith("pass"), done.stdout + done.stderr
    began = time.monotonic()
    done = as_other("-m", "mojoaccel", "doctor")
    assert time.monotonic() - began < 20
    for line in ("warn  cache.home", "warn  cache.own", "ok    cache.compiler"):
        assert line in done.stdout, done.stdout + done.stderr
    assert "ok    runtime.end-to-end" in done.stdout, done.stdout
    assert done.returncode == 0
