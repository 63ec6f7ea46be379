"""Broken installations, built for real where that can be, and what doctor says of each."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from mojoaccel.doctor import (
    cache,
    lookalikes,
    mojo,
    retired,
    variables,
)
from mojoaccel.doctor import max as max_
from mojoaccel.doctor.check import Facts, Finding, warned
from mojoaccel.doctor.report import finding_lines, hide, markdown_report
from mojoaccel.paths import cache_root

REAL_HOME = os.environ.get("HOME", "/")
HANGS = "#!/bin/sh\nsleep 60\n"
JUJU = (
    "#!/bin/sh\n"
    "echo \"FileNotFoundError: [Errno 2] No such file or directory: 'juju': 'juju'\" >&2\nexit 1\n"
)
PERL = "#!/bin/sh\necho 'Invalid command \"--version\".' >&2\nexit 2\n"


def modular(put, place: str) -> Path:
    """A program laid out as Modular's compiler, that tells another version."""
    program = put(f"{place}/bin", "")
    program.write_bytes(b"\x7fELF" + b"\0" * 100)
    library = program.parent.parent / "lib" / "mojo"
    library.mkdir(parents=True)
    (library / "std.mojoc").touch()
    return program


# -- programs called mojo ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "text", "kind", "fix"),
    [
        ("snap/bin", HANGS, "snap", "sudo snap remove mojo"),
        ("bin", JUJU, "snap", "sudo snap remove mojo"),
        ("bin", "#!/usr/bin/perl\n", "mojolicious", "sudo apt remove libmojolicious-perl"),
        ("bin", PERL, "mojolicious", "sudo apt remove libmojolicious-perl"),
        ("lib/node_modules/mojo-cli/bin", "#!/usr/bin/env node\n", "npm", "npm uninstall -g"),
    ],
    ids=["snap path", "snap output", "perl file", "perl output", "npm"],
)
def test_other_programs_called_mojo(shell, place, text, kind, fix):
    path = shell(place, text)
    assert lookalikes.recognize([path])[0].kind == kind
    outcome = lookalikes.lookalikes(Facts())
    assert outcome.status == "warn"
    assert fix in outcome.fix
    assert outcome.expected
    assert outcome.reference
    assert str(path) in " ".join(outcome.evidence)


def test_a_program_that_hangs_is_stopped(shell, monkeypatch):
    monkeypatch.setattr(lookalikes, "ASK_SECONDS", 0.5)
    shell("bin", HANGS)
    began = time.monotonic()
    outcome = lookalikes.lookalikes(Facts())
    assert time.monotonic() - began < 5
    assert "no answer, stopped" in outcome.evidence[0]


def test_ten_programs_that_hang_are_asked_at_once(shell):
    for number in range(10):
        shell(f"bin{number}", HANGS)
    began = time.monotonic()
    outcome = lookalikes.lookalikes(Facts())
    assert time.monotonic() - began < 6
    assert len(outcome.evidence) == 10
    assert all("no answer, stopped" in line for line in outcome.evidence)


def test_a_wrapper_that_answers_as_modulars(shell):
    shell("shims", "#!/bin/sh\necho 'Mojo 1.2.0 (2016d0cd)'\n")
    assert lookalikes.lookalikes(Facts()).status == "pass"


def test_pipes_and_folders_called_mojo(shell, tmp_path):
    shell("bin", "").unlink()
    os.mkfifo(tmp_path / "bin" / "mojo")
    os.mkfifo(shell.home / ".bashrc")
    began = time.monotonic()
    assert lookalikes.aliases(Facts()).status == "pass"
    outcome = lookalikes.links(Facts())
    assert (outcome.status, outcome.fix) == ("warn", f"ls -l {tmp_path}/bin/mojo")
    (tmp_path / "bin" / "mojo").unlink()
    (tmp_path / "bin" / "mojo").mkdir()
    assert lookalikes.links(Facts()).status == "pass"
    assert lookalikes.lookalikes(Facts()).status == "pass"
    assert time.monotonic() - began < 5


def test_a_function_exported_by_bash(shell):
    answer = subprocess.run(
        ["/bin/bash", "-c", "mojo() { echo other; }; export -f mojo; /usr/bin/env"],
        capture_output=True,
        text=True,
    )
    assert f"{lookalikes.EXPORTED}=() {{" in answer.stdout
    os.environ[lookalikes.EXPORTED] = "() { echo other; }"
    try:
        outcome = lookalikes.aliases(Facts())
    finally:
        del os.environ[lookalikes.EXPORTED]
    assert (outcome.status, outcome.fix) == ("warn", "unset -f mojo")


def test_the_snap_that_snapd_lists(shell):
    shell("bin", "#!/bin/sh\necho 'Name  Version\nmojo  1.0.0+601'\n", "snap")
    outcome = lookalikes.lookalikes(Facts())
    assert outcome.status == "warn"
    assert "snap list mojo -> exit 0: mojo  1.0.0+601" in outcome.evidence[0]


def test_the_wrong_one_first(shell):
    first = shell("snap/bin", HANGS)
    modular(shell, "sdk")
    outcome = lookalikes.lookalikes(Facts())
    assert outcome.summary.startswith(f"a shell's `mojo` is {first}")


def test_the_real_debian_package(shell, tmp_path):
    if not shutil.which("apt-get", path="/usr/bin") or not shutil.which("dpkg", path="/usr/bin"):
        pytest.skip("no apt here")
    got = subprocess.run(
        ["/usr/bin/apt-get", "download", "libmojolicious-perl"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
    )
    packages = list(tmp_path.glob("*.deb"))
    if got.returncode != 0 or not packages:
        pytest.skip("the package cannot be downloaded")
    unpack = ["/usr/bin/dpkg", "-x", str(packages[0]), str(tmp_path / "root")]
    subprocess.run(unpack, check=True, env={"PATH": "/usr/bin:/bin"})
    program = tmp_path / "root" / "usr" / "bin" / "mojo"
    shell("root/usr/bin", program.read_text())
    outcome = lookalikes.lookalikes(Facts())
    assert outcome.status == "warn"
    assert "Mojolicious" in outcome.evidence[0]


def test_the_real_npm_package(shell, monkeypatch, tmp_path):
    """Laid out as `npm install -g` does; its own packages are not needed to know it."""
    npm = shutil.which("npm", path="/usr/bin:/usr/local/bin")
    if npm is None:
        pytest.skip("no npm here")
    modules = tmp_path / "lib" / "node_modules"
    modules.mkdir(parents=True)
    got = subprocess.run(
        [npm, "pack", "mojo-cli@0.1.1"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={"PATH": f"{Path(npm).parent}:/usr/bin:/bin", "HOME": REAL_HOME},
    )
    packed = tmp_path / "mojo-cli-0.1.1.tgz"
    if got.returncode != 0 or not packed.exists():
        pytest.skip("the package cannot be downloaded")
    shutil.unpack_archive(packed, tmp_path / "unpacked")
    (tmp_path / "unpacked" / "package").rename(modules / "mojo-cli")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mojo").symlink_to("../lib/node_modules/mojo-cli/bin/mojo")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    outcome = lookalikes.lookalikes(Facts())
    assert (outcome.status, outcome.fix) == ("warn", "npm uninstall -g mojo-cli")
    assert outcome.evidence == (f"{tmp_path / 'bin' / 'mojo'} is npm's mojo-cli, not Modular's",)


def test_aliases_and_functions(shell):
    assert lookalikes.aliases(Facts()).status == "pass"
    (shell.home / ".bashrc").write_text("# alias mojo=no\n  alias mojo='magic run mojo'\n")
    (shell.home / ".zshrc").write_text("mojo() { docker run mojo; }\nmojo_path=1\n")
    outcome = lookalikes.aliases(Facts())
    assert outcome.status == "warn"
    assert [e.split(":")[1] for e in outcome.evidence] == ["2", "1"]


def test_broken_link(shell, tmp_path):
    path = shell("bin", "")
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    outcome = lookalikes.links(Facts())
    assert (outcome.status, outcome.fix) == ("warn", f"rm {path}")


# -- versions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("0.26.1", "before 1.0"),
        ("1.0.0", "before 1.1"),
        ("1.1.0", "before 1.2"),
        ("1.3.0", "after 1.2"),
        ("2.0.0", "after 1.2"),
    ],
)
def test_what_another_version_means(number, says):
    assert says in mojo.changes_since(number)


def test_another_version_on_path(shell, monkeypatch):
    program = modular(shell, "sdk")
    monkeypatch.setattr(mojo, "probe_version", lambda path, seconds: ("1.1.0", "ab"))
    outcome = mojo.version(Facts())
    assert outcome.status == "warn"
    assert outcome.summary == f"{program} is Mojo 1.1.0"
    assert outcome.fix == "pip install mojo-compiler==1.2.0"


@pytest.mark.parametrize(
    ("packages", "package", "serve"),
    [
        ({}, "skip", "skip"),
        ({"max": "26.7.0", "max-core": "26.7.0", "mojo-compiler": "1.2.0"}, "pass", "warn"),
        ({"max": "26.6.0", "max-core": "26.6.0", "mojo-compiler": "1.2.0"}, "warn", "warn"),
        (
            {"max": "26.7.0", "pydantic": "2", "uvicorn": "1", "fastapi": "1"},
            "pass",
            "pass",
        ),
    ],
)
def test_max(monkeypatch, packages, package, serve):
    monkeypatch.setattr(max_, "installed", packages.get)
    needs = {"26.7.0": "1.2.0", "26.6.0": "1.1.0"}
    monkeypatch.setattr(max_, "required", lambda name: needs[packages["max-core"]])
    assert max_.package(Facts()).status == package
    outcome = max_.serve(Facts())
    assert outcome.status == serve
    if serve == "warn":
        assert outcome.fix == 'pip install "max[serve]"'


# -- folders ----------------------------------------------------------------------------------


def as_nobody(act):
    """Return what `act` returns in a child that is user 65534 (where we are root)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(writing, repr(act()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as answer:
        return ast.literal_eval(answer.read().decode())


def open_to_others(folder):
    """Let others look up a test's folder."""
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.getuid() and "pytest" in str(place):
            place.chmod(0o755)


def test_max_that_compiles_into_a_closed_package(monkeypatch, tmp_path):
    core = tmp_path / "max" / "_core_mojo"
    core.mkdir(parents=True)
    (core / "module.mojo").touch()
    open_to_others(core)
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path / "max")])
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


def test_folders_of_others_inside_the_compilers_cache(tmp_path):
    cached = tmp_path / "cache"
    inner = cached / "mojo" / "transform"
    inner.mkdir(parents=True)
    open_to_others(inner)
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


# -- another user -----------------------------------------------------------------------------


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


@pytest.mark.mojo
@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_whose_home_is_closed(tmp_path):
    """Mojo itself hangs here; doctor says so in time and still builds."""
    closed, temporary = tmp_path / "closed", tmp_path / "tmp"
    closed.mkdir(mode=0o700)
    temporary.mkdir()
    temporary.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ":".join(p for p in sys.path if p),
        "HOME": str(closed / "home"),
        "TMPDIR": str(temporary),
    }
    program = interpreter_for_others()
    began = time.monotonic()
    done = subprocess.run(
        [program, "-m", "mojoaccel", "doctor"],
        env=env,
        user=65534,
        group=65534,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert time.monotonic() - began < 20
    for line in ("warn  cache.home", "warn  cache.own", "ok    cache.compiler"):
        assert line in done.stdout, done.stdout + done.stderr
    assert "ok    runtime.end-to-end" in done.stdout, done.stdout
    assert done.returncode == 0


# -- reports ----------------------------------------------------------------------------------


def test_lines_fit_80_columns_and_commands_are_whole(shell):
    shell("a/very/long/path/to/a/folder/of/programs/snap/bin", HANGS)
    outcome = lookalikes.lookalikes(Facts())
    lines = finding_lines(Finding("mojo.lookalikes", "t", outcome, 0.0))
    assert lines[0].startswith("warn  mojo.lookalikes      ")
    assert f"      fix:      {outcome.fix}" in lines
    for line in lines:
        assert len(line) <= 80 or " " not in line.strip().removeprefix("found:").strip()


def test_reports_hide_names_and_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr("mojoaccel.doctor.report._user", lambda: "ada")
    monkeypatch.setattr("mojoaccel.doctor.report.platform.node", lambda: "difference-engine")
    text = hide(
        "/home/ada/x /home/charles/y MODULAR_AUTH=mut_123 ada@difference-engine adamant "
        "https://me:pass@host/ hf_abcdefghij token: abc /home/adam/z /tmp/pytest-of-ada/1 "
        "/mnt/c/Users/Grace Hopper/bin Bearer abc.def glpat-abc_1"
    )
    assert text == (
        "~/x /home/(user)/y MODULAR_AUTH=(hidden) (user)@(host) adamant "
        "https(hidden)host/ (hidden) (hidden) /home/(user)/z /tmp/pytest-of-(user)/1 "
        "/mnt/c/Users/(user)/bin (hidden) (hidden)"
    )
    outcome = warned("a|b", "/home/ada/bin/mojo", expected="c", fix="rm x")
    report = markdown_report([Finding("a.b", "t", outcome, 0.0)])
    quoted = markdown_report([Finding("a.b", "t", warned("x", "the `mojo`\nof <you>"), 0.0)])
    assert quoted.endswith("| x<br>`` the `mojo` of <you> `` |")
    assert report.endswith("| warn | `a.b` | a\\|b<br>`~/bin/mojo`<br>expected: c<br>fix: `rm x` |")
