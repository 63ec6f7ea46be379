"""Compiled artifacts in C programs: moved away from the build, and on another processor family."""

import ctypes
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mojoaccel.runtime.session import load
from mojoaccel.runtime.tensors import DTYPE_CODES
from mojoaccel.toolchain.elf import read_elf

pytestmark = pytest.mark.mojo
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCE = ROOT / "examples" / "c" / "run_model.c"
ARM_ROOT = Path("/usr/aarch64-linux-gnu")


def build(compiler, artifact, program, *flags):
    """Build the example against an artifact, as the comment at its top says."""
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", *flags]
    places = ["-I", str(artifact / "include"), str(artifact / "lib" / "model.so")]
    command = [compiler, *flags, str(SOURCE), *places, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def expected(artifact):
    with load(artifact) as session:
        return session(np.zeros((1, 784), np.float32))[0]


def numbers(text):
    return np.array([float(line) for line in text.splitlines()], np.float32)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_a_moved_artifact_runs_with_libc_alone(mlp, tmp_path):
    moved = Path(shutil.copytree(mlp, tmp_path / "elsewhere" / "mlp.maccel"))
    program = build("cc", moved, tmp_path / "run", f"-Wl,-rpath,{moved / 'lib'}")
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    done = subprocess.run([program, moved], cwd="/", env=env, capture_output=True, text=True)
    assert done.returncode == 0
    np.testing.assert_array_equal(numbers(done.stdout), expected(mlp))
    log = "".join(p.read_text() for p in tmp_path.glob("loaded.*"))
    loaded = {
        Path(name).name for name in re.findall(r"file=(\S+) \[0\];  generating link map", log)
    }
    assert "model.so" in loaded
    assert all(re.match(r"(model|libc|libm|libpthread|ld-linux.*)\.so", n) for n in loaded), loaded


def test_codes_in_the_header_are_those_of_the_runtime():
    text = (ROOT / "mojoaccel" / "artifact" / "include" / "maccel.h").read_text()
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "C": "complex"}
    found = {
        kinds[k] + n: int(c) for k, n, c in re.findall(r"MACCEL_(F|BF|I|U|C)(\d+) = (\d+)", text)
    }
    found["bool"] = int(re.search(r"MACCEL_BOOL = (\d+)", text)[1])
    assert found == DTYPE_CODES


def test_the_library_tells_the_signature_of_the_manifest(small):
    dll = ctypes.CDLL(str(small / "lib" / "model.so"))
    dll.maccel_signature.restype = ctypes.c_char_p
    manifest = json.loads((small / "manifest.json").read_text())
    expected = {key: manifest[key] for key in ("inputs", "outputs", "dims")}
    assert json.loads(dll.maccel_signature()) == expected


def test_the_library_needs_no_other_and_no_folder(mlp):
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf")
    command = ["readelf", "-dW", str(mlp / "lib" / "model.so")]
    done = subprocess.run(command, capture_output=True, text=True)
    names = re.findall(r"\((NEEDED|RUNPATH|RPATH)\).*\[(.*)\]", done.stdout)
    assert [n for n in names if not re.match(r"lib(c|m)\.so", n[1])] == []
    assert str(Path.home()) not in done.stdout


@pytest.fixture(scope="module")
def arm(tmp_path_factory, compile_to):
    """The counting model, compiled for a 64-bit Arm server."""
    place = tmp_path_factory.mktemp("arm") / "net.maccel"
    target = "cpu:aarch64-linux-gnu+neoverse-v1"
    return compile_to(place, HERE / "counting_model.py:factory", "--target", target)


def test_the_arm_library_is_for_arm(arm):
    info = read_elf(arm / "lib" / "model.so")
    assert info.machine == "aarch64"
    assert (info.needed, info.runpath) == ((), ())
    manifest = json.loads((arm / "manifest.json").read_text())
    assert manifest["arch"] == "aarch64"
    assert manifest["verification"]["status"] == "skipped"


def replay(command, artifact, small, program):
    """Run the check cases of `small` on an artifact; compare with what is allowed."""
    for case in json.loads((small / "manifest.json").read_text())["check"]:
        counts = [str(case["inputs"]), str(case["outputs"])]
        done = subprocess.run(
            [*command, program, artifact, small / case["folder"], *counts],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        sizes = [np.load(small / case["folder"] / f"output_{i}.npy").size for i in range(len(rows))]
        assert [int(count) for count, _ in rows] == sizes
        for (_, off), allowed in zip(rows, case["allowed"], strict=True):
            assert float(off) <= allowed


def build_replay(compiler, small, program):
    command = [compiler, "-O1", "-std=gnu99", "-Wall", str(HERE / "replay.c")]
    command += ["-I", str(small / "include"), "-o", str(program), "-ldl", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_check_cases_hold_in_a_c_program(small, tmp_path):
    replay([], small, small, build_replay("cc", small, tmp_path / "replay"))


def test_check_cases_hold_on_arm_under_emulation(arm, small, tmp_path):
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if not (emulator and compiler and (ARM_ROOT / "include" / "dlfcn.h").exists()):
        pytest.skip("needs qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross")
    program = build_replay(compiler, small, tmp_path / "replay")
    replay([emulator, "-L", ARM_ROOT], arm, small, program)
