"""Other programs called mojo and other versions, laid out as the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mojoaccel.doctor import lookalikes, mojo
from mojoaccel.doctor import max as max_
from mojoaccel.doctor.check import Facts

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


def test_ten_programs_that_hang_are_asked_at_once(shell, monkeypatch):
    monkeypatch.setattr(lookalikes, "ASK_SECONDS", 0.3)
    for number in range(10):
        shell(f"bin{number}", HANGS)
    began = time.monotonic()
    outcome = lookalikes.lookalikes(Facts())
    assert time.monotonic() - began < 4
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


def test_modulars_compilers_that_hang_are_asked_at_once(shell, monkeypatch):
    monkeypatch.setattr(mojo, "ASK_SECONDS", 0.3)
    for number in range(10):
        first = shell(f"venv{9 - number}", "#!/bin/sh\n# mojo._entrypoints\nsleep 60\n")
    monkeypatch.setenv("PATH", f"{first.parent}:{os.environ['PATH']}")
    began = time.monotonic()
    outcome = mojo.version(Facts())
    assert time.monotonic() - began < 5
    assert outcome.status == "warn"
    assert outcome.summary.startswith(f"{first} should be Modular's compiler")
    assert len(outcome.evidence) == 10


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
