"""The build stage with scripted compilers, and with the real one."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mojoaccel.config import BuildOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.targets.base import read_target
from mojoaccel.targets.probe import detect
from mojoaccel.toolchain.build import (
    build,
    build_environment,
    compile_command,
    emit_text,
    link_command,
)
from mojoaccel.toolchain.elf import read_elf
from mojoaccel.toolchain.mojo import find_compiler, run

X86 = read_target("cpu:x86_64-linux-gnu+sapphirerapids-amx_tile")
ARM = read_target("cpu:aarch64-linux-gnu+neoverse-v1")
ERROR = json.dumps(
    {
        "diagnostic": {"file": "/x/model.mojo", "location": {"line": 4}, "text": "return y"},
        "kind": "error",
        "message": "use of unknown declaration 'y'",
    }
)


def failure(source, compiler, tmp_path, **options):
    with pytest.raises(MojoaccelError) as caught:
        build(source, X86, BuildOptions(**options), compiler=compiler, out=tmp_path / "out")
    assert not (tmp_path / "out" / "model.so").exists()
    return caught.value


def test_compile_command(scripted):
    compiler = scripted("")
    options = BuildOptions(optimization=3, fp_mode="off", jobs=2)
    command = compile_command(compiler, X86, options, "object", "model.o")
    assert command[:5] == [str(compiler.path), "build", "--emit", "object", "-O3"]
    text = " ".join(command)
    assert "--target-triple x86_64-unknown-linux-gnu --target-cpu sapphirerapids" in text
    assert "--target-features -amx-tile,-amx-bf16,-amx-int8" in text
    assert "--fp-mode contract=off" in text
    assert "-j 2" in text
    assert command[-3:] == ["-o", "model.o", "model.mojo"]


def test_processor_and_features_are_always_explicit(scripted):
    command = compile_command(scripted(""), ARM, BuildOptions(), "object", "model.o")
    assert command[command.index("--target-features") + 1] == ""
    assert command[command.index("--target-cpu") + 1] == "neoverse-v1"


def test_link_command_follows_the_processor(scripted):
    assert "aarch64linux" in link_command(scripted(""), ARM)
    assert "elf_x86_64" in link_command(scripted(""), X86)


def test_rejected_source_is_kept_with_command_and_log(scripted, source, tmp_path, own_cache):
    compiler = scripted(f"echo '{ERROR}' >&2; exit 1")
    found = failure(source(), compiler, tmp_path)
    assert found.code == "MA501"
    diagnostic = found.diagnostics[0]
    assert diagnostic.loc is not None
    assert (diagnostic.loc.file, diagnostic.loc.line) == ("net.py", 9)
    kept = own_cache / "failures" / "failed-c0dec0dec0de"
    assert str(kept) in " ".join(diagnostic.notes)
    assert (kept / "model.mojo").read_text() == source().main
    assert "unknown declaration" in (kept / "log.txt").read_text()
    assert (kept / "command.txt").read_text().startswith(str(compiler.path))


def test_failure_is_reported_where_nothing_can_be_kept(scripted, source, tmp_path, own_cache):
    own_cache.write_text("in the way")
    found = failure(source(), scripted("exit 1"), tmp_path)
    assert found.code == "MA501"


def test_hanging_compiler_is_stopped(scripted, source, tmp_path):
    found = failure(source(), scripted("sleep 60"), tmp_path, timeout=0.3)
    assert found.code == "MA502"
    assert "0.3 s" in str(found)


def test_crashing_compiler(scripted, source, tmp_path):
    found = failure(source(), scripted("echo dying >&2; kill -SEGV $$"), tmp_path)
    assert found.code == "MA505"
    assert "SIGSEGV" in str(found)
    assert "dying" in found.diagnostics[0].notes


def test_failed_link(scripted, source, tmp_path):
    compiler = scripted("touch model.o", "echo 'duplicate symbol: f' >&2; exit 1")
    found = failure(source(), compiler, tmp_path)
    assert found.code == "MA503"
    assert "duplicate symbol: f" in found.diagnostics[0].notes


def test_link_that_makes_no_library(scripted, source, tmp_path):
    assert failure(source(), scripted("touch model.o"), tmp_path).code == "MA503"


def test_temporary_files_go(scripted, source, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    failure(source(), scripted("exit 1"), tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_private_cc_where_path_is_unset(scripted, tmp_path, monkeypatch):
    """The system then looks into /usr/bin by itself; the compiler does not."""
    monkeypatch.delenv("PATH")
    path = build_environment(scripted(""), tmp_path)["PATH"]
    assert path.startswith(str(tmp_path / "tools"))


def test_private_cc_where_there_is_none(scripted, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    env = build_environment(scripted(""), tmp_path)
    assert shutil.which("cc", path=env["PATH"]) == str(tmp_path / "tools" / "cc")


# -- with the compiler ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiler():
    return find_compiler()


@pytest.mark.mojo
def test_library_computes(compiler, source, tmp_path):
    library = build(source(), detect(), BuildOptions(), compiler=compiler, out=tmp_path)
    assert ctypes.CDLL(str(library.path)).maccel_probe(41) == 42
    info = read_elf(library.path)
    assert info.exported == ("maccel_probe",)
    assert (info.needed, info.runpath) == ((), ())
    assert len(library.commands) == 2


@pytest.mark.mojo
def test_real_error_points_at_pytorch(compiler, source, tmp_path):
    broken = source(source().main.replace("x + 1", "y + 1"))
    with pytest.raises(MojoaccelError, match="unknown declaration 'y'") as caught:
        build(broken, detect(), BuildOptions(), compiler=compiler, out=tmp_path)
    loc = caught.value.diagnostics[0].loc
    assert loc is not None
    assert loc.line == 9


FAILS_DEEP = """from std.math import exp


def step[n: Int](x: Int) -> Int:
    comptime if n == 0:
        comptime assert n > 0, "the reason"
        return x
    else:
        return step[n - 1](x)


@export
def maccel_probe(x: Int) abi("C") -> Int:
    return step[12](x)
"""


@pytest.mark.mojo
def test_reason_at_the_end_of_a_long_chain_is_found(compiler, source, tmp_path):
    with pytest.raises(MojoaccelError, match="the reason"):
        build(source(FAILS_DEEP), detect(), BuildOptions(), compiler=compiler, out=tmp_path)


@pytest.mark.mojo
def test_aarch64_links_here(compiler, source, tmp_path):
    library = build(source(), ARM, BuildOptions(), compiler=compiler, out=tmp_path)
    info = read_elf(library.path)
    assert info.machine == "aarch64"
    assert info.exported == ("maccel_probe",)


@pytest.mark.mojo
@pytest.mark.parametrize(("kind", "holds"), [("llvm", "define"), ("asm", "maccel_probe:")])
def test_compiler_text(compiler, source, kind, holds):
    text = emit_text(source(), detect(), BuildOptions(), compiler=compiler, kind=kind)
    assert holds in text
    assert "maccel_probe" in text


@pytest.mark.mojo
@pytest.mark.parametrize("level", [0, 1, 3])
def test_every_level_needs_libc_only(compiler, source, tmp_path, level):
    options = BuildOptions(optimization=level)
    build(source(), detect(), options, compiler=compiler, out=tmp_path)


@pytest.mark.mojo
def test_no_c_compiler_on_path(compiler, source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    library = build(source(), detect(), BuildOptions(), compiler=compiler, out=tmp_path / "out")
    assert library.size > 0


REPEAT = """
import sys
from pathlib import Path
from mojoaccel.config import BuildOptions
from mojoaccel.products import MojoSource
from mojoaccel.targets.base import read_target
from mojoaccel.toolchain.build import build
from mojoaccel.toolchain.mojo import find_compiler

text = Path(sys.argv[1]).read_text()
source = MojoSource((("model.mojo", text),), (), ("maccel_probe",), "d" * 64)
target = read_target("cpu:x86_64-linux-gnu+x86-64-v3")
out = Path("out")
print(build(source, target, BuildOptions(), compiler=find_compiler(), out=out).digest)
"""

KERNEL = """from maccel.libc import allocate
from maccel.types import Ptr


@export
def maccel_probe(n: Int) abi("C") -> Int:
    return allocate(n)
"""


@pytest.mark.mojo
def test_same_bytes_from_other_folders_and_hash_seeds(tmp_path):
    """Nothing of the place, the run or the compiler's cache reaches the library."""
    module = tmp_path / "module.mojo"
    module.write_text(KERNEL)
    package = str(Path(sys.modules["mojoaccel"].__path__[0]).parent)
    digests = set()
    for seed, name in (("1", "here"), ("2", "a/longer/place")):
        folder = tmp_path / name
        (folder / "tmp").mkdir(parents=True)
        shutil.copytree(Path(package) / "mojoaccel", folder / "mojoaccel")
        env = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "MODULAR_CACHE_DIR": str(folder / "cache"),
        }
        done = subprocess.run(
            [sys.executable, "-c", REPEAT, str(module)],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
    library = tmp_path / "here" / "out" / "model.so"
    assert str(tmp_path).encode() not in library.read_bytes()


PROGRAM = """from std.sys._assembly import inlined_assembly


@export
def _start() abi("C"):
    var total = 0
    for i in range(10):
        total += i
    # exit(total): there is no libc to leave by.
    _ = inlined_assembly[
        "svc #0", Int, constraints="={x0},{x8},{x0}", has_side_effect=True
    ](Int(93), total)
"""


@pytest.mark.mojo
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-user")
def test_aarch64_code_runs_in_an_emulator(compiler, tmp_path):
    (tmp_path / "model.mojo").write_text(PROGRAM)
    steps = [
        compile_command(compiler, ARM, BuildOptions(), "object", "model.o"),
        [str(compiler.lld), "-flavor", "gnu", "-m", "aarch64linux", "-o", "program", "model.o"],
    ]
    for step in steps:
        done = run(step, compiler.environment(), timeout=120, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert subprocess.run(["qemu-aarch64", str(tmp_path / "program")], timeout=60).returncode == 45
