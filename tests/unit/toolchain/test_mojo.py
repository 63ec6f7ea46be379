"""Finding the compiler, and running programs that may misbehave."""

import os
import signal
import threading
import time

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.toolchain import mojo
from mojoaccel.toolchain.mojo import MojoCompiler, find_compiler, probe, replacement_folders, run

PERL = "#!/usr/bin/perl\n"


def code_of(call, *args):
    with pytest.raises(MojoaccelError) as caught:
        call(*args)
    return caught.value


def alive(pid):
    """Say whether a process runs (a killed one may be unreaped for a while)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid):
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def only_path(monkeypatch, tmp_path):
    """Leave nothing but folders of PATH to find a compiler in."""
    monkeypatch.setattr(mojo.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(mojo.sys, "prefix", str(tmp_path / "no-prefix"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_version_is_read(script):
    script("lld", "")
    found = probe(script("mojo", 'echo "Mojo 1.2.0 (2016d0cd)"'), "option")
    assert (found.version, found.commit, found.origin) == ("1.2.0", "2016d0cd", "option")
    assert found.identity == "mojo 1.2.0 (2016d0cd)"


def test_compiler_without_its_linker(script):
    found = code_of(probe, script("mojo", 'echo "Mojo 1.2.0 (2016d0cd)"'), "PATH")
    assert found.code == "MA101"
    assert "lld is missing" in str(found)


def test_other_version(script):
    found = code_of(probe, script("mojo", 'echo "Mojo 1.1.0 (1234abcd)"'), "PATH")
    assert found.code == "MA103"
    assert "1.1.0" in str(found)


@pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "kill -9 $$"])
def test_no_version(script, body):
    assert code_of(probe, script("mojo", body), "PATH").code == "MA101"


def test_version_has_a_time_limit(script, monkeypatch):
    monkeypatch.setattr(mojo, "VERSION_SECONDS", 0.3)
    began = time.monotonic()
    found = code_of(probe, script("mojo", "sleep 60"), "PATH")
    assert found.code == "MA101"
    assert "did not end" in str(found)
    assert time.monotonic() - began < 10


def test_nothing_installed(only_path):
    found = code_of(find_compiler)
    assert found.code == "MA101"
    assert "pip install mojo-compiler==1.2.0" in found.diagnostics[0].to_json()["hint"]


def test_only_other_programs(only_path, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mojo").write_text(PERL)
    found = code_of(find_compiler)
    assert found.code == "MA102"
    assert "Mojolicious" in str(found)


def test_dangling_link(only_path, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mojo").symlink_to(tmp_path / "removed")
    found = code_of(find_compiler)
    assert found.code == "MA101"
    assert "removed" in str(found)


def test_unidentified_program_is_never_run(only_path, script, tmp_path):
    script("mojo", f"touch {tmp_path}/ran")
    assert code_of(find_compiler).code == "MA102"
    assert not (tmp_path / "ran").exists()


def test_chosen_path_is_the_only_one_tried(tmp_path, monkeypatch):
    found = code_of(find_compiler, str(tmp_path / "mojo"))
    assert found.code == "MA101"
    assert str(tmp_path) in str(found)
    monkeypatch.setenv("MOJOACCEL_MOJO", str(tmp_path / "other"))
    assert "other" in str(code_of(find_compiler))


def test_program_that_cannot_start(tmp_path):
    (tmp_path / "mojo").write_text("")
    found = code_of(lambda: run([str(tmp_path / "mojo")], {}, timeout=5))
    assert found.code == "MA101"
    assert "cannot be started" in str(found)


def test_no_standard_input_and_no_noise():
    body = "cat; echo 'Failed to initialize Crashpad.  No.' >&2; echo problem >&2"
    done = run(["/bin/sh", "-c", body], dict(os.environ), timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "problem")


def test_time_limit_ends_the_whole_group(tmp_path):
    body = f"sleep 60 & echo $! > {tmp_path}/child; echo said; wait"
    done = run(["/bin/sh", "-c", body], dict(os.environ), timeout=0.5)
    assert done.returncode is None
    assert done.stdout == "said\n"
    assert gone(int((tmp_path / "child").read_text()))


def test_interruption_ends_the_program(tmp_path):
    body = f"echo $$ > {tmp_path}/self; sleep 60"
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run(["/bin/sh", "-c", body], dict(os.environ), timeout=30)
    assert gone(int((tmp_path / "self").read_text()))


def test_wheel_root_sets_the_compilers_own_library(tmp_path, monkeypatch):
    monkeypatch.setenv("MODULAR_MOJO_MAX_IMPORT_PATH", "/another/version")
    root = tmp_path / "modular"
    env = MojoCompiler(root / "bin/mojo", root / "bin/lld", root, "", "", "").environment()
    assert env["MODULAR_MOJO_MAX_IMPORT_PATH"] == str(root / "lib" / "mojo")


def test_usable_home_is_left_alone(tmp_path):
    assert replacement_folders({"HOME": str(tmp_path)}) == {}
    assert replacement_folders({"MODULAR_HOME": "/x"}) == {}


@pytest.mark.parametrize("env", [{}, {"HOME": ""}, {"HOME": "/nonexistent/home"}])
def test_unusable_home_is_replaced(env, own_cache):
    assert replacement_folders(env) == {"MODULAR_HOME": str(own_cache / "modular")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_home_is_replaced(tmp_path, own_cache):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    home = {"HOME": str(closed / "user")}
    assert replacement_folders(home) == {"MODULAR_HOME": str(own_cache / "modular")}


def test_foreign_modular_folder_gets_a_cache_beside_it(tmp_path, own_cache, monkeypatch):
    (tmp_path / ".modular").mkdir()
    monkeypatch.setattr(mojo.os, "access", lambda path, mode: ".modular" not in str(path))
    home = {"HOME": str(tmp_path)}
    assert replacement_folders(home) == {"MODULAR_CACHE_DIR": str(own_cache / "modular")}
    assert replacement_folders({**home, "MODULAR_CACHE_DIR": "/x"}) == {}


@pytest.mark.mojo
def test_this_environments_compiler():
    found = find_compiler()
    assert found.origin == "environment"
    assert found.version == mojo.SUPPORTED
    assert found.lld.exists()


@pytest.mark.mojo
def test_entry_point_leads_to_the_same_compiler():
    found = find_compiler()
    assert found.root is not None
    entry = found.root.parents[3] / "bin" / "mojo"
    assert find_compiler(str(entry)).path == found.path
